"""The descriptions that come with the program: complete, documented, and of their gateways."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.providers import described, known
from receiver.providers.described import Described
from receiver.providers.described.grammar import Example
from receiver.providers.places import Kind
from receiver.testing.providers import check

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "gateways.md").read_text("utf-8")
FILES = sorted((ROOT / "receiver" / "providers" / "catalogue").glob("*.toml"))
each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def loaded(file: Path) -> type[Described]:
    """The provider, loaded once for all tests of it."""
    provider = known()[file.stem]
    assert issubclass(provider, Described)
    return provider


@each_file
def test_a_description_is_read_and_its_examples_pass(file: Path) -> None:
    """Reading it plays them; it is found by the name of its file."""
    assert described.load(file).sample_kinds
    assert known().origins[file.stem].kind is Kind.CATALOGUE


@each_file
def test_a_described_gateway_keeps_the_promises_of_every_provider(file: Path) -> None:
    """Those that authors run, for any bytes too."""
    assert check(loaded(file)) == []


@each_file
def test_a_description_says_where_its_facts_are_from(file: Path) -> None:
    """Links to the gateway's own public documentation."""
    if file.stem == "generic":
        return
    description = loaded(file).description
    assert all(link.startswith("https://") for link in description.documentation)
    vendor = file.stem.replace("-", "")[:7]
    assert all(vendor in link for link in description.documentation)


@each_file
def test_a_gateway_is_described_whole(file: Path) -> None:
    """It receives, reports and sends, with refusals among the examples."""
    provider = loaded(file)
    description = provider.description
    assert description.message
    assert description.report
    assert description.send is not None
    refused = [example for example in description.send.example if example.refused is not None]
    assert len(refused) >= 2
    kinds = {event["type"] for example in description.example for event in events(example)}
    assert {"message", "delivery"} <= kinds


def events(example: Example) -> list[dict[str, object]]:
    """The events of an example."""
    return [example.event] if example.event is not None else example.events


#: What each refusal among the examples means for the message and the person.
MEANINGS = {
    "no-credit": {"retryable": True},
    "throttled": {"retryable": True},
    "wrong-key": {"retryable": True},
    "opted-out": {"opted_out": True},
    "barred": {"opted_out": True},
    "wrong-number": {},
    "wrong-sender": {},
    "wrong-request": {},
}


@each_file
def test_refusals_mean_the_same_at_every_gateway(file: Path) -> None:
    """Without credit it goes out later; to a wrong number and to who opted out never."""
    send = loaded(file).description.send
    assert send is not None
    for example in send.example:
        if example.name in MEANINGS and example.refused is not None:
            meaning = {k: v for k, v in example.refused.items() if k not in ("code", "words")}
            assert meaning == MEANINGS[example.name], example.name


@each_file
def test_a_gateway_is_on_the_page(file: Path) -> None:
    """With what to enter in its portal."""
    title = loaded(file).title.partition(" (")[0]
    assert f"| [{title}](../receiver/providers/catalogue/{file.name})" in PAGE, title
    assert f"\n### {title}\n" in PAGE
