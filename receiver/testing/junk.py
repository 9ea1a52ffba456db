"""Makes requests and answers that no gateway should send: the same ones each time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from random import Random
from typing import Any
from urllib.parse import quote_plus

from receiver.providers.contract import Push, Response

_SEED = 19
#: What stands in the place of a value in JSON.
_VALUES = (
    *("null", "true", "false", "0", "-0", "1.5", "1E400", "-1e-400", "NaN", '""', '" "', "[]"),
    *('"\\ud800"', '"\\u0000"', '"\\n\\u001b[31m"', "9" * 30, "9" * 5000, '"00010101000000"'),
    *('"9999-12-31T23:59:59-12:00"', '{"a":[{}]}', "[" * 2000 + "]" * 2000, "[" * 50_000),
)
#: What stands in the place of a value in a form.
_TEXTS = ("", "%", "%zz", "%00", "%ED%A0%80", "+", "=", ";", "%F0%9F%98%80", "\xff", "9" * 5000)
_BODIES = (
    b"",
    b"\xff\xfe\x00",
    b'{"',
    b"[]",
    b"null",
    b"%",
    b"[1]",
    b"--x\r\nContent-",
    b"\xef\xbb\xbf{}",
)


def pushes(sample: Push, secret: str) -> Iterator[Push]:
    """Yields a push with another body, with a value changed, cut off, with other headers."""
    random = Random(_SEED)  # noqa: S311 - no secrets
    for body in _BODIES:
        yield _like(sample, body=body)
    for body in _changed(sample.body, random):
        yield _like(sample, body=body)
    for query in _changed_form(sample.query):
        yield _like(sample, query=query)
    for end in range(0, len(sample.body), max(1, len(sample.body) // 10)):
        yield _like(sample, body=sample.body[:end])
    for _ in range(50):
        yield _like(sample, body=random.randbytes(random.randrange(200)))
    yield _like(sample, query=f"token={quote_plus(secret)}&token=x&%&=&\xff".encode("latin-1"))
    yield _like(sample, headers=[(name, b"\xff" * 70_000) for name, _ in sample.headers])
    yield _like(sample, token="\ud800 \x00")  # noqa: S106 - no credential


def answers(received_at: datetime) -> Iterator[Response]:
    """Yields answers that say nothing that can be relied on."""
    texts = (*_VALUES, "", "OK", "<html>502</html>", '{"error":', '{"a":1}', '[{"status":0}]')
    for status in (200, 400, 500):
        for text in texts:
            body = text.encode("utf-8", "surrogatepass")
            yield Response(status=status, body=body, received_at=received_at)


def _like(push: Push, **changed: Any) -> Push:
    fields = {name: getattr(push, name) for name in ("method", "token", "query", "headers", "body")}
    return Push(**{**fields, "received_at": push.received_at, **changed})


def _changed(body: bytes, random: Random) -> Iterator[bytes]:
    """Yields a body with one of its values replaced, each in its turn."""
    try:
        tree = json.loads(body)
    except ValueError:
        yield from _changed_form(body)
        return
    for path in list(_paths(tree)):
        for value in random.sample(_VALUES, 8):
            yield _marked(tree, path).replace('"\\u0001"', value).encode()


def _paths(tree: Any) -> Iterator[tuple[str | int, ...]]:
    """Yields the place of each value in decoded JSON."""
    inner = (
        enumerate(tree)
        if isinstance(tree, list)
        else tree.items()
        if isinstance(tree, dict)
        else ()
    )
    for step, value in inner:
        yield (step,)
        yield from ((step, *rest) for rest in _paths(value))


def _marked(tree: Any, path: tuple[str | int, ...]) -> str:
    """Returns JSON with a mark in the place of one value."""
    whole = json.loads(json.dumps(tree))
    place = whole
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = "\x01"
    return json.dumps(whole)


def _changed_form(form: bytes) -> Iterator[bytes]:
    pairs = form.decode("latin-1").split("&") if form else []
    for number, pair in enumerate(pairs):
        name = pair.partition("=")[0]
        for text in _TEXTS:
            others = [*pairs[:number], f"{name}={text}", *pairs[number + 1 :]]
            yield "&".join(others).encode("latin-1")
        yield "&".join([*pairs, f"{name}=x"]).encode("latin-1")
