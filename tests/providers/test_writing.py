"""Africa's Talking stands in docs/writing-a-provider.md twice, and does the same both times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from receiver import config
from receiver.errors import ProviderError
from receiver.outgoing import OutgoingMessage, Sent
from receiver.providers import Parsed, Provider, Push, create, known
from receiver.providers.contract import Api
from receiver.testing.providers import PROMISES, keeps
from tests.providers import pushes
from tests.providers.answers import answer
from tests.test_docs import DOCS, fences

PAGE = (DOCS / "writing-a-provider.md").read_text("utf-8")
[DESCRIPTION] = fences(PAGE, "toml")
FILE, TEST = fences(PAGE, "python")


@pytest.fixture
def both(tmp_path: Path) -> list[Provider[Any]]:
    """The provider of a source that sends, described and as a file, found in a folder each."""
    made = []
    for name, text in (("africas-talking.toml", DESCRIPTION), ("africas_talking.py", FILE)):
        folder = tmp_path / name.partition(".")[0]
        folder.mkdir()
        (folder / name).write_text(text, "utf-8")
        send = {"api_key": "key", "sender": "22384", "username": "acme"}
        source = {"provider": "africas-talking", "tokens": [pushes.SECRET], "send": send}
        raw = {"sources": {"a": source}, "providers": {"path": [str(folder)]}}
        settings = config.parse(raw, Path("/receiver.toml"))
        assert known(settings).origins["africas-talking"].place == str(folder / name)
        made.append(create(settings)["a"])
    return made


def told(provider: Provider[Any], push: Push) -> list[tuple[Any, ...]]:
    """What the events of a push say, without their keys."""
    provider.authenticate(push)
    found = provider.parse(push)
    return [(one.type, one.data, one.time) for one in found if isinstance(one, Parsed)]


def test_pushes_mean_the_same(both: list[Provider[Any]]) -> None:
    """All kinds, each by the samples of both."""
    described, written = both
    assert described.sample_kinds == written.sample_kinds
    for kind in described.sample_kinds:
        for maker in both:
            push = pushes.of_sample(maker.sample(kind, pushes.SECRET, {}))
            assert told(described, push) == told(
                written, pushes.of_sample(maker.sample(kind, pushes.SECRET, {}))
            )


def test_messages_leave_as_the_same_request(both: list[Provider[Any]]) -> None:
    """And the answers to it are read alike."""
    described, written = (api_of(provider) for provider in both)
    message = OutgoingMessage(to="+254711000111", text="Karibu", link_id="Sample123")
    one, two = described.send(message), written.send(message)
    for part in ("method", "url", "body"):
        assert getattr(one, part) == getattr(two, part)
    assert one.headers == two.headers
    recipient = {"statusCode": 101, "status": "Success", "cost": "KES 0.8", "messageId": "ATPid_1"}
    taken = answer(201, {"SMSMessageData": {"Recipients": [recipient]}})
    assert one.read(taken) == two.read(taken) == Sent(message_id="ATPid_1", cost="KES 0.8")
    refused = answer(201, {"SMSMessageData": {"Recipients": [{**recipient, "statusCode": 406}]}})
    for request in (one, two):
        with pytest.raises(ProviderError) as caught:
            request.read(refused)
        assert (caught.value.code, caught.value.opted_out) == ("406", True)


def api_of(provider: Provider[Any]) -> Api:
    """The API of its source."""
    assert provider.api is not None
    assert provider.source.send is not None
    return provider.api(provider, provider.source.send)


@pytest.mark.parametrize("promise", PROMISES)
def test_promises_are_kept(both: list[Provider[Any]], promise: str) -> None:
    """By both, as the page's own test says."""
    assert "keeps(AfricasTalking, promise)" in TEST
    compile(TEST, "writing-a-provider.md", "exec")
    for provider in both:
        keeps(type(provider), promise)
