"""Whatever programs send: an answer that the OpenAPI document has, and never a defect."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receiver.console.api.app import OPERATIONS
from receiver.console.roles import Role
from tests.console.api.calling import ANN, Caller, calling, fill
from tests.schema import validator

pytestmark = pytest.mark.commit

#: What comes near to right, so that more than the first check is reached.
NEAR = st.sampled_from(
    [
        *(ANN, "0726770792", "22915", "1", "0", "-1", "tilil", "due", "dead", "send", "hello"),
        *("today", "2h", "2026-11-20", "9999-12-31T23:59:59Z", "0001-01-01", "50", "1" * 20, ""),
        *("0197", "sms.message.received", "queued", "MQ==", "WyIiLCIiLCIiLCIiXQ==", "'", "\0"),
    ]
)
TEXT = NEAR | st.text(max_size=20)
VALUES = TEXT | st.none() | st.integers() | st.booleans() | st.lists(st.integers(), max_size=2)
FIELDS = st.sampled_from(["to", "text", "msisdn", "source", "sender", "link_id", "short_code", "x"])
BODIES = st.dictionaries(FIELDS, VALUES, max_size=4) | VALUES


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, dict[str, Any]]:
    """A call of the table with parameters of its own, of others and of nobody; and a body."""
    operation = draw(st.sampled_from(OPERATIONS))
    options: dict[str, Any] = {"params": {}, "headers": {}}
    known = st.sampled_from([each.name for each in operation.query] or ["x"])
    for name in draw(st.lists(known | st.just("x"), max_size=2, unique=True)):
        options["params"][name] = draw(TEXT)
    if operation.method == "POST":
        kind = draw(st.sampled_from(["json", "json", "content"]))
        options[kind] = draw(BODIES if kind == "json" else st.binary(max_size=20))
        if draw(st.booleans()):
            options["headers"]["idempotency-key"] = draw(st.sampled_from(["a", "b", " ", "é"]))
    return operation.method, operation.path, {**options, "place": draw(TEXT)}


async def answered(caller: Caller, document: Any, method: str, path: str, options: Any) -> None:
    """One request, whose answer is one of those in the document."""
    place = options.pop("place").replace("/", "").strip(".") or "0"
    options["headers"] = {n: v.encode() for n, v in options["headers"].items()}
    described = document["paths"][path][method.lower()]["responses"]
    found = await caller.call(method, quoted(path, place), role=Role.ADMIN, **options)
    assert found.status_code < 500, found.text
    content = described[str(found.status_code)]["content"]
    schema = content[found.headers["content-type"]]["schema"]
    validator({**schema, "components": document["components"]}).validate(found.json())


def quoted(path: str, place: str) -> str:
    """The path with something in the place of its id."""
    return path.replace("{id}", quote(place, safe="")).replace("{msisdn}", quote(place, safe=""))


def test_every_answer_is_of_the_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a store with something of every kind, with parameters and bodies near and far."""
    monkeypatch.setattr("receiver.console.api.app._PER_SECOND", 1e9)
    monkeypatch.setattr("receiver.console.api.app._BURST", 1e9)
    with asyncio.Runner() as runner:
        entered = calling(tmp_path)
        caller = runner.run(entered.__aenter__())
        try:
            runner.run(fill(caller.service))
            document = runner.run(caller.call("GET", "/openapi.json", role=None)).json()

            @settings(suppress_health_check=list(HealthCheck), deadline=None)
            @given(requests())
            def play(request: tuple[str, str, dict[str, Any]]) -> None:
                runner.run(answered(caller, document, *request))

            play()
        finally:
            runner.run(entered.__aexit__(None, None, None))
