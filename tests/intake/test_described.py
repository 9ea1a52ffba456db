"""Pushes of described gateways on their whole way: stored, answered, replied to, quarantined."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from receiver.errors import CredentialWrong, Malformed
from receiver.logs.requests import unlogged_entry
from receiver.providers import Answer
from receiver.service.parts import Service
from tests.harness import TOKEN, opened, push_of, settings, take
from tests.providers.described.gateways import FOLDER
from tests.stored import keys, quarantined

pytestmark = pytest.mark.anyio

RAW = settings(
    sources={
        "b": {"provider": "batches", "tokens": [TOKEN]},
        "q": {"provider": "queries", "tokens": [TOKEN]},
    },
    providers={"path": [str(FOLDER)]},
)


async def pushed(service: Service, body: object, **fields: Any) -> Answer:
    """The answer to a push of the source, with its token in the URL."""
    fields = {"token": TOKEN, **fields}
    return await take(service, json.dumps(body).encode(), source="b", **fields)


def message(id_: int, text: str) -> dict[str, Any]:
    """An item of a push with messages."""
    return {"sms": {"id": id_, "from": "07777777777", "x.to": 60777, "text": text}}


async def test_each_report_of_a_push_is_an_event(tmp_path: Path) -> None:
    """One that is malformed goes to the quarantine, and the push is answered as it wants."""
    body = {"results": [{"id": "a", "state": 0}, {"state": 0}, {"id": "b", "state": 1}]}
    async with opened(tmp_path, RAW) as service:
        for _ in range(2):
            answer = await pushed(service, body, token=f"{TOKEN}/dlr")
            assert (answer.body, answer.content_type) == (b"<Response/>", b"text/xml")
        with pytest.raises(CredentialWrong):
            await pushed(service, body, token="other/dlr")
        with pytest.raises(Malformed):
            await pushed(service, {"results": []}, token=f"{TOKEN}/dlr")
    store = tmp_path / "receiver.db"
    assert keys(store) == ["delivery:a::0", "delivery:b::1"]
    authenticated = [each for each in quarantined(store) if each.authenticated]
    assert authenticated[0].reason.endswith(
        "expected id, the id that sending returned; it is absent"
    )


async def test_a_reply_stands_in_the_answer(tmp_path: Path) -> None:
    """In the form that the gateway takes; a repeat gets the very same."""
    kind = [(b"x-kind", b"in")]
    async with opened(tmp_path, RAW) as service:
        for _ in range(2):
            answer = await pushed(service, [message(1, "game")], headers=kind)
            assert answer.body == b"<Response><Message>Welcome</Message></Response>"
        answer = await pushed(service, [message(2, "other")], headers=kind)
        assert answer.body == b"<Response/>"


async def test_a_gateway_that_tries_the_url_gets_its_text_back(tmp_path: Path) -> None:
    """With a right credential; nothing is stored, and another request is none of these."""

    def asked(service: Service, query: str) -> bytes | None:
        push = push_of(b"", method="GET", query=query.encode())
        answer = service.intake.try_out(service.intake.endpoints["q"], push, unlogged_entry())
        return answer.body if answer is not None else None

    async with opened(tmp_path, RAW) as service:
        assert asked(service, f"hub.challenge=a%26b&key={TOKEN}&hub.mode=subscribe") == b"a&b"
        assert asked(service, "hub.challenge=1&key=other") is None
        assert asked(service, f"token={TOKEN}") == b"OK"
        assert asked(service, f"key={TOKEN}&from=1&content=x") is None
    assert keys(tmp_path / "receiver.db") == []
