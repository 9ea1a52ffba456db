"""The example of docs/writing-a-provider.md is a provider, and does what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from receiver import config, providers
from receiver.errors import CredentialMissing, CredentialWrong
from receiver.events import DeliveryReport, Message
from receiver.outgoing import OutgoingMessage, Sent
from receiver.providers import Provider
from tests.providers import pushes
from tests.providers.answers import answer
from tests.test_docs import DOCS, fences


@pytest.fixture
def acme(tmp_path: Path) -> Provider[Any]:
    """The example's provider of a source that sends, found in a folder of the configuration."""
    [code] = fences((DOCS / "writing-a-provider.md").read_text("utf-8"), "python")
    (tmp_path / "acme.py").write_text(code, "utf-8")
    send = {"api_key": "key", "sender": "22915", "route": "cheap"}
    source = {"provider": "acme", "tokens": [pushes.SECRET], "send": send}
    raw = {"sources": {"a": source}, "providers": {"path": [str(tmp_path)]}}
    return providers.create(config.parse(raw, Path("/receiver.toml")))["a"]


def test_pushes_of_the_example_are_taken(acme: Provider[Any]) -> None:
    """With the right secret; a message and a report are told apart."""
    taken = []
    for kind in acme.sample_kinds:
        taken.append(pushes.take(acme, pushes.of_sample(acme.sample(kind, pushes.SECRET, {}))))
        with pytest.raises(CredentialWrong):
            acme.authenticate(pushes.of_sample(acme.sample(kind, "guess", {})))
    with pytest.raises(CredentialMissing):
        acme.authenticate(pushes.push(body=b"{}"))
    assert [type(parsed.data) for parsed in taken] == [Message, DeliveryReport]
    assert [parsed.key for parsed in taken] == ["message:1", "delivery:1:delivered"]


def test_the_example_sends_by_its_own_settings(acme: Provider[Any]) -> None:
    """`route` stands in `[sources.NAME.send]` beside what every source has."""
    assert acme.api is not None
    assert acme.source.send is not None
    api = acme.api(acme, acme.source.send)
    request = api.send(OutgoingMessage(to="+254712345678", text="Hi"))
    assert request.url == "https://api.acme.example/v1/messages"
    assert b'"from":"22915","text":"Hi","route":"cheap"' in request.body
    assert request.read(answer(200, {"id": 7})) == Sent(message_id="7")
