"""Plays the examples of a description: they are its tests, what `simulate` sends, what it shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from receiver.config.convert import Secret
from receiver.errors import Fault, Malformed, PushError
from receiver.events import TYPE_NAMES
from receiver.providers.contract import Parsed, Push
from receiver.providers.described import paths, samples
from receiver.providers.described.grammar import Example
from receiver.providers.described.kinds import Kind

if TYPE_CHECKING:
    from receiver.providers.described.provider import Described

_CREDENTIAL = "user:secret"


def play(described: type[Described]) -> Iterator[Fault]:
    """Yields what is wrong with the examples, or with the description that they are of."""
    found: dict[str, set[str]] = {kind.key: set() for kind in described.kinds.all}
    names: set[str] = set()
    for number, example in enumerate(described.description.example):
        key = f"example[{number}]"
        if example.name in names:
            yield Fault(f"{key}.name", f"{example.name} is the name of another example")
            continue
        names.add(example.name)
        yield from (Fault(f"{key}{below}", said) for below, said in _played(described, example))
        _note_paths(described, example, found)
    for kind in described.kinds.all:
        yield from _unseen(kind, found[kind.key])


def compared(
    below: str, wanted: Mapping[str, Any], made: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yields the fields that are not as wanted, by their keys. Others are not looked at."""
    for name, value in wanted.items():
        if name not in made:
            yield f"{below}.{name}", f"unknown field; expected one of {', '.join(made)}"
        elif (expected := _plain(name, value)) != made[name]:
            yield f"{below}.{name}", f"expected {_shown(expected)}, got {_shown(made[name])}"


def told_by(parsed: Parsed) -> dict[str, Any]:
    """Returns the fields of an event as examples write them."""
    data: dict[str, Any] = msgspec.to_builtins(parsed.data)
    return {"type": TYPE_NAMES[parsed.type], "time": parsed.time, **data}


def _played(described: type[Described], example: Example) -> Iterator[tuple[str, str]]:
    """Yields what is wrong with an example, by the key below it."""
    if example.request.method not in described.methods:
        yield ".request.method", f"expected one of methods, got {example.request.method}"
        return
    settings = described.settings(provider=described.name, tokens=[Secret(_CREDENTIAL)])
    provider = described(settings)
    sample = described.sample(example.name, _CREDENTIAL, {})
    push = sample.push()
    try:
        provider.authenticate(push)
        parsed = provider.parse(push)
    except PushError as error:
        yield ".request", f"it is refused: {error}"
        return
    yield from _compared(example, parsed)
    if isinstance(parsed[0], Parsed):
        yield from _answered(provider, push, parsed[0], example)


def _compared(example: Example, parsed: list[Parsed | Malformed]) -> Iterator[tuple[str, str]]:
    """Yields the events that are not as the example says."""
    one = example.event is not None
    wanted = [example.event] if example.event is not None else example.events
    if one == bool(example.events):
        yield ".events", f"expected an event or events, got {'both' if one else 'neither'}"
        return
    if len(wanted) != len(parsed):
        yield ".events", f"expected {len(wanted)}, the push tells {len(parsed)}"
        return
    for number, (event, each) in enumerate(zip(wanted, parsed, strict=True)):
        below = ".event" if one else f".events[{number}]"
        if isinstance(each, Malformed):
            yield below, f"it is malformed: {each}"
            continue
        yield from compared(below, event, told_by(each))


def _answered(
    provider: Described, push: Push, parsed: Parsed, example: Example
) -> Iterator[tuple[str, str]]:
    reply = example.reply or ""
    if reply and not provider.takes_reply(parsed):
        yield ".reply", "the answer to this push carries none (answer.reply)"
        return
    body = provider.acknowledge(push, parsed, reply).body
    if example.answer is not None and body.decode() != example.answer:
        yield ".answer", f"expected {example.answer!r}, the description gives {body.decode()!r}"
    if reply and provider.reply_in(body) != reply:
        yield ".reply", "it is not found again in the answer"


def _note_paths(described: type[Described], example: Example, found: dict[str, set[str]]) -> None:
    """Adds to each kind the keys of the paths that an example has values for."""
    try:
        push = samples.pushed(described, example.name)
    except PushError:
        return
    for kind, item, _ in samples.items(described, push):
        root = push.payload.root
        found[kind.key] |= {
            named.key
            for named in kind.read
            if paths.present(named.get(root if named.above else item, push))
        } | {kind.key}


def _unseen(kind: Kind, found: set[str]) -> Iterator[Fault]:
    """Yields the paths of a kind that no example has a value for."""
    if not found:
        yield Fault(kind.key, f"no example is {kind.said}: expected an [[example]] of each kind")
        return
    for named in kind.read:
        if named.key not in found:
            expected = "expected a path that one of them has a value for"
            yield Fault(named.key, f"no example of this kind has {named.text}; {expected}")


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, str) and name == "type":
        return TYPE_NAMES.get(value, value)  # type: ignore[call-overload] # a text may be none
    if isinstance(value, str) and name == "time":
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            return value
    return value


def _shown(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else repr(value)
