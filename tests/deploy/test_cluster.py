"""Three receivers of one store behind the shipped nginx and Caddy files, of which one ends."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests import stored
from tests.deploy.proxies import KINDS, Certificate, Proxy, make_certificate, running
from tests.harness import Running, inbound, serve, settings, until
from tests.ports import free_port
from tests.postgresql.databases import Databases


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for the name in the shipped files."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


def push(proxy: Proxy, name: str) -> int:
    """The status of a push."""
    return proxy.ask("POST", "/hooks/tilil", inbound(name, f"GAME {name}")).status


def _taken(proxy: Proxy, name: str) -> bool:
    return push(proxy, name) == 200


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_pushes_are_taken_while_a_receiver_ends(
    kind: str, certificate: Certificate, databases: Databases, tmp_path: Path
) -> None:
    """What meets it as it ends comes again, as a provider does it, and is stored once."""
    with ExitStack() as stack:
        address = stack.enter_context(databases.nothing())
        receivers: list[Running] = []
        for number in range(3):
            raw = settings(
                server={"port": free_port(), "trusted_proxies": ["127.0.0.1"]},
                store={"url": address.url.reveal()},
            )
            receivers.append(stack.enter_context(serve(tmp_path / str(number), raw)))
        folder = tmp_path / "proxy"
        folder.mkdir()
        ports = [receiver.port for receiver in receivers]
        proxy = stack.enter_context(running(kind, folder, certificate, ports))
        until(lambda: proxy.ask("GET", "/readyz").status == 200, "a receiver is found")
        names = [f"push {number}" for number in range(40)]
        for name in names:
            if name == "push 20":
                receivers[0].kill()
            status = push(proxy, name)
            if kind == "caddy" and status == 502:
                until(partial(_taken, proxy, name), "it is taken when it comes again")
            else:  # nginx sends what a receiver left without an answer to another one
                assert status == 200
        assert sorted(stored.keys(address)) == sorted(f"message:{name}" for name in names)
