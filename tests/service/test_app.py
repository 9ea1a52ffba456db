"""The public address over real sockets: what is answered to whom, and what it leaves behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from receiver.service.app import PublicApp, create_app
from receiver.service.parts import Service
from receiver.service.readiness import Readiness
from tests.harness import (
    TOKEN,
    Running,
    Wire,
    delivery,
    hook,
    inbound,
    opened,
    request,
    serve,
    settings,
    until,
    with_plugin,
)
from tests.ports import free_port
from tests.stored import client, event, jobs, keys, quarantined, text

FAILED = {"result_code": 0, "result_desc": "FAILED", "result_message": ""}

#: Beside one source of each provider: one that only some addresses may use, one that says
#: "request" in its answers, and one that takes pushes from anybody.
SOURCES: dict[str, Any] = {
    **settings()["sources"],
    "near": {"provider": "tilil", "tokens": [TOKEN], "allow_ips": ["127.0.0.1", "10.0.0.0/8"]},
    "far": {"provider": "tilil", "tokens": [TOKEN], "allow_ips": ["203.0.113.7", "2001:db8::/32"]},
    "both": {"provider": "tilil", "tokens": [TOKEN], "ack_fields": "both"},
    "open": {"provider": "tilil", "authentication": "none"},
    "slow": {"provider": "tilil", "tokens": [TOKEN], "max_per_second": 1},
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The real program; its store is shared by the tests of this module."""
    raw = settings(
        sources=SOURCES,
        server={"max_body": 20_000, "trusted_proxies": ["127.0.0.1", "10.0.0.0/8"]},
    )
    with serve(tmp_path_factory.mktemp("app"), raw) as running:
        yield running


def stored(service: Running, id_: str) -> int:
    """How many events have this id of the provider."""
    return sum(key in (f"message:{id_}", f"delivery:{id_}:1") for key in keys(service.store))


# StoreResult


def test_a_source_has_a_limit_of_its_own(service: Running) -> None:
    """Beyond it 429, with the provider's failure and when to come back; others go on.

    Strangers use nothing of it up.
    """
    for n in range(20):
        assert service.post(inbound(n, api_token="wrong"), "/hooks/slow").status == 401
    answers = [service.post(inbound(f"slow-{n}"), "/hooks/slow") for n in range(50)]
    assert answers[0].status == 200
    refused = [answer for answer in answers if answer.status != 200]
    assert {(answer.status, answer.headers["retry-after"]) for answer in refused} == {(429, "1")}
    assert refused[0].json == FAILED
    assert service.post(inbound("slow-other")).status == 200


def test_a_push_is_acknowledged_in_the_providers_words(service: Running) -> None:
    """Status, type and body are those the provider's documentation names."""
    answer = service.post(inbound("app-1", "GAME"))
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.body == b'{"result_code":1,"result_desc":"OK","result_message":"Welcome"}'
    assert stored(service, "app-1") == 1


def test_the_other_spelling_of_the_answer(service: Running) -> None:
    """`ack_fields = "both"` gives both spellings that the documentation prints."""
    assert service.post(inbound("app-2"), "/hooks/both").json == {
        "result_code": 1,
        "result_desc": "OK",
        "request_code": 1,
        "request_desc": "OK",
        "result_message": "",
    }


@pytest.mark.parametrize(
    "path", ["/hooks/tilil", "/hooks/tilil/", f"{hook('tilil')}", f"{hook('tilil')}/"]
)
def test_a_trailing_slash_is_the_same_url(service: Running, path: str) -> None:
    """With and without a token, nothing is redirected."""
    id_ = f"slash-{len(path)}"
    answer = service.post(inbound(id_), path)
    assert answer.status == 200
    assert "location" not in answer.headers
    assert stored(service, id_) == 1


def test_escapes_in_the_path_are_read(service: Running) -> None:
    """`/hooks/t%69lil` is `/hooks/tilil`."""
    assert service.post(inbound("app-3"), "/hooks/t%69lil").status == 200


@pytest.mark.parametrize(
    "path",
    [
        *("//hooks/tilil", "/hooks//tilil", "///hooks///tilil//", "/hooks/tilil%20"),
        *("/hooks/tilil/%20", "/hooks/tilil%C2%A0", f"/hooks/tilil/{TOKEN}%20"),
        *(f"//hooks//tilil//{TOKEN}/", f"/hooks/tilil?token={TOKEN}%20", "/hooks/tilil?"),
        *(f"/hooks/tilil?token={TOKEN}?x=y", f"/hooks/tilil??token={TOKEN}", "/hooks/tilil??a=b"),
        f"/hooks/tilil?a=b&token={TOKEN}+?x=y&z",
    ],
)
def test_a_url_may_be_pasted_carelessly(service: Running, path: str) -> None:
    """Slashes too many, a second question mark and white space at the end change nothing."""
    assert service.post(inbound(f"pasted-{path}"), path).status == 200
    assert stored(service, f"pasted-{path}") == 1


@pytest.mark.parametrize(
    "start", [f"?token={TOKEN}?", f"/{TOKEN}?", f"/{TOKEN}??", f"?token={TOKEN}%20?"]
)
def test_parameters_may_follow_a_second_question_mark(service: Running, start: str) -> None:
    """A gateway adds its parameters with one, whatever the URL has; later ones are text."""
    query = f"source=447777777777&dest=447786200000&id=mark-{start}&msg=why?id=5?token=x?"
    assert service.get(f"/hooks/text-connect{start}{query}").status == 200
    assert text(service.store, f"mark-{start.replace('%20', ' ')}") == "why?id=5?token=x?"


@pytest.mark.parametrize("path", ["/hooks/tilil/wrong%20", "//hooks/tilil?token=wrong?x=y"])
def test_a_careless_url_has_a_right_token_or_none(service: Running, path: str) -> None:
    """What is understood is also compared."""
    assert service.post(inbound("careless"), path).status == 401
    assert stored(service, "careless") == 0


TRIED = [
    *[("GET", hook(name)) for name in ("tilil", "text-connect", "tsconect", "talkntalk")],
    *[("HEAD", hook(name)) for name in ("tilil", "text-connect")],
    *(("GET", f"/hooks/tilil?token={TOKEN}"), ("GET", f"/hooks/text-connect?auth={TOKEN}")),
    *(("GET", f"{hook('tilil')}/"), ("GET", f"{hook('tilil')}?"), ("HEAD", "/hooks/open")),
]


def test_a_guess_is_noted_on_its_event(service: Running) -> None:
    """Who reads the event sees that its text may differ from what was typed."""
    body = inbound("guessed", "GAME X5").replace(b"X", b"\xa3")
    assert service.post(body).status == 200
    assert "windows-1252" in (event(service.store, "guessed").note or "")
    assert text(service.store, "guessed") == "GAME £5"


@pytest.mark.parametrize(("method", "path"), TRIED)
def test_a_portal_may_try_a_url(service: Running, method: str, path: str) -> None:
    """GET or HEAD without payload, with a right secret in the URL: 200, and nothing is stored."""
    before = keys(service.store), quarantined(service.store)
    with service.wire() as wire:
        wire.send(request(method, path))
        answer = wire.answer(method=method)
        assert (answer.status, answer.body) == (200, b"OK" if method == "GET" else b"")
        wire.send(request("GET", "/healthz"))
        assert wire.answer().status == 200
    assert (keys(service.store), quarantined(service.store)) == before


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/hooks/tilil", 405),
        ("GET", "/hooks/tilil/wrong", 405),
        ("HEAD", "/hooks/tilil", 405),
        ("GET", "/hooks/text-connect", 401),
        ("GET", "/hooks/text-connect/wrong", 401),
        ("GET", f"/hooks/text-connect/{TOKEN}?auth=wrong", 401),
        ("GET", f"/hooks/text-connect?auth={TOKEN}&token=wrong", 401),
        ("HEAD", "/hooks/text-connect", 405),
        ("GET", f"{hook('tilil')}?inbox_id=1", 405),
        ("GET", f"{hook('text-connect')}?id=1", 400),
        ("HEAD", f"{hook('text-connect')}?id=1", 405),
        ("POST", hook("tilil"), 400),
        ("PUT", hook("tilil"), 405),
        ("GET", hook("far"), 403),
        ("GET", hook("nosuch"), 404),
    ],
)
def test_nothing_else_passes_for_a_trial(
    service: Running, method: str, path: str, status: int
) -> None:
    """Without a right secret, or with a payload, it is answered as ever."""
    with service.wire() as wire:
        wire.send(request(method, path))
        assert wire.answer(method=method).status == status


def test_the_token_may_stand_in_the_query(service: Running) -> None:
    """`?token=` is what it is for providers whose payload carries no credential."""
    answer = service.post(delivery("app-4", 1), f"/hooks/tilil?token={TOKEN}")
    assert (answer.status, answer.body) == (200, b"OK;app-4;DeliveredToTerminal;")


def test_the_body_decides_not_its_content_type(service: Running) -> None:
    """JSON is JSON, whatever the header says."""
    for n, type_ in enumerate(("text/plain", "application/x-www-form-urlencoded", "image/png", "")):
        assert service.post(inbound(f"type-{n}"), content_type=type_).status == 200


def test_get_is_a_push_where_the_provider_uses_it(service: Running) -> None:
    """Text-Connect may be set to GET."""
    query = f"source=447777777777&dest=447786200000&msg=hi&id=get-1&auth={TOKEN}"
    assert service.get(f"/hooks/text-connect?{query}").status == 200
    assert stored(service, "get-1") == 1


def test_a_source_without_authentication_takes_all(service: Running) -> None:
    """Where the configuration says "none"."""
    assert service.post(inbound("open-1", api_token=None), "/hooks/open").status == 200


# Refused


def test_a_wrong_credential(service: Running) -> None:
    """401 with the provider's failure; nothing is stored."""
    for token in ("", "wrong", TOKEN[:-1], TOKEN + "x"):
        answer = service.post(inbound("no-1", api_token=token))
        assert (answer.status, answer.json) == (401, FAILED)
    assert stored(service, "no-1") == 0


def test_what_makes_no_event(service: Running) -> None:
    """400, whether it was read or not."""
    for body in (inbound(""), b"", b"{", b"\xff", b"[]"):
        answer = service.post(body, hook("tilil"))
        assert (answer.status, answer.json) == (400, FAILED)


def test_an_address_that_is_not_on_the_list(service: Running) -> None:
    """403, however right the credential; the list names addresses and networks."""
    answer = service.post(inbound("far-1"), "/hooks/far")
    assert (answer.status, answer.json) == (403, FAILED)
    assert service.post(inbound("near-1"), "/hooks/near").status == 200
    assert (stored(service, "far-1"), stored(service, "near-1")) == (0, 1)


@pytest.mark.parametrize(
    "path",
    ["/hooks/unknown", "/hooks/", "/hooks//", "/hooks/%20", "/hooks/TILIL", "/hooks/tilil%00"],
)
def test_an_unknown_source(service: Running, path: str) -> None:
    """404, without a word about the sources that there are."""
    answer = service.post(inbound("no-2"), path)
    assert answer.status == 404
    assert b"tilil" not in answer.body


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/hooks",
        "/metrics",
        "/docs",
        "/healthz/x",
        "/hookstilil",
        "/favicon.ico",
    ],
)
def test_there_is_nothing_else(service: Running, path: str) -> None:
    """The public address serves pushes and its health, and no metrics."""
    assert service.get(path).status == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_a_method_that_the_provider_does_not_use(service: Running, method: str) -> None:
    """405 that names what it does use."""
    with service.wire() as wire:
        wire.send(request(method, "/hooks/tilil", inbound("no-3")))
        answer = wire.answer()
    assert (answer.status, answer.json) == (405, FAILED)
    assert answer.headers["allow"] == "POST"
    assert stored(service, "no-3") == 0


@pytest.mark.parametrize("source", ["tilil", "text-connect"])
def test_head_stores_nothing(service: Running, source: str) -> None:
    """Also where GET is a push; the answer has no body, and the connection goes on."""
    query = f"source=447777777777&dest=447786200000&msg=hi&id=head-1&auth={TOKEN}"
    with service.wire() as wire:
        wire.send(request("HEAD", f"/hooks/{source}?{query}"))
        assert wire.answer(method="HEAD").status == 405
        wire.send(request("GET", "/healthz"))
        assert wire.answer().body == b"alive\n"
    assert stored(service, "head-1") == 0


def test_a_body_that_is_too_large(service: Running) -> None:
    """413 from one byte above `server.max_body` on."""
    for extra, status in ((0, 200), (1, 413)):
        body = inbound(f"large-{extra}")
        body += b" " * (20_000 - len(body) + extra)
        answer = service.post(body)
        assert answer.status == status
        assert (status == 200) or answer.json == FAILED
    assert (stored(service, "large-0"), stored(service, "large-1")) == (1, 0)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip", "utf-8, br"])
def test_an_encoded_body(service: Running, encoding: str) -> None:
    """415; nothing is decompressed."""
    answer = service.post(inbound("no-4"), content_encoding=encoding)
    assert (answer.status, answer.json) == (415, FAILED)


def test_a_body_that_is_only_called_encoded(service: Running) -> None:
    """What names no compression means the body as it is."""
    none = ("identity", "Identity", "", "UTF-8", "utf-8, identity", "ISO-8859-1", "none", "x")
    for n, encoding in enumerate(none):
        assert service.post(inbound(f"id-{n}"), content_encoding=encoding).status == 200


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/hooks/text-connect", b"source=447777777777&id=1&auth=wrong", 401),
        (hook("text-connect"), b"source=447777777777", 400),
        ("/hooks/tsconect", b'{"message_id": "1"}', 401),
        (hook("tsconect"), b"{}", 400),
        ("/hooks/talkntalk", b'{"data": {"id": 1}}', 401),
        (hook("talkntalk"), b"\xff", 400),
    ],
)
def test_refusals_of_other_providers(service: Running, path: str, body: bytes, status: int) -> None:
    """Without a documented failure body the answer names its status, and not the reason."""
    answer = service.post(body, path)
    assert (answer.status, answer.body) == (status, f"{HTTPStatus(status).phrase}\n".encode())


def test_refusals_are_quiet(service: Running) -> None:
    """No answer and no line of the log repeats a text, a number or a credential."""
    secrets = ("the-text-of-it", "254733123456", "guessed-credential", TOKEN)
    for body in (
        inbound("quiet-1", "the-text-of-it", mobile="254733123456"),
        inbound("quiet-2", "the-text-of-it", mobile="254733123456", api_token="guessed-credential"),
        inbound("", "the-text-of-it", mobile="254733123456"),
    ):
        answer = service.post(body)
        assert not any(secret.encode() in answer.body for secret in secrets)
    assert not any(secret in service.log for secret in secrets)


LOUD = """
from receiver.handlers import on_message

@on_message(inline=True)
def inline(event, context):
    int(event.data.text)

@on_message()
async def later(event, context):
    raise KeyError(event.data.text + event.data.from_)

@on_message()
def in_thread(event, context):
    raise ExceptionGroup(event.data.text, [ValueError(event.data.from_)])
"""


def test_handlers_that_fail_are_quiet(tmp_path: Path) -> None:
    """What an exception says may hold what people wrote: the log has its kind and place alone."""
    with serve(tmp_path, with_plugin(LOUD)) as service:
        assert service.post(inbound(1, "the-text-of-it", mobile="254733123456")).status == 200

        def errors() -> list[str]:
            return [job.error for job in jobs(service.store) if job.attempts == 1 and job.error]

        until(lambda: len(errors()) == 3, "failed")
        assert all("the-text-of-it" in error for error in errors())
        log = service.log
    assert log.count('"handler failed"') == 3
    assert "mine.py" in log
    for secret in ("the-text-of-it", "254733123456"):
        assert secret not in log


# Whose address


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("198.51.100.1, 203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, 198.51.100.1", "198.51.100.1"),
        ("198.51.100.1, 10.1.2.3", "198.51.100.1"),
        ("203.0.113.7,10.1.2.3 , 10.9.9.9", "203.0.113.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("10.1.2.3", "10.1.2.3"),
        ("garbage", "127.0.0.1"),
        ("203.0.113.7, garbage", "127.0.0.1"),
        ("garbage, 203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:1234", "203.0.113.7"),
        ("198.51.100.1, 203.0.113.7:1234", "203.0.113.7"),
        ("203.0.113.7, 10.1.2.3:80", "203.0.113.7"),
        ('"203.0.113.7:1234"', "203.0.113.7"),
        ("[2001:db8::1]:1234", "2001:db8::1"),
        ('"[2001:db8::1]"', "2001:db8::1"),
        ("[::ffff:203.0.113.7]:1234", "203.0.113.7"),
        ("203.0.113.7:x", "127.0.0.1"),
        ("203.0.113.7:1:2", "127.0.0.1"),
        ("[203.0.113.7", "127.0.0.1"),
        ("[fe80::1%eth0]:80", "127.0.0.1"),
        ("fe80::1%<script>", "127.0.0.1"),
        ("", "127.0.0.1"),
    ],
)
def test_a_trusted_proxy_tells_the_address(service: Running, forwarded: str, address: str) -> None:
    """Of the addresses it names, the last one that is not another of our proxies counts."""
    id_ = f"xff-{forwarded}"
    assert service.post(inbound(id_), x_forwarded_for=forwarded).status == 200
    assert client(service.store, id_) == address


def test_the_allow_list_is_about_the_address_behind_the_proxy(service: Running) -> None:
    """It decides by what our proxy saw, not by what the client wrote before it."""
    assert service.post(inbound("far-2"), "/hooks/far", x_forwarded_for="203.0.113.7").status == 200
    ported = service.post(inbound("far-4"), "/hooks/far", x_forwarded_for="203.0.113.7:4711")
    assert ported.status == 200
    for spoofed in ("203.0.113.7, 198.51.100.1", "198.51.100.1", "203.0.113.7, 198.51.100.1:1"):
        answer = service.post(inbound("far-3"), "/hooks/far", x_forwarded_for=spoofed)
        assert answer.status == 403
    assert (
        service.post(inbound("near-2"), "/hooks/near", x_forwarded_for="198.51.100.1").status == 403
    )


def test_several_headers_are_one_list(service: Running) -> None:
    """A second X-Forwarded-For comes after the first."""
    with service.wire() as wire:
        body = inbound("xff-two")
        first, rest = request("POST", "/hooks/tilil", body).split(b"\r\n", 1)
        two = b"X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 203.0.113.7\r\n"
        wire.send(first + b"\r\n" + two + rest)
        assert wire.answer().status == 200
    assert client(service.store, "xff-two") == "203.0.113.7"


def test_nobody_else_tells_the_address(tmp_path: Path) -> None:
    """From a peer that is no trusted proxy the header is not believed."""
    raw = settings(server={"trusted_proxies": ["10.0.0.0/8"]}, sources=SOURCES)
    with serve(tmp_path, raw) as service:
        assert service.post(inbound("xff"), x_forwarded_for="203.0.113.7").status == 200
        assert client(service.store, "xff") == "127.0.0.1"
        answer = service.post(inbound("far"), "/hooks/far", x_forwarded_for="203.0.113.7")
        assert answer.status == 403


# Under another server


def app_of(service: Service) -> PublicApp:
    """The application of a service in this process."""
    server = service.parts.config.server
    return create_app(service.intake, server, Readiness(service.store.check), service.requests)


async def ask(app: PublicApp, parts: list[bytes]) -> tuple[int, bytes]:
    """Status and body of the answer to a POST whose body comes in parts."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/hooks/tilil",
        "query_string": b"",
        "headers": [(b"x-forwarded-for", b"203.0.113.7")],
        "client": None,
    }
    waiting = [
        {"type": "http.request", "body": part, "more_body": n < len(parts)}
        for n, part in enumerate(parts, 1)
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], sent[1]["body"]


@pytest.mark.anyio
async def test_a_body_may_come_in_parts(tmp_path: Path) -> None:
    """The application is plain ASGI: other servers hand bodies over piece by piece, of nobody."""
    raw = settings(server={"max_body": 1000})
    async with opened(tmp_path, raw) as service:
        app = app_of(service)
        body = inbound(1)
        assert (await ask(app, [body[:10], body[10:]]))[0] == 200
        assert (await ask(app, [bytes(600), bytes(600), bytes(600)]))[0] == 413
        assert (await ask(app, [bytes(1001)]))[0] == 413


@pytest.mark.anyio
async def test_a_fault_of_ours_is_no_answer_of_the_providers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What we did not think of is logged, and the provider shall come back: 503."""
    async with opened(tmp_path) as service:
        app = app_of(service)
        service.store.ids = None  # type: ignore[assignment] # something is broken inside
        status, body = await ask(app, [inbound(1, "the-text-of-it")])
    assert (status, json.loads(body)) == (503, FAILED)
    log = capsys.readouterr().out
    assert "push failed" in log
    assert "AttributeError" in log
    assert "the-text-of-it" not in log


# Health


@pytest.mark.parametrize("path", ["/healthz", "/healthz/", "/readyz", "/readyz/"])
def test_health_is_told(service: Running, path: str) -> None:
    """200 while it lives and takes writes; HEAD and other methods do as everywhere."""
    assert service.get(path).status == 200
    with service.wire() as wire:
        wire.send(request("HEAD", path))
        assert wire.answer(method="HEAD").status == 200
        wire.send(request("POST", path))
        assert wire.answer().status == 405


def test_answers_say_how_long_they_are(service: Running) -> None:
    """Every answer has one length, and none names the server's software."""
    for answer in (service.post(inbound("len")), service.get("/healthz"), service.get("/nothing")):
        assert int(answer.headers["content-length"]) == len(answer.body)
        assert "server" not in answer.headers


def test_a_store_that_takes_nothing_is_told(tmp_path: Path) -> None:
    """503 with Retry-After and the provider's failure; /healthz stays well.

    Strangers learn nothing of the machine; the admin address and the log say why.
    """
    admin = free_port()
    raw = settings(sources=SOURCES, server={"admin": f"127.0.0.1:{admin}"})
    with serve(tmp_path, raw) as service:
        assert service.post(inbound(1)).status == 200
        service.store.rename(tmp_path / "elsewhere")
        until(lambda: service.get("/readyz").status != 200, "not ready")
        answer = service.get("/readyz")
        assert answer.status == 503
        assert answer.body == b"not ready: the store takes no writes\n"
        assert "retry-after" in answer.headers
        with Wire(admin) as wire:
            wire.send(request("GET", "/readyz"))
            told = wire.answer()
        assert told.status == 503
        assert f"{service.store} was deleted or replaced".encode() in told.body
        refused = service.post(inbound(2))
        assert (refused.status, refused.json) == (503, FAILED)
        assert int(refused.headers["retry-after"]) > 0
        assert service.post(inbound(1)).status == 503  # not even a repeat: it cannot be told
        assert service.post(inbound(3, api_token="x")).status == 401
        assert service.get("/healthz").status == 200
        (tmp_path / "elsewhere").rename(service.store)
        until(lambda: service.get("/readyz").status == 200, "ready again")
        assert service.post(inbound(2)).status == 200
    lines = [json.loads(line) for line in service.log.splitlines()]
    assert not [line for line in lines if "exception" in line]
    said = [(line["event"], line.get("why", "")) for line in lines]
    [(_, why)] = [each for each in said if each[0] == "not ready"]
    assert f"{service.store} was deleted or replaced" in why
    assert ("ready again", "") in said
