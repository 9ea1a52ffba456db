"""Forged credentials over real sockets: 401, nothing stored, a capped quarantine, no secret shown.

The forgeries are those of tests/providers/test_forgery.py, which asks the providers alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from receiver.errors import PushError
from receiver.providers import Push
from tests import stored
from tests.harness import Reply, Running, Wire, serve, settings
from tests.providers.test_forgery import DIGEST, FORGERIES, RIGHT, TOKENS, WAYS, Forge, Way

#: As in receiver.intake: strangers' requests kept at once.
BURST = 50
#: What cannot arrive as it was made: a NUL in a header, 65,000 characters in a URL or a header.
UNSENT = {400, 413, 414, 431}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with the sources that the forgeries are made for; strangers leave little in it."""
    sources: dict[str, Any] = {
        name: {**source, "tokens": list(TOKENS)} for name, source in settings()["sources"].items()
    }
    # The pushes are of a fixed day.
    digest = {"username": "user", "password": RIGHT, "max_age": 1e10}
    sources["digest"] = {"provider": "tilil", "digest": digest}
    raw = {**settings(store={"quarantine_rows": 20}), "sources": sources}
    with serve(tmp_path_factory.mktemp("forged"), raw) as running:
        yield running
        assert "exception" not in running.log
        assert RIGHT not in running.log


def source_of(way: Way) -> str:
    """The source that a way of authenticating is for."""
    return "digest" if way.provider is DIGEST else way.provider.name


def bytes_of(source: str, push: Push) -> bytes:
    """A push as the bytes of a request."""
    path = f"/hooks/{source}"
    if push.token is not None:
        path += "/" + quote(push.token, safe="", errors="surrogatepass")
    lines = [f"{push.method} {path}".encode() + (b"?" + push.query if push.query else b"")]
    lines[0] += b" HTTP/1.1"
    lines += [b"Host: x", b"Content-Length: %d" % len(push.body)]
    lines += [b"%s: %s" % header for header in push.headers]
    return b"\r\n".join([*lines, b"", b""]) + push.body


def ask(service: Running, way: Way, push: Push) -> Reply:
    """The answer to a push."""
    with Wire(service.port) as wire:
        wire.send(bytes_of(source_of(way), push))
        return wire.answer()


def events(service: Running) -> int:
    """How many are stored."""
    return len(stored.keys(service.store))


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_forged_credentials_are_refused(
    service: Running, way: Way, forgery: tuple[Forge, type[PushError]]
) -> None:
    """401, or 4xx for what is no request; nothing becomes an event, no answer shows a secret."""
    forge, _ = forgery
    before = events(service)
    answer = ask(service, way, way.present(forge(way)))
    sendable = forge not in (FORGERIES["oversized"][0], FORGERIES["followed by NUL"][0])
    assert answer.status in ({401} if sendable else {401, *UNSENT})
    assert RIGHT.encode() not in answer.body
    assert events(service) == before


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_right_credentials_are_taken(service: Running, way: Way) -> None:
    """What is refused above is refused for its credential alone."""
    assert ask(service, way, way.present([way.credential(RIGHT)])).status == 200


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_every_place_must_be_right(service: Running, way: Way) -> None:
    """A right credential does not make up for a wrong token in the URL, nor the other way."""
    push = way.present([way.credential(RIGHT)])
    push.query += b"&token=guess"
    assert ask(service, way, push).status == 401
    push = way.present(["guess"])
    push.query += b"&token=" + RIGHT.encode()
    assert ask(service, way, push).status == 401


def test_another_sources_token_is_wrong(tmp_path: Any) -> None:
    """Two accounts at one provider do not open each other's URL."""
    sources = {
        name: {"provider": "tsconect", "tokens": [f"{name}-token-0123456789abcdef"]}
        for name in ("one", "two")
    }
    with serve(tmp_path, {**settings(), "sources": sources}) as service:
        body = b'{"message_id": "1", "status": "delivered"}'
        statuses = {
            (source, token): service.post(body, f"/hooks/{source}/{token}-token-0123456789abcdef")
            for source in sources
            for token in sources
        }
        assert {pair for pair, answer in statuses.items() if answer.status == 200} == {
            ("one", "one"),
            ("two", "two"),
        }
        assert {answer.status for answer in statuses.values()} == {200, 401}


def test_strangers_leave_a_capped_quarantine(service: Running) -> None:
    """However many forgeries came, no more of them are kept than the cap, none as authentic."""
    for _ in range(2 * BURST):
        assert service.post(b'{"api_token": "guess"}').status == 401
    kept = stored.quarantined(service.store)
    assert 0 < len(kept) <= 20
    assert not any(entry.authenticated for entry in kept)
    outcomes = {entry.outcome for entry in kept}
    wrong = {"credential_wrong", "credential_missing"}
    assert outcomes <= {*wrong, "bad_request", "url_too_long", "head_too_large"}
