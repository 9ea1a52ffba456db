"""Strangers' tricks through the shipped proxies: what the service gets of them, and who it blames.

The series of abuse is the one that tests/battery/test_strangers_wire.py runs without a proxy.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import stored
from tests.battery import abuse
from tests.battery.abuse import ELSEWHERE, MEBIBYTE, Pieces, endure
from tests.battery.load import run
from tests.battery.slow import BODY, GONE, PROMPT, Siege, enough_files
from tests.battery.slow import KINDS as SLOW
from tests.deploy.proxies import HOST, KINDS, Certificate, Proxy, make_certificate, running
from tests.harness import TOKEN, Running, inbound, serve, settings

#: An address of this machine that is nobody's proxy.
STRANGER = "127.0.0.2"
#: What a proxy itself may say of what it does not speak: 501 to a transfer coding, 505 to a
#: version of HTTP. All others of 500 and more would be about the service.
PROXYS_OWN = {501, 505}
#: Caddy hands a body on while it comes, and calls it 502 when its chunks turn out to be none. Only
#: who sends such chunks sees that.
BROKEN_ON_THE_WAY = {502}
CHUNKS = {
    *(name for name in abuse.SMUGGLING if "chunk that" in name or "chunk of" in name),
    *("negative chunk", "huge chunk", "longer chunk than said"),
    *("trailers of 20 MB", "an extension of 20 MB"),
}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for the name in the shipped files."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with a source for everybody and one for `ELSEWHERE` alone."""
    own: dict[str, Any] = {"provider": "tilil", "tokens": [TOKEN]}
    sources = {"tilil": own, "elsewhere": {**own, "allow_ips": [ELSEWHERE, "::1", "10.0.0.0/8"]}}
    raw = {**settings(server={"port": 0, "admin": "", "request_timeout": 2.0}), "sources": sources}
    with serve(tmp_path_factory.mktemp("service"), raw) as started:
        yield started
        assert "exception" not in started.log


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


#: Headers by which a client may say that it is somebody else.
SPOOFS = {
    "X-Forwarded-For": [f"X-Forwarded-For: {ELSEWHERE}"],
    "several addresses": [f"X-Forwarded-For: {ELSEWHERE}, 127.0.0.1"],
    "twice": [f"X-Forwarded-For: {ELSEWHERE}", "X-Forwarded-For: 10.0.0.1"],
    "in capitals": [f"X-FORWARDED-FOR: {ELSEWHERE}"],
    "with underscores": [f"X_Forwarded_For: {ELSEWHERE}"],
    "of IPv6": ["X-Forwarded-For: ::1"],
    "empty": ["X-Forwarded-For:"],
    "garbage": [f"X-Forwarded-For: {ELSEWHERE}\t,;<script>"],
    "X-Real-IP": [f"X-Real-IP: {ELSEWHERE}"],
    "Forwarded": [f'Forwarded: for="{ELSEWHERE}";host=evil.test;proto=http'],
    "by the names of clouds": [
        *(f"CF-Connecting-IP: {ELSEWHERE}", f"True-Client-IP: {ELSEWHERE}"),
        *(f"X-Client-IP: {ELSEWHERE}", f"X-Cluster-Client-IP: {ELSEWHERE}"),
    ],
    "to be taken away on the way": [
        *(f"X-Forwarded-For: {ELSEWHERE}", "Connection: close, X-Forwarded-For"),
    ],
    "of another host": ["X-Forwarded-Host: evil.test", "X-Original-URL: /metrics"],
}


def push(proxy: Proxy, source: str, id_: str, lines: list[str], host: str = HOST) -> list[int]:
    """The statuses of the answer to a right push with these lines in its head."""
    body = inbound(id_)
    head = [f"POST /hooks/{source} HTTP/1.1", f"Host: {host}", *lines]
    head += ["Connection: close"] * ("Connection" not in "".join(lines))
    data = "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body
    return endure(proxy.connect(STRANGER), [data]).statuses


@pytest.mark.parametrize("lines", SPOOFS.values(), ids=SPOOFS)
def test_nobody_passes_for_somebody_else(proxy: Proxy, service: Running, lines: list[str]) -> None:
    """The address recorded, and the one that allow_ips judges, is that of who connected."""
    id_ = f"spoofed {id(proxy)} {lines}"
    assert push(proxy, "elsewhere", id_, lines) == [403]
    assert push(proxy, "tilil", id_, lines) == [200]
    assert stored.client(service.store, id_) == STRANGER


@pytest.mark.parametrize("host", ["evil.test", "127.0.0.1:8081", "sms.example.com@evil.test", ""])
def test_a_host_leads_nowhere(proxy: Proxy, host: str) -> None:
    """Under whatever name: refused, not there, or the same push as ever; never a redirect."""
    statuses = push(proxy, "tilil", f"host {host} {id(proxy)}", [], host)
    assert set(statuses) <= {200, 400, 404, 421}


@pytest.mark.parametrize("pieces", abuse.CODED.values(), ids=abuse.CODED)
def test_an_encoded_body_is_refused(proxy: Proxy, pieces: Pieces) -> None:
    """415 also through a proxy: it hands the header on and undoes nothing."""
    assert endure(proxy.connect(), pieces()).statuses == [415]


@pytest.mark.parametrize("pieces", abuse.TRICKS.values(), ids=abuse.TRICKS)
def test_tricks_come_to_nothing(proxy: Proxy, service: Running, pieces: Pieces) -> None:
    """What looks like a push is taken or refused, and none of what else it says is believed."""
    statuses = set(endure(proxy.connect(STRANGER), pieces()).statuses)
    assert statuses <= {200, 400, 404, 421}
    assert stored.clients(service.store) <= {STRANGER, "127.0.0.1"}


def allowed(proxy: Proxy, name: str) -> set[int]:
    """Statuses of 500 and more that may come back."""
    by_caddy = "caddy" in proxy.folder.name and name in CHUNKS
    return PROXYS_OWN | (BROKEN_ON_THE_WAY if by_caddy else set())


@pytest.mark.parametrize("name", abuse.SMUGGLING)
def test_nothing_is_smuggled(proxy: Proxy, service: Running, name: str) -> None:
    """What has two meanings never becomes a request that the proxy did not see as one."""
    before = len(stored.keys(service.store))
    outcome = endure(proxy.connect(), abuse.SMUGGLING[name]())
    taken = stored.events(service.store)
    assert outcome.ended
    assert len(taken) - before <= outcome.statuses.count(200)
    assert {status for status in outcome.statuses if status >= 500} <= allowed(proxy, name)


#: Until the proxy gives up waiting for the rest.
_SLOW = {"TLS", "zeros", "10 MB of empty lines", "an extension of 20 MB", "trailers of 20 MB"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in _SLOW else [])
        for name in [*abuse.ODD, *abuse.LARGE]
    ],
)
def test_abuse_makes_no_error(proxy: Proxy, service: Running, name: str) -> None:
    """4xx or the end of the connection; the service is neither blamed (502) nor does it grow."""
    before = service.resident()
    outcome = endure(proxy.connect(), abuse.SERIES[name]())
    assert outcome.ended
    assert {status for status in outcome.statuses if status >= 500} <= allowed(proxy, name)
    assert service.resident() - before < 16 * MEBIBYTE
    assert proxy.ask("GET", "/readyz").status == 200


@pytest.mark.parametrize("place", ["/hooks/tilil/{}", "/hooks/tilil?token={}", "/{}?x={}"])
def test_caddy_says_all_it_can_and_no_token(
    place: str, tmp_path: Path, certificate: Certificate, service: Running
) -> None:
    """At its level DEBUG it writes down each request and its way to us, without the URL."""
    talkative = {"\tadmin off\n": "\tadmin off\n\tdebug\n"}
    path = place.format(TOKEN, TOKEN)
    with running("caddy", tmp_path, certificate, service.port, talkative) as proxy:
        proxy.ask("POST", path, inbound(f"debug {place}"))
        with proxy.connect() as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nX: \0\r\n\r\n".encode())
            connection.recv(1000)
        assert '"debug"' in proxy.logs()
        assert TOKEN not in proxy.logs()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_slow_connections_hold_up_nobody(
    kind: str, tmp_path: Path, certificate: Certificate
) -> None:
    """Behind the proxy, too: whole requests are answered promptly, and the slow are all ended.

    nginx ends no body that keeps coming. It does not hand it on either: all that it costs is one of
    nginx's own connections.
    """
    if not enough_files():
        pytest.skip("this process may not have so many open files")
    with (
        serve(tmp_path / "service", settings()) as service,
        running(kind, tmp_path, certificate, service.port) as proxy,
    ):
        kinds = [name for name in SLOW if kind != "nginx" or name != BODY]
        siege = Siege(proxy.port, proxy.tls, HOST, kinds)
        run(siege.run())
        assert siege.statuses == {200}
        assert max(siege.took) <= PROMPT
        assert max(siege.lasted) <= GONE
        assert len(siege.took) > 20, "too few: the case proves nothing"
