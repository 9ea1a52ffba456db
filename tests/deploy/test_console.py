"""The console behind the shipped nginx and Caddy files, as people and programs reach it."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.deploy.proxies import HOST, KINDS, Certificate, Proxy, make_certificate, running
from tests.harness import PROGRAM, Wire, launch, opened, request, settings, until, write
from tests.ports import free_port

PASSWORD = "a long password"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def told(folder: Path, *words: str, given: str = "") -> str:
    """What `receiver console` prints for a command."""
    command = [*PROGRAM, "console", *words]
    done = subprocess.run(
        command, cwd=folder, input=given, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for the name in the shipped files."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A configuration and a store that nobody uses."""

    async def make() -> None:
        async with opened(tmp_path):
            pass

    asyncio.run(make())
    return tmp_path


@pytest.fixture
def port(folder: Path) -> Iterator[int]:
    """The program's console, with one user."""
    port = free_port()
    write(folder, settings(console={"listen": f"127.0.0.1:{port}"}))
    told(folder, "add-user", "ann", "--role", "operator", given=f"{PASSWORD}\n")
    with launch(folder, "console") as console:

        def answers() -> bool:
            assert console.process.poll() is None, console.log
            try:
                with Wire(port) as wire:
                    wire.send(request("GET", "/healthz"))
                    return wire.answer().status == 200
            except OSError:
                return False

        until(answers, "the console answers")
        yield port
        assert console.stop() == 0, console.log


@pytest.mark.parametrize("kind", KINDS)
def test_people_log_in_and_programs_call(
    kind: str, folder: Path, port: int, certificate: Certificate
) -> None:
    """Over HTTPS, with a cookie that leaves it never; a form of another site is refused."""
    (folder / kind).mkdir()
    with running(kind, folder / kind, certificate, port, console=True) as proxy:
        form = urlencode({"name": "ann", "password": PASSWORD, "next": "/events"}).encode()
        forged = proxy.ask("POST", "/login", form, {**FORM, "Origin": "https://evil.test"})
        assert forged.status == 403
        entered = proxy.ask("POST", "/login", form, {**FORM, "Origin": f"https://{HOST}"})
        assert (entered.status, entered.headers["location"]) == (303, "/events")
        cookie = entered.headers["set-cookie"]
        assert cookie.startswith("__Host-receiver=")
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=strict"} <= set(cookie.split("; "))
        page = proxy.ask("GET", "/events", headers={"Cookie": cookie.partition(";")[0]})
        assert page.status == 200
        assert page.headers["strict-transport-security"]
        _called(proxy, folder)


def _called(proxy: Proxy, folder: Path) -> None:
    """Calls the API with a token; errors are its own, not the proxy's."""
    token = told(folder, "add-token", f"crm {id(proxy)}", "--role", "care")
    bearer = {"Authorization": f"Bearer {token}"}
    assert proxy.ask("GET", "/api/v1/events", headers=bearer).json == {"data": [], "next": None}
    lost = proxy.ask("GET", "/api/v1/events")
    assert (lost.status, json.loads(lost.body)["status"]) == (401, 401)
    assert re.match("application/problem", lost.headers["content-type"])
