"""The service behind the shipped nginx and Caddy files, as strangers see it."""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from receiver.config import Server
from tests import stored
from tests.deploy.proxies import KINDS, Certificate, Proxy, make_certificate, running
from tests.harness import TOKEN, Running, hook, inbound, serve, settings

#: An address of this machine that is nobody's proxy, and one that is nobody's.
STRANGER, ELSEWHERE = "127.0.0.2", "203.0.113.9"
SPOOFED = {
    "X-Forwarded-For": ELSEWHERE,
    "X-Real-IP": ELSEWHERE,
    "Forwarded": f"for={ELSEWHERE}",
}
PUBLIC = ("/hooks/x", "/hooks/x/y?z", "/healthz", "/healthz/", "/readyz", "/readyz/")
HIDDEN = (
    *("/", "/metrics", "/metrics/", "/hooks", "/healthz/x", "/docs", "//metrics", "/xhooks/x"),
    *("/hooks/../metrics", "/hooks/%2e%2e/metrics", "/hooks/tilil/../../metrics"),
)


class Everything(BaseHTTPRequestHandler):
    """A service that answers whatever it is asked."""

    def do_GET(self) -> None:
        """Answers."""
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name
        """Says nothing."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for the name in the shipped files."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service that believes its proxy, with sources only for a stranger and for elsewhere."""
    own: dict[str, Any] = {"provider": "tilil", "tokens": [TOKEN]}
    sources = {
        "tilil": own,
        "stranger": {**own, "allow_ips": [STRANGER]},
        "elsewhere": {**own, "allow_ips": [ELSEWHERE]},
    }
    server = {"port": 0, "admin": "127.0.0.1:0", "trusted_proxies": ["127.0.0.1"]}
    folder = tmp_path_factory.mktemp("service")
    raw = {**settings(server=server), "sources": sources}
    with serve(folder, raw) as started:
        yield started


@pytest.fixture(scope="module", params=KINDS)
def proxy(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    certificate: Certificate,
    service: Running,
) -> Iterator[Proxy]:
    """Each of the proxies, in front of the service."""
    folder = tmp_path_factory.mktemp(request.param)
    with running(request.param, folder, certificate, service.port) as started:
        yield started


def test_push_is_answered(proxy: Proxy) -> None:
    """A push through the proxy gets the provider's acknowledgement, with the reply in it."""
    answer = proxy.ask(
        "POST", "/hooks/tilil", inbound(f"answered {id(proxy)}", f"GAME {id(proxy)}")
    )
    assert answer.status == 200
    expected = {"result_code": 1, "result_desc": "OK", "result_message": "Welcome"}
    assert answer.json == expected


def test_token_in_the_url_arrives(proxy: Proxy) -> None:
    """A token in the path reaches the service as it was sent."""
    body = b'{"messageId": "1", "dlrStatus": "1", "dlrDesc": "DeliveredToTerminal"}'
    answer = proxy.ask("POST", hook("tilil"), body)
    assert (answer.status, answer.body) == (200, b"OK;1;DeliveredToTerminal;")
    assert proxy.ask("POST", f"{hook('tilil')}x", body).status == 401


@pytest.mark.parametrize("headers", [{}, SPOOFED], ids=["plain", "spoofed"])
def test_recorded_address_is_the_real_one(
    proxy: Proxy, service: Running, headers: dict[str, str]
) -> None:
    """The address kept with an event is that of who connected, whatever the headers say."""
    id_ = f"recorded {id(proxy)} {len(headers)}"
    answer = proxy.ask("POST", "/hooks/tilil", inbound(id_), headers, source=STRANGER)
    assert answer.status == 200
    assert stored.client(service.store, id_) == STRANGER


def test_allow_list_goes_by_the_real_address(proxy: Proxy) -> None:
    """allow_ips lets in who connected, and nobody who only says so."""

    def status(source: str, headers: dict[str, str], address: str) -> int:
        body = inbound(f"listed {source} {address} {id(proxy)}")
        return proxy.ask("POST", f"/hooks/{source}", body, headers, source=address).status

    assert status("stranger", {}, STRANGER) == 200
    assert status("stranger", SPOOFED, STRANGER) == 200
    assert status("elsewhere", SPOOFED, STRANGER) == 403
    assert status("stranger", {"X-Forwarded-For": STRANGER}, "127.0.0.3") == 403


def test_host_header_changes_nothing(proxy: Proxy) -> None:
    """A push under another Host is refused or taken, never redirected or sent elsewhere."""
    answer = proxy.ask("POST", "/hooks/tilil", inbound(f"host {id(proxy)}"), {"Host": "evil.test"})
    assert answer.status in (200, 404, 421)
    assert "location" not in answer.headers


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/readyz/"])
def test_health_is_public(proxy: Proxy, path: str) -> None:
    """What monitors from outside ask for is reachable."""
    assert proxy.ask("GET", path).status == 200


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_else_reaches_the_service(
    kind: str, tmp_path: Path, certificate: Certificate
) -> None:
    """Of a service that would answer everything, only hooks and health are reachable."""
    with (
        HTTPServer(("127.0.0.1", 0), Everything) as everything,
        running(kind, tmp_path, certificate, everything.server_port) as proxy,
    ):
        Thread(target=everything.serve_forever, daemon=True).start()
        reached = {path: proxy.ask("GET", path).status for path in PUBLIC + HIDDEN}
        everything.shutdown()
    assert {path for path, status in reached.items() if status == 200} == set(PUBLIC)
    assert {status for path, status in reached.items() if path in HIDDEN} <= {400, 404}


def test_a_little_too_large_is_refused_by_the_service(proxy: Proxy) -> None:
    """Beyond max_body the answer is the failure that the provider understands."""
    text = "x" * (Server().max_body + 1000)
    answer = proxy.ask("POST", "/hooks/tilil", inbound(f"large {id(proxy)}", text))
    assert answer.status == 413
    assert answer.json["result_code"] == 0


def test_far_too_large_is_refused_by_the_proxy(proxy: Proxy, service: Running) -> None:
    """A body far beyond the limit is refused, and the service stays as it is."""
    connection = proxy.connect()
    with connection:
        head = "POST /hooks/tilil HTTP/1.1\r\nHost: sms.example.com\r\nContent-Length: 104857600"
        connection.sendall(f"{head}\r\n\r\n".encode() + b"x" * 200_000)
        assert connection.recv(100).split(b" ")[1] == b"413"
    assert service.get("/readyz").status == 200


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("place", "logged"),
    [
        ("/hooks/tilil/{}", "/hooks/tilil"),
        ("/hooks/tilil?token={}", "/hooks/tilil"),
        ("/hook/tilil/{}", "/hook"),
    ],
)
def test_tokens_stay_out_of_logs(
    kind: str, place: str, logged: str, tmp_path: Path, certificate: Certificate, service: Running
) -> None:
    """The proxy logs what was asked for without the token, failures and mistyped URLs included."""
    path = place.format(TOKEN)
    there = logged.startswith("/hooks")
    with running(kind, tmp_path, certificate, service.port) as proxy:
        answer = proxy.ask("POST", path, inbound(f"logged {kind} {place}"))
        assert answer.status == (200 if there else 404)
    with running(kind, tmp_path, certificate, 1) as proxy:  # nobody listens there
        assert proxy.ask("POST", path, b"{}").status == (502 if there else 404)
    assert re.search(rf"[ \"]{logged}[ \"]", proxy.logs()), proxy.logs()
    assert TOKEN not in proxy.logs()


def test_http_2_is_not_spoken(proxy: Proxy, certificate: Certificate) -> None:
    """Whoever asks for it gets HTTP/1.1: one request at a time on a connection."""
    asking = ssl.create_default_context(cafile=certificate.file)
    asking.set_alpn_protocols(["h2", "http/1.1"])
    plain = socket.create_connection(("127.0.0.1", proxy.port), 30)
    with asking.wrap_socket(plain, server_hostname="sms.example.com") as connection:
        assert connection.selected_alpn_protocol() == "http/1.1"


def test_a_connection_that_the_service_closed_costs_no_push(
    tmp_path: Path, certificate: Certificate
) -> None:
    """What nginx sends on a kept connection that ends without an answer, it sends again."""
    with socket.create_server(("127.0.0.1", 0)) as service:
        Thread(target=close_at_the_second_push, args=(service,), daemon=True).start()
        with running("nginx", tmp_path, certificate, service.getsockname()[1]) as proxy:
            bodies = [proxy.ask("POST", "/hooks/x", body).body for body in (b"one", b"two")]
    assert bodies == [b"one", b"two"]


def close_at_the_second_push(service: socket.socket) -> None:
    """Answers a push with its body; the second on the same connection is only read."""
    for _ in range(2):
        connection, _ = service.accept()
        with connection:
            push = b""
            while not push.endswith((b"one", b"two")):
                push += connection.recv(65536)
            head = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"
            connection.sendall(head + push[-3:])
            connection.recv(65536)


@pytest.mark.slow
def test_withheld_body_is_given_up(proxy: Proxy) -> None:
    """A client that withholds the rest of its request is rid of within 15 s."""
    with proxy.connect() as connection:
        began = time.monotonic()
        head = "POST /hooks/tilil HTTP/1.1\r\nHost: sms.example.com\r\nContent-Length: 100"
        connection.sendall(f"{head}\r\n\r\nhalf".encode())
        while connection.recv(1000):
            pass
        assert time.monotonic() - began < 15
