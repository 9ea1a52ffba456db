"""Credentials: in the configuration, in requests and in the raw part of the store, nowhere else."""

from __future__ import annotations

import http.client
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.program import run
from tests.harness import (
    TOKEN,
    Running,
    delivery,
    hook,
    inbound,
    request,
    serve,
    until,
    with_plugin,
)
from tests.ports import free_port

#: A stranger's guess, which may be somebody's real token, mistyped.
GUESS = "guess-0123456789-of-a-stranger"
API_KEY = "api-key-of-the-tests-0123456789"
SECRETS = (TOKEN, GUESS, API_KEY)

FAILING = """
from receiver.handlers import on_message

@on_message()
async def fails(event, context):
    raise RuntimeError(repr(event), repr(context))
"""


@pytest.fixture(scope="module")
def admin() -> int:
    """The port of the metrics."""
    return free_port()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, admin: int) -> Iterator[Running]:
    """A service that says all it can, and was given credentials in every place there is."""
    raw = with_plugin(FAILING)
    raw["server"] = {"port": 0, "admin": f"127.0.0.1:{admin}"}
    raw["sources"]["tilil"]["send"] = {"api_key": API_KEY, "sender": "22915"}
    raw["sources"]["near"] = {**raw["sources"]["tilil"], "allow_ips": ["203.0.113.9"]}
    folder = tmp_path_factory.mktemp("secrets")
    with serve(folder, raw, env={"RECEIVER_DEBUG": "1", "PYTHONPATH": _path()}) as running:
        ask_everything(running)
        until(lambda: '"handler failed"' in running.log, "a handler has failed")
        yield running


def _path() -> str:
    return str(Path(__file__).parents[2])


def ask_everything(service: Running) -> None:
    """Requests of every outcome with credentials in path, query, header and body."""
    for secret in (TOKEN, GUESS):
        for path in (
            f"/hooks/tilil/{secret}",
            f"/hooks/tilil?token={secret}",
            f"/{secret}?{secret}",
        ):
            for body in (
                inbound(f"id {len(secret)}", api_token=secret),
                b"{",
                b"",
                delivery(1, 2),
                b"x" * 70_000,
            ):
                service.post(body, path, authorization=f"Bearer {secret}", cookie=secret)
        for path in (
            f"/hooks/near/{secret}",
            f"/hooks/{secret}",
            f"/hooks/text-connect?auth={secret}",
        ):
            service.post(inbound(1), path)
            service.get(path)
        for data in (
            request("PUT", f"/hooks/tilil/{secret}"),
            request("GET", f"/hooks/tilil/{secret}", b"", {"content-encoding": "gzip"}),
            f"GET /hooks/tilil/{secret} HTTP/1.1\r\nContent-Length: x\r\n\r\n".encode(),
            f"GET /hooks/tilil/{secret}{'x' * 20_000} HTTP/1.1\r\n\r\n".encode(),
            f"GET /hooks/tilil/{secret} HTTP/1.1\r\nX: {'x' * 40_000}\r\n\r\n".encode(),
        ):
            with service.wire() as wire:
                wire.send(data)
                back = wire.answer().body
                assert secret.encode() not in back


@pytest.mark.parametrize("secret", SECRETS)
def test_logs_and_metrics_know_no_credential(service: Running, admin: int, secret: str) -> None:
    """Not one that is right, nor a guess: not in a line about an error, nor in a label."""
    assert service.post(delivery(9, 1), hook("tilil")).status == 200
    connection = http.client.HTTPConnection("127.0.0.1", admin)
    with closing(connection):
        connection.request("GET", f"/metrics?token={secret}")
        metrics = connection.getresponse().read().decode()
    assert "receiver_pushes_total" in metrics
    for text in (service.log, metrics):
        assert secret not in text


@pytest.mark.parametrize("secret", SECRETS)
def test_the_process_shows_no_credential(service: Running, secret: str) -> None:
    """What other users of the machine can see of it is its command line and the name of it."""
    process = Path(f"/proc/{service.process.pid}")
    for name in ("cmdline", "comm", "stat"):
        assert secret.encode() not in (process / name).read_bytes()
    for thread in (process / "task").iterdir():
        assert secret not in (thread / "comm").read_text()


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "command",
    [
        *(["check"], ["events"], ["events", "--json"], ["jobs"], ["jobs", "--json"]),
        *(["messages"], ["quarantine"], ["replay"], ["schema"], ["balance", "--source", "near"]),
        ["simulate", "tilil", "inbound", "--url", "http://127.0.0.1:1"],
        ["call", "tilil", "--list"],
    ],
    ids=" ".join,
)
def test_commands_show_no_credential(service: Running, secret: str, command: list[str]) -> None:
    """Only what is asked for as it came does: `--raw`, `quarantine ID`."""
    result = run(service.folder, *command)
    assert secret not in result.stdout + result.stderr


def test_what_is_kept_is_the_users_own(service: Running) -> None:
    """The store holds raw requests, credentials included: nobody else may read its files."""
    for file in service.folder.glob("receiver.db*"):
        mode = file.stat().st_mode
        assert not mode & (stat.S_IRWXG | stat.S_IRWXO), file


def test_fresh_tokens_are_random(tmp_path: Path) -> None:
    """`receiver init` makes each of 256 bits, and a file that is the user's own."""
    assert run(tmp_path, "init").returncode == 0
    file = tmp_path / "receiver.toml"
    assert not file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    made = [line for line in file.read_text().splitlines() if line.startswith("tokens")]
    tokens = [line.split('"')[1] for line in made]
    assert len(set(tokens)) == len(tokens) > 3
    assert all(len(token) == 43 for token in tokens), "32 bytes in base64"
