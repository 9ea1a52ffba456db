"""URLs as careless gateways write them, and what is no HTTP request at all."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote, unquote
from urllib.request import urlopen

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.http import urls
from receiver.http.parser import MAX_URL_BYTES, PIECE
from tests import stored
from tests.harness import TOKEN, Running, Wire, hook, inbound, request, serve, settings, until
from tests.ports import free_port

FAILED = {"result_code": 0, "result_desc": "FAILED", "result_message": ""}
HEAD = b"POST /hooks/tilil HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def admin() -> int:
    """The port of the service's admin address."""
    return free_port()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, admin: int) -> Iterator[Running]:
    """The real program, which must never have failed inside."""
    raw = settings(server={"admin": f"127.0.0.1:{admin}"})
    with serve(tmp_path_factory.mktemp("urls"), raw) as running:
        yield running
        assert "exception" not in running.log
        assert "failed" not in running.log


def get(id_: str, text: bytes, head: bytes = b"\r\n") -> bytes:
    """A GET of Text-Connect with a text that stands in its URL as it is."""
    start = b"GET /hooks/text-connect?source=447777777777&dest=447786200000&auth=%b&id=%b&msg=" % (
        TOKEN.encode(),
        id_.encode(),
    )
    return start + text + b" HTTP/1.1\r\nHost: x\r\n" + head


RAW = {
    "UTF-8": ("Caffè £5 ñ كيف 😀".replace(" ", "+").encode(), "Caffè £5 ñ كيف 😀"),
    "a space": (b"STOP NEWS", "STOP NEWS"),
    "spaces everywhere": (b" a  b ", " a  b "),
    "both": ("Caffè £5".encode(), "Caffè £5"),
    "windows-1252": (b"Caff\xe8 \xa35", "Caffè £5"),
    "control characters": (b"a\tb\x01\0c\x7f", "a\tb\x01\0c\x7f"),
    "what looks like the end of the line": (b"a HTTP/1.1 b", "a HTTP/1.1 b"),
    "a number sign": (b"C# 7", "C# 7"),
    "a number sign and more parameters": (b"a#b&MM1=c", "a#b"),
    "question marks": (b"why??", "why??"),
    "brackets and quotes": (b'<a> "b" {c} |d| \\e ^f `g', '<a> "b" {c} |d| \\e ^f `g'),
    "broken escapes": (b"100% sure", "100% sure"),
    "more than a piece": (b"a b" * PIECE, "a b" * PIECE),
    "a space late": (b"a" * PIECE + b" b", "a" * PIECE + " b"),
    "UTF-8 late": (b"a" * 2 * PIECE + "è".encode(), "a" * 2 * PIECE + "è"),
}


@pytest.mark.parametrize("name", RAW)
def test_what_should_be_escaped_in_a_query_is_taken(service: Running, name: str) -> None:
    """A URL that the parser refuses is read again, in escapes; the connection goes on."""
    text, expected = RAW[name]
    with service.wire() as wire:
        wire.send(get(f"raw-{name.replace(' ', '-')}", text))
        assert wire.answer().status == 200
        wire.send(request("POST", "/hooks/tilil", inbound(f"after-{name}")))
        assert wire.answer().status == 200
    assert stored.text(service.store, f"raw-{name.replace(' ', '-')}") == expected


@pytest.mark.parametrize("size", [1, 7, 60])
def test_a_raw_query_may_come_in_pieces(service: Running, size: int) -> None:
    """However it is cut, it is one request: its line is waited for."""
    data = get(f"cut-{size}", "Caffè £5 and more".encode(), b"X-Y: z\r\n\r\n")
    with service.wire() as wire:
        for start in range(0, len(data), size):
            wire.send(data[start : start + size])
        assert wire.answer().status == 200
    assert stored.text(service.store, f"cut-{size}") == "Caffè £5 and more"


def test_a_post_may_have_a_raw_query(service: Running) -> None:
    """Its body is read, once."""
    body = inbound("raw-post")
    head = b"POST /hooks/tilil?x=\xc3\xa8 y HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body)
    with service.wire() as wire:
        wire.send(head + body)
        assert wire.answer().status == 200
    assert stored.text(service.store, "raw-post") == "hello"


def test_a_body_is_never_taken_for_a_line(service: Running) -> None:
    """Behind another request nothing is mended: bytes read with it may be the end of its body."""
    hidden = get("hidden", b"a b", b"\r\n")
    whole = b"Content-Length: %d\r\n\r\n"
    length = PIECE - len(HEAD + whole % 9999) + len(hidden)
    head = HEAD + whole.replace(b"%d", b"%04d") % length
    body = b" " * (length - len(hidden)) + hidden
    assert (head + body)[PIECE:] == hidden
    with service.wire() as wire:
        wire.send(head + body + b"\0\r\n")
        wire.end()
        wire.rest()
    assert "message:hidden" not in stored.keys(service.store)


def outcomes(admin: int) -> dict[tuple[str, str], int]:
    """The counted pushes by source and outcome."""
    with urlopen(f"http://127.0.0.1:{admin}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    counted = {}
    for line in lines:
        if line.startswith("receiver_pushes_total{"):
            labels, _, value = line.partition("{")[2].partition("} ")
            named = dict(label.split("=") for label in labels.split(","))
            key = (named["source"].strip('"'), named["outcome"].strip('"'))
            counted[key] = int(float(value))
    return counted


KEPT = {
    "a bad header": (HEAD + b"X Y: a\r\n\r\n", "bad_request", 400),
    "two lengths": (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", "bad_request", 400),
    "bad chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "bad_request", 400),
    "HTTP/0.9": (b"GET /hooks/tilil?x=y\r\n\r\n", "bad_request", 400),
    "an unknown version": (b"POST /hooks/tilil HTTP/9.9\r\n\r\n", "bad_request", 400),
    "an unknown method": (b"FROB /hooks/tilil HTTP/1.1\r\n\r\n", "bad_request", 400),
    "a URL that is too long": (
        b"GET /hooks/tilil?x=%b HTTP/1.1\r\n\r\n" % (b"y" * MAX_URL_BYTES),
        "url_too_long",
        414,
    ),
    "a raw URL that is too long": (
        b"GET /hooks/tilil?x=\xc3\xa8%b HTTP/1.1\r\n\r\n" % (b"y" * MAX_URL_BYTES),
        "url_too_long",
        414,
    ),
    "a raw URL without end": (
        b"GET /hooks/tilil?x= %b" % (b"y" * (MAX_URL_BYTES + PIECE)),
        "url_too_long",
        414,
    ),
    "many headers": (HEAD + b"X: y\r\n" * 200 + b"\r\n", "head_too_large", 431),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_is_no_request_is_counted_logged_and_kept(
    service: Running, admin: int, name: str
) -> None:
    """The source's own refusal answers it; strangers' part of the quarantine has it."""
    data, outcome, status = KEPT[name]
    before = outcomes(admin)["tilil", outcome]
    with service.wire() as wire:
        wire.send(data)
        answer = wire.answer()
    assert (answer.status, answer.json) == (status, FAILED)
    assert outcomes(admin)["tilil", outcome] == before + 1
    entry = stored.quarantined(service.store)[-1]
    assert (entry.authenticated, entry.outcome) == (False, outcome)
    kept = entry.request
    assert kept.method in (data.partition(b" ")[0].decode(), "")
    if name in ("a bad header", "two lengths"):
        assert kept.body == data
    until(lambda: f'"outcome": "{outcome}"' in service.log.replace('":"', '": "'), "the line")


def test_the_token_of_what_is_no_request_is_not_logged(service: Running) -> None:
    """The log has the source and the outcome, and no part of the request."""
    with service.wire() as wire:
        wire.send(b"GET %b?x=y HTTP/1.1\r\nX Y: secretly\r\n\r\n" % hook("tilil").encode())
        assert wire.answer().status == 400
    until(lambda: "bad_request" in service.log, "the line")
    assert TOKEN not in service.log
    assert "secretly" not in service.log


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x02\x00\x01\x00", b"GET healthz HTTP/1.1\r\n\r\n", b"\0" * 50]
)
def test_noise_is_counted_for_no_source(service: Running, admin: int, data: bytes) -> None:
    """TLS and the like: counted and answered, kept nowhere."""
    before = outcomes(admin).get(("", "bad_request"), 0)
    kept = stored.quarantined(service.store)
    with service.wire() as wire:
        wire.send(data)
        assert wire.answer().status == 400
    assert outcomes(admin)["", "bad_request"] == before + 1
    assert stored.quarantined(service.store) == kept


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nX Y: a\r\n\r\n", 400),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"\x16\x03\x01", 400),
    ],
)
def test_the_admin_address_refuses_it_too(
    service: Running, admin: int, data: bytes, status: int
) -> None:
    """No other address reads past what is no request."""
    assert service.get("/healthz").status == 200
    with Wire(admin) as wire:
        wire.send(data)
        assert wire.answer().status == status


def test_what_was_asked_before_it_is_answered_first(service: Running, admin: int) -> None:
    """Each is answered once, in their order, and counted."""
    before = outcomes(admin)["tilil", "bad_request"]
    with service.wire() as wire:
        wire.send(request("POST", "/hooks/tilil", inbound("first")) + HEAD + b"X Y: a\r\n\r\n")
        assert wire.answer().status == 200
        assert wire.answer().status == 400
        wire.end()
        assert wire.rest() == b""
    assert outcomes(admin)["tilil", "bad_request"] == before + 1


@given(st.binary())
def test_escaped_urls_are_taken_by_the_parser(data: bytes) -> None:
    """Any bytes in a query come back from it as they were, but for white space at a path's end."""
    escaped = urls.escaped(b"/hooks/x?" + data)
    path, _, query = urls.parse(escaped)
    assert path == "/hooks/x"
    plain = escaped.partition(b"?")[2].decode()
    assert unquote(query.decode(), errors="replace") == unquote(plain, errors="replace")


@given(st.text().map(lambda path: quote(path, safe="/?#%")))
def test_any_url_is_parsed_or_refused(url: str) -> None:
    """No URL raises anything but the parser's own error."""
    try:
        path, _, _ = urls.parse(b"/" + url.encode())
    except httptools.HttpParserInvalidURLError:
        return
    assert "//" not in path or "%2f" in url.lower()
