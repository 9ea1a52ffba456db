"""`receiver simulate`: realistic pushes at a running service."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from receiver.config import Server
from receiver.http.redact import address, masked
from receiver.providers import built_in
from tests.cli.program import run, table, told
from tests.harness import PATIENCE, TOKEN, Running, serve, settings, write

DIGEST = {"username": "u", "password": "p", "server_ip": "192.0.2.1"}
ODD = 's3cret / pass"é'


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with a source of each provider and some more."""
    sources: dict[str, Any] = settings()["sources"]
    more = {
        "digest": {"provider": "tilil", "digest": DIGEST},
        "odd": {"provider": "text-connect", "tokens": [ODD]},
        "odd-url": {"provider": "tsconect", "tokens": [ODD]},
        "open": {"provider": "tsconect", "authentication": "none"},
    }
    folder = tmp_path_factory.mktemp("simulate")
    with serve(folder, settings(sources={**sources, **more})) as running:
        yield running


def simulate(running: Running, *arguments: str) -> str:
    """What it shows when everything is taken."""
    return told(running.folder, "simulate", *arguments, "--url", f"http://127.0.0.1:{running.port}")


EVERY = [(name, kind) for name, known in built_in().items() for kind in known.sample_kinds]


@pytest.mark.parametrize(("provider", "kind"), EVERY)
def test_every_kind_becomes_an_event(running: Running, provider: str, kind: str) -> None:
    """A new one each time it is sent, with the time of now."""
    before = {event["id"] for event in table(running.folder, "events", "--limit", "1000")}
    for _ in range(2):
        shown = simulate(running, provider, kind)
        assert "← 200 in " in shown
        assert TOKEN not in shown
    after = table(running.folder, "events", "--limit", "1000")
    new = [event for event in after if event["id"] not in before]
    assert [event["source"] for event in new] == [f"/sources/{provider}"] * 2
    assert all(event["time"][:10] == event["receivedat"][:10] for event in new)


def test_request_and_answer_are_shown(running: Running) -> None:
    """What goes over the wire, without the credential."""
    shown = simulate(running, "tilil", "inbound", "--set", "message=game  on", "--set", "x=y=z")
    url = f"http://127.0.0.1:{running.port}/hooks/tilil"
    assert shown.startswith(f"→ POST {url}\n  Content-Type: application/json\n")
    assert '"message": "game  on"' in shown
    assert '"x": "y=z"' in shown
    assert '"api_token": "…"' in shown
    assert '"result_message":"Welcome"' in shown


def test_repeats_and_duplicates(running: Running) -> None:
    """`--repeat` sends new ones, `--duplicate` each of them twice."""
    before = len(table(running.folder, "events", "--limit", "1000"))
    shown = simulate(running, "tilil", "inbound", "--repeat", "3", "--duplicate")
    assert shown.count("← 200") == 6
    assert len(table(running.folder, "events", "--limit", "1000")) == before + 3


@pytest.mark.parametrize(
    ("source", "provider", "kind"),
    [
        ("digest", "tilil", "inbound"),
        ("digest", "tilil", "activation"),
        ("odd", "text-connect", "inbound-get"),
        ("odd", "text-connect", "inbound-post"),
        ("odd-url", "tsconect", "sent"),
        ("open", "tsconect", "sent"),
    ],
)
def test_a_source_is_named(running: Running, source: str, provider: str, kind: str) -> None:
    """Its own way of authenticating is used, and its secret is not shown."""
    shown = simulate(running, provider, kind, "--source", source)
    assert f"/hooks/{source}" in shown
    assert "s3cret" not in shown
    assert table(running.folder, "events", "--limit", "1")[0]["source"] == f"/sources/{source}"


def test_a_refusal_is_a_failure(running: Running) -> None:
    """The answer is shown, and the exit status is 1."""
    arguments = ["--source", "digest", "--url", f"http://127.0.0.1:{running.port}/", "--duplicate"]
    result = run(running.folder, "simulate", "tilil", "delivery", *arguments)
    assert (result.returncode, result.stdout.count("← 401")) == (1, 2)
    assert result.stderr == "receiver: 2 of 2 pushes were not taken\n"


def test_nobody_there_is_told(tmp_path: Path) -> None:
    """A service that does not run is one line, with its address."""
    write(tmp_path, settings(server={"port": 9}))
    result = run(tmp_path, "simulate", "tilil", "inbound")
    assert result.returncode == 1
    [line] = result.stderr.splitlines()
    assert line.startswith("receiver: http://127.0.0.1:9: ")
    assert line.endswith("; is the service running?")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nexmo", "inbound"], "no provider is named 'nexmo'; expected one of "),
        (["rayprotech", "sent"], "rayprotech pushes nothing"),
        (["tilil", "sent"], "tilil pushes one of inbound, activation, deactivation, delivery; got"),
        (["tilil", "inbound", "--set", "x"], "expected --set FIELD=VALUE, got 'x'"),
        (
            ["tilil", "inbound", "--source", "tsconect"],
            "sources.tsconect: no such source of",
        ),
        (["tilil", "inbound", "--source", "x"], "sources.x: no such source of provider tilil"),
        (["tilil", "inbound"], "server.port is 0, which means any free port"),
        (["tilil", "inbound", "--url", "127.0.0.1"], "expected --url http://HOST:PORT, got '127"),
        (["tilil", "inbound", "--url", "http://[::1"], "expected --url"),
        (["tilil", "inbound", "--repeat", "0"], "Invalid value for '--repeat'"),
    ],
)
def test_wrong_usage_is_refused(tmp_path: Path, arguments: list[str], message: str) -> None:
    """With what would be right; exit status 2."""
    write(tmp_path, settings())
    result = run(tmp_path, "simulate", *arguments)
    assert result.returncode == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:8080"),
        ("::1", "http://[::1]:8080"),
        ("sms.internal", "http://sms.internal:8080"),
    ],
)
def test_a_service_is_reached_where_it_listens(host: str, url: str) -> None:
    """An address that means all of them is reached on this machine."""
    assert address(Server(host=host)) == url


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("auth=s3cret+%2F+pass%22%C3%A9&x=1", "auth=…&x=1"),
        ("/hooks/x/s3cret%20%2F%20pass%22%C3%A9", "/hooks/x/…"),
        ('{"api_token": "s3cret / pass\\"\\u00e9"}', '{"api_token": "…"}'),
        (f"plain {ODD}", "plain …"),
        ("nothing", "nothing"),
    ],
)
def test_secrets_are_masked_in_every_spelling(text: str, shown: str) -> None:
    """In a URL, a form, JSON and as they are."""
    assert masked(text, [ODD]) == shown


def test_why_there_is_no_reply_is_told(running: Running) -> None:
    """The same text twice in a moment is answered once; the second time that is said."""
    same = ("tilil", "inbound", "--set", "message=GAME twice", "--set", "mobile=254711000444")
    assert "note:" not in simulate(running, *same)
    expected = "  note: reply held back: the same text came from this person just before"
    assert expected in simulate(running, *same)
    assert "note:" not in simulate(running, "tilil", "inbound", "--set", "message=GAME third")


class _Taking(BaseHTTPRequestHandler):
    """Takes any push."""

    def do_POST(self) -> None:
        """Answers 200."""
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of localhost with its key, in one file."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed: no certificate")
    file = tmp_path / "localhost.pem"
    made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    named = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = [program, *made, *named, "-keyout", str(file), "-out", str(file) + ".crt"]
    subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)
    file.write_text(file.read_text() + Path(f"{file}.crt").read_text())
    return file


def test_certificates_of_the_environment_are_trusted(tmp_path: Path, certificate: Path) -> None:
    """SSL_CERT_FILE names them, as for everything else that makes requests."""
    write(tmp_path, settings())
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Taking)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        push = ("simulate", "tilil", "inbound", "--url", f"https://localhost:{server.server_port}")
        assert "← 200" in told(tmp_path, *push, SSL_CERT_FILE=f"{certificate}.crt")
        result = run(tmp_path, *push)
        assert result.returncode == 1
        assert "certificate" in result.stderr.lower()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
