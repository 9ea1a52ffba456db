"""HTTP at the border, byte by byte: whole requests only, within limits, in bounded time."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from receiver.http.parser import MAX_HEADER_BYTES, MAX_HEADERS, MAX_URL_BYTES
from tests.harness import TOKEN, Reply, Running, Wire, inbound, request, serve, settings
from tests.stored import event, keys

#: Seconds for a request to arrive whole, in these tests.
TIMEOUT = 1.0
#: Seconds until what is too slow is gone: looked at twice a second, on a busy machine.
GONE = TIMEOUT + 5
MEBIBYTE = 1024 * 1024
FAILED = {"result_code": 0, "result_desc": "FAILED", "result_message": ""}

HEAD = b"POST /hooks/tilil HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The real program with a short time limit; at the end it must never have failed inside."""
    raw = settings(server={"request_timeout": TIMEOUT})
    with serve(tmp_path_factory.mktemp("protocol"), raw) as running:
        yield running
        assert running.get("/healthz").status == 200
        assert "exception" not in running.log
        assert "failed" not in running.log


def stored(service: Running, id_: str) -> int:
    """How many events have this id of the provider."""
    return keys(service.store).count(f"message:{id_}")


def exchange(service: Running, data: bytes) -> bytes:
    """Everything that comes back for these bytes until the service closes."""
    with service.wire() as wire:
        wire.send(data)
        return wire.rest()


def chunked(body: bytes, size: int = 50, trailers: bytes = b"", head: bytes = HEAD) -> bytes:
    """A request with a body in chunks."""
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n" + trailers + b"\r\n"


def plain(body: bytes, head: bytes = HEAD) -> bytes:
    """A request with a body of known length."""
    return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


# Several requests on a connection


def test_a_connection_takes_one_request_after_another(service: Running) -> None:
    """It stays open between requests, whatever they are answered."""
    with service.wire() as wire:
        for n in range(5):
            wire.send(plain(inbound(f"keep-{n}")))
            assert wire.answer().status == 200
            wire.send(plain(inbound(f"keep-{n}", api_token="x")))
            assert wire.answer().status == 401


@pytest.mark.parametrize("many", [3, 100])
def test_pipelined_requests_are_answered_in_order(service: Running, many: int) -> None:
    """Also more of them than are read ahead."""
    people = [f"2547{many:04}{n:04}" for n in range(many)]
    bodies = [inbound(f"pipe-{many}-{n}", f"GAME {n}", mobile=who) for n, who in enumerate(people)]
    requests = [plain(body) for body in bodies]
    requests.insert(2, request("GET", "/healthz"))
    with service.wire() as wire:
        wire.send(b"".join(requests))
        answers = [wire.answer() for _ in requests]
    assert [answer.status for answer in answers] == [200] * (many + 1)
    assert answers.pop(2).body == b"alive\n"
    assert {answer.json["result_message"] for answer in answers} == {"Welcome"}
    assert stored(service, f"pipe-{many}-{many - 1}") == 1


def test_what_was_asked_before_an_error_is_answered(service: Running) -> None:
    """A pipelined request that is no HTTP ends the connection, after the answers before it."""
    back = exchange(service, plain(inbound("before-error")) + b"\0\0garbage\r\n\r\n")
    assert back.startswith(b"HTTP/1.1 200 ")
    assert stored(service, "before-error") == 1


def test_nothing_is_read_after_an_error(service: Running) -> None:
    """What follows a broken request on its connection is no request."""
    hidden = plain(inbound("smuggled"))
    for broken in (
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        HEAD + b"Bad Header: x\r\n\r\n",
        plain(b" " * 100_000)[:1000],
    ):
        exchange(service, broken + hidden)
    assert stored(service, "smuggled") == 0


def test_a_client_may_close_after_its_answer(service: Running) -> None:
    """`Connection: close` and HTTP/1.0 are answered, then the connection ends."""
    for head in (
        HEAD + b"Connection: close\r\n",
        b"POST /hooks/tilil HTTP/1.0\r\n",
    ):
        back = exchange(service, plain(inbound("close"), head))
        assert back.startswith(b"HTTP/1.1 200 ")
        assert back.endswith(b'"result_message":""}')


def test_http_1_0_may_keep_its_connection(service: Running) -> None:
    """If it asks for it."""
    head = b"POST /hooks/tilil HTTP/1.0\r\nConnection: keep-alive\r\n"
    with service.wire() as wire:
        for n in range(3):
            wire.send(plain(inbound(f"old-{n}"), head))
            assert wire.answer().status == 200


def test_half_a_close_is_no_hang_up(service: Running) -> None:
    """A client that closes its own half after the request still gets the answer."""
    with service.wire() as wire:
        wire.send(plain(inbound("half")))
        wire.end()
        assert wire.rest().startswith(b"HTTP/1.1 200 ")
    assert stored(service, "half") == 1


def test_half_a_close_lets_all_be_answered(service: Running) -> None:
    """Also when there were several requests before it."""
    with service.wire() as wire:
        wire.send(b"".join(plain(inbound(f"halves-{n}")) for n in range(30)))
        wire.end()
        assert wire.rest().count(b"HTTP/1.1 200 ") == 30
    assert stored(service, "halves-29") == 1


def test_half_a_request_is_none(service: Running) -> None:
    """A client that closes its half in the middle of a request has sent none."""
    with service.wire() as wire:
        wire.send(plain(inbound("cut"))[:-1])
        wire.end()
        assert not wire.rest().startswith(b"HTTP/1.1 2")
    assert stored(service, "cut") == 0


# Bodies


def test_chunks_and_split_packets_are_one_body(service: Running) -> None:
    """However a request is cut into pieces, it is the same request."""
    for size in (1, 7, 10_000):
        with service.wire() as wire:
            wire.send(chunked(inbound(f"chunks-{size}"), size))
            assert wire.answer().status == 200
    data = chunked(inbound("bytes"), 20)
    with service.wire() as wire:
        for start in range(len(data)):
            wire.send(data[start : start + 1])
        assert wire.answer().status == 200


def test_trailers_are_no_headers(service: Running) -> None:
    """What comes after a chunked body changes nothing of the request."""
    trailers = b"X-Forwarded-For: 203.0.113.7\r\nContent-Encoding: gzip\r\nX-Other: y\r\n"
    with service.wire() as wire:
        wire.send(chunked(inbound("trailers"), trailers=trailers))
        assert wire.answer().status == 200
        wire.send(request("GET", "/healthz"))
        assert wire.answer().status == 200
    kept = event(service.store, "trailers").request
    assert kept is not None
    assert kept.client == "127.0.0.1"
    assert {name for name, _ in kept.headers} <= {b"transfer-encoding"}


def test_endless_trailers_are_ended(service: Running) -> None:
    """They are ignored, though not for ever."""
    before = service.resident()
    with service.wire() as wire:
        wire.send(chunked(inbound("endless"))[:-2])
        started = time.monotonic()
        trailer = b"X-Trailer: %b\r\n" % (b"x" * 8000)
        while _is_open(wire) and time.monotonic() < started + GONE:
            wire.send(trailer)
        wire.rest()
    assert time.monotonic() - started < GONE
    assert service.resident() - before < 64 * MEBIBYTE


def _is_open(wire: Wire) -> bool:
    """Whether the other side still takes bytes."""
    try:
        wire.socket.send(b"X: y\r\n")
    except OSError:
        return False
    return True


@pytest.mark.parametrize("length", [100 * MEBIBYTE, 65_537, 10**17, 10**25])
def test_a_body_announced_too_large_is_refused_unread(service: Running, length: int) -> None:
    """413 at once, before a byte of it comes."""
    with service.wire() as wire:
        wire.send(HEAD + b"Content-Length: %d\r\n\r\n" % length)
        answer = wire.answer()
        assert (answer.status, answer.headers["connection"]) in ((413, "close"), (400, "close"))
        assert wire.rest() == b""


def test_a_chunked_body_is_refused_when_it_gets_too_large(service: Running) -> None:
    """40 MB in chunks: 413 after the first 64 kB, then the connection ends."""
    before = service.resident()
    with service.wire() as wire:
        wire.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(40):
            wire.send(b"100000\r\n%b\r\n" % bytes(MEBIBYTE))
        assert wire.answer().json == FAILED
    assert service.resident() - before < 64 * MEBIBYTE


@pytest.mark.parametrize(
    "length",
    [b"-1", b"+5", b"5.0", b"0x5", b"1e3", b"five", b"5, 5", b"5 5", b"", b"\xb2"],
)
def test_a_length_that_is_none_is_refused(service: Running, length: bytes) -> None:
    """400, or the connection ends."""
    back = exchange(service, HEAD + b"Content-Length: " + length + b"\r\n\r\n" + inbound("length"))
    assert back.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 413 "))


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Content-Length: 5\r\n : x\r\n",
    ],
)
def test_contradictory_lengths_are_refused(service: Running, headers: bytes) -> None:
    """Two readers of the same bytes must not see two different requests."""
    back = exchange(service, HEAD + headers + b"\r\n" + b"0\r\n\r\n" + plain(inbound("two")))
    assert back.startswith(b"HTTP/1.1 400 ")
    assert back.count(b"HTTP/1.1") == 1
    assert stored(service, "two") == 0


@pytest.mark.parametrize(
    "codings", [b"gzip, chunked", b"GZIP,\tchunked", b"gzip\r\nTransfer-Encoding: chunked"]
)
def test_a_body_that_is_coded_for_its_way_is_refused(service: Running, codings: bytes) -> None:
    """415 in the provider's words: chunks are put together, nothing is decompressed."""
    head = HEAD + b"Transfer-Encoding: " + codings + b"\r\n"
    body = inbound("coded")
    with service.wire() as wire:
        wire.send(head + b"\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        answer = wire.answer()
    assert (answer.status, answer.json) == (415, FAILED)
    assert stored(service, "coded") == 0


def test_http_1_0_has_no_chunks(service: Running) -> None:
    """A proxy that goes by HTTP/1.0 would see another end of the request: 400."""
    head = b"POST /hooks/tilil HTTP/1.0\r\n"
    for offer in (b"", b"Connection: upgrade\r\nUpgrade: h2c\r\n"):
        back = exchange(service, chunked(inbound("old-chunks"), head=head + offer))
        assert back.startswith(b"HTTP/1.1 400 ")
    assert stored(service, "old-chunks") == 0


@pytest.mark.parametrize(
    "chunks",
    [
        b"zz\r\n",
        b"-1\r\n",
        b"fffffffffffffffff\r\n",
        b"5\r\nhello",
        b"5\r\nhello!\r\n0\r\n\r\n",
        b"\r\n",
    ],
)
def test_bad_chunks_are_refused(service: Running, chunks: bytes) -> None:
    """400 or 413; where more might come, 408 when it does not."""
    back = exchange(service, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
    assert back.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 413 ", b"HTTP/1.1 408 "))


# Heads


def test_headers_are_bounded_in_number(service: Running) -> None:
    """As many as the limit, with those that every client sends, are fine; one more is 431."""
    own = 3  # Host, Content-Length, Connection
    for extra, status in ((0, b"200"), (1, b"431"), (100_000, b"431")):
        more = b"".join(b"X-%d: y\r\n" % n for n in range(MAX_HEADERS - own + extra))
        head = HEAD + more + b"Connection: close\r\n"
        back = exchange(service, plain(inbound(f"headers-{extra}"), head))
        assert back.split(b" ")[1] == status


def test_headers_are_bounded_in_bytes(service: Running) -> None:
    """One large header or many small ones: 431."""
    for head in (
        b"X: %b\r\n" % (b"y" * MAX_HEADER_BYTES),
        b"".join(b"X%d: %b\r\n" % (n, b"y" * 1000) for n in range(MAX_HEADER_BYTES // 1000 + 1)),
    ):
        back = exchange(service, plain(inbound("large-head"), HEAD + head))
        assert back.startswith(b"HTTP/1.1 431 ")
    assert stored(service, "large-head") == 0


@pytest.mark.parametrize("start", [HEAD + b"X: ", HEAD + b"X", b"POST /", b"P", b"\r\n"])
def test_a_head_without_end_is_ended(service: Running, start: bytes) -> None:
    """20 MB of one header, name, URL or method cost no memory; the connection is closed."""
    before = service.resident()
    with service.wire() as wire:
        wire.send(start)
        fill = b"\r\n" if start == b"\r\n" else b"y"
        for _ in range(20):
            wire.send(fill * (MEBIBYTE // len(fill)))
        back = wire.rest()
    assert not back or back.split(b" ")[1] in (b"400", b"408", b"414", b"431")
    assert service.resident() - before < 16 * MEBIBYTE


def test_many_heads_without_end_cost_little(service: Running) -> None:
    """A header is not collected beyond what headers may have, on however many connections."""
    before = service.resident()
    with ExitStack() as stack:
        for _ in range(100):
            wire = stack.enter_context(service.wire())
            wire.send(HEAD + b"X: ")
            for _ in range(8):
                wire.send(b"y" * 65_536)
        assert service.post(inbound("beside")).status == 200
        assert service.resident() - before < 32 * MEBIBYTE


def test_urls_are_bounded(service: Running) -> None:
    """414 beyond the limit, as far as 1 MB."""
    for length, status in (
        (MAX_URL_BYTES - 100, b"200"),
        (MAX_URL_BYTES + 1, b"414"),
        (10**6, b"414"),
    ):
        head = b"POST /hooks/tilil?x=%b HTTP/1.1\r\nConnection: close\r\n" % (b"y" * length)
        back = exchange(service, plain(inbound(f"url-{length}"), head))
        assert back.split(b" ")[1] == status


@pytest.mark.parametrize(
    "line",
    [
        b"X: a\0b",
        b"X: a\rb",
        b"X\0: a",
        b"X Y: a",
        b": a",
        b"X",
        b" folded: a",
        b"X: a\n\rY: b",
        b"\xff: a",
    ],
)
def test_odd_bytes_in_headers_are_refused(service: Running, line: bytes) -> None:
    """NUL, CR and names that are none: 400."""
    back = exchange(service, plain(inbound("odd"), HEAD + line + b"\r\n"))
    assert back.startswith(b"HTTP/1.1 400 ")
    assert stored(service, "odd") == 0


@pytest.mark.parametrize(
    "data",
    [
        b"GET /healthz\r\n\r\n",
        b"GET\r\n\r\n",
        b"\0" * 100,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"FROB /hooks/tilil HTTP/1.1\r\n\r\n",
        b"CONNECT example.com:443 HTTP/1.1\r\n\r\n",
        b"GET http:// HTTP/1.1\r\n\r\n",
        b"GET healthz HTTP/1.1\r\n\r\n",
        b"get /healthz HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused(service: Running, data: bytes) -> None:
    """HTTP/0.9, TLS, HTTP/2 and noise: an answer of 4xx or none, and the connection ends."""
    back = exchange(service, data)
    assert not back or back.startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize(
    "path", [b"/%ff%fe", b"/hooks/%", b"/hooks/\xc3\xbc", b"/hooks/%00/../x", b"/%"]
)
def test_odd_paths_are_unknown(service: Running, path: bytes) -> None:
    """No escape or byte in a path makes an error of ours."""
    back = exchange(service, b"GET " + path + b" HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert back.startswith(b"HTTP/1.1 4")


def test_the_whole_url_may_stand_in_the_request(service: Running) -> None:
    """As clients of proxies write it."""
    head = b"POST http://example.com/hooks/tilil HTTP/1.1\r\nHost: example.com\r\n"
    with service.wire() as wire:
        wire.send(plain(inbound("absolute"), head))
        assert wire.answer().status == 200


MATTER = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b":",
    b"0",
    b"f",
    b"-",
    b"\xff",
    b"Content-Length: 7\r\n",
]
MATTER += [
    b"Transfer-Encoding: chunked\r\n",
    b"Upgrade: h2c\r\nConnection: upgrade\r\n",
    b"Expect: ",
]


def test_damaged_requests_make_no_error_of_ours(service: Running) -> None:
    """Bytes changed, put in, taken out or cut off anywhere: 4xx, or an answer, or the end."""
    chance = random.Random(14)
    whole = [
        plain(inbound("damaged")) + chunked(inbound("damaged-2")),
        chunked(inbound("damaged-3"), 9) + request("GET", "/readyz"),
        request("GET", "/hooks/text-connect?source=447777777777&id=5&auth=x") * 2,
    ]
    for _ in range(500):
        data = bytearray(chance.choice(whole))
        for _ in range(chance.randint(1, 4)):
            start = chance.randint(0, len(data))
            kind = chance.random()
            matter = chance.choice(MATTER)
            if kind < 0.4:
                data[start:start] = matter
            elif kind < 0.7:
                data[start : start + len(matter)] = matter
            elif kind < 0.9:
                del data[start : start + chance.randint(1, 30)]
            else:
                del data[start + 1 :]
        with service.wire() as wire:
            cut = chance.randint(0, len(data))
            wire.send(bytes(data[:cut]))
            wire.send(bytes(data[cut:]))
            wire.end()
            back = wire.rest()
        statuses = {int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", back)}
        assert not [status for status in statuses if status >= 500], bytes(data)


# Expect and Upgrade


def test_a_body_is_asked_for(service: Running) -> None:
    """`Expect: 100-continue` gets its 100, then the answer."""
    body = inbound("expect")
    with service.wire() as wire:
        wire.send(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        assert wire.answer().status == 100
        wire.send(body)
        assert wire.answer().status == 200


def test_a_body_that_is_too_large_is_not_asked_for(service: Running) -> None:
    """The refusal comes instead of the 100."""
    with service.wire() as wire:
        wire.send(HEAD + b"Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n")
        assert wire.answer().status == 413


@pytest.mark.parametrize(
    "upgrade",
    [
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
    ],
)
def test_an_offer_to_upgrade_is_declined(service: Running, upgrade: bytes) -> None:
    """Java's HTTP client offers HTTP/2 with its first request: it is answered as HTTP/1.1."""
    id_ = f"upgrade-{len(upgrade)}"
    get = b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + upgrade + b"\r\n"
    offers = [
        plain(inbound(id_), HEAD + upgrade),
        chunked(inbound(f"{id_}-chunked"), head=HEAD + upgrade),
        get,
    ]
    for offer in offers:
        with service.wire() as wire:
            wire.send(offer)
            assert wire.answer().status == 200
            wire.send(plain(inbound(f"{id_}-after")))
            assert wire.answer().status == 200
    for offer in offers:  # in two packets, one of them the head alone
        with service.wire() as wire:
            cut = offer.index(b"\r\n\r\n") + 4
            wire.send(offer[:cut])
            wire.send(offer[cut:])
            assert wire.answer().status == 200
    assert stored(service, id_) == stored(service, f"{id_}-chunked") == 1


def test_offers_without_end_are_declined(service: Running) -> None:
    """However many come at once, each request is answered."""
    offer = b"GET /healthz HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    back = exchange(service, offer * 500 + b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert back.count(b"HTTP/1.1 200 ") == 501


# Slow clients


def gone(wire: Wire) -> bytes:
    """What came back until the service closed, which it does in bounded time."""
    started = time.monotonic()
    back = wire.rest()
    assert time.monotonic() - started < GONE
    return back


def test_a_silent_connection_is_closed(service: Running) -> None:
    """Whoever connects and says nothing is not kept."""
    with service.wire() as wire:
        assert gone(wire) == b""


def test_half_a_head_is_ended(service: Running) -> None:
    """408: there is no source to refuse it by."""
    with service.wire() as wire:
        wire.send(HEAD)
        assert gone(wire).startswith(b"HTTP/1.1 408 ")


def test_a_withheld_body_is_ended(service: Running) -> None:
    """408 in the provider's words."""
    with service.wire() as wire:
        wire.send(plain(inbound("withheld"))[:-1])
        answer: Reply = wire.answer()
        assert (answer.status, answer.json) == (408, FAILED)
        gone(wire)
    assert stored(service, "withheld") == 0


def test_a_byte_now_and_then_buys_no_time(service: Running) -> None:
    """The limit is for the whole request, not for the pause between its bytes."""
    data = plain(inbound("slow"))
    with service.wire() as wire:
        wire.socket.settimeout(0.1)
        started = time.monotonic()
        back = b""
        for start in range(len(data)):
            wire.send(data[start : start + 1])
            try:
                back = wire.socket.recv(1000)
                break
            except TimeoutError:
                assert time.monotonic() - started < GONE
    assert back.startswith(b"HTTP/1.1 408 ")


def test_slow_clients_hold_up_nobody(service: Running) -> None:
    """While a hundred connections wait for their rest, a push is answered as ever."""
    with ExitStack() as stack:
        for n in range(100):
            wire = stack.enter_context(service.wire())
            wire.send((b"", HEAD, plain(inbound(n))[:-5], b"P")[n % 4])
        assert service.post(inbound("meanwhile")).status == 200


def test_who_does_not_read_answers_is_ended(service: Running) -> None:
    """Requests without end whose answers are not read cost a bounded amount of memory."""
    before = service.resident()
    data = b"".join(request("GET", "/nothing") for _ in range(2000))
    with service.wire() as wire:
        wire.socket.settimeout(GONE)
        with pytest.raises(OSError, match=r"reset|Broken pipe"):  # what the kernel takes is bounded
            wire.socket.sendall(data * 1000)
    assert service.resident() - before < 64 * MEBIBYTE


def test_crowds_that_ask_and_do_not_read_cost_little(service: Running) -> None:
    """A thousand requests in one piece, from each of many who read no answer: memory is bounded."""
    before = service.resident()
    with ExitStack() as stack:
        wires = [stack.enter_context(service.wire()) for _ in range(200)]
        for _ in range(3):
            for wire in wires:
                wire.send(request("GET", "/nothing") * 800)
            assert service.post(inbound("among them")).status == 200
        assert service.resident() - before < 64 * MEBIBYTE


def test_a_token_is_never_in_an_answer(service: Running) -> None:
    """Not even in one to a request that could not be read."""
    for data in (
        b"POST /hooks/tilil/%b HTTP/1.1\r\nContent-Length: x\r\n\r\n" % TOKEN.encode(),
        b"GET /nothing/%b HTTP/1.1\r\nConnection: close\r\n\r\n" % TOKEN.encode(),
    ):
        assert TOKEN.encode() not in exchange(service, data)
