"""Plays the examples of a description: they are its tests, what `simulate` sends, what it shows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from receiver.config.convert import Secret
from receiver.errors import Fault, Malformed, PushError
from receiver.events import TYPE_NAMES
from receiver.providers.contract import Parsed, Push
from receiver.providers.described import paths, samples
from receiver.providers.described.grammar import Example

if TYPE_CHECKING:
    from receiver.providers.described.provider import Described

_CREDENTIAL = "user:secret"


def play(described: type[Described]) -> list[Fault]:
    """Returns what is wrong with the examples, or with the description that they are of."""
    faults: list[Fault] = []
    seen: dict[str, bool] = {}
    names: set[str] = set()
    for kind in described.kinds.all:
        seen |= {named.key: False for named in kind.read}
    for number, example in enumerate(described.description.example):
        key = f"example[{number}]"
        if example.name in names:
            faults.append(Fault(f"{key}.name", f"{example.name} is the name of another example"))
            continue
        names.add(example.name)
        faults += (Fault(f"{key}{below}", said) for below, said in _played(described, example))
        if not faults:
            seen |= _paths_in(described, example.name)
    if faults:
        return faults
    return [_unseen(described, key) for key, found in seen.items() if not found]


def _played(described: type[Described], example: Example) -> Iterator[tuple[str, str]]:
    """Yields what is wrong with an example, by the key below it."""
    if example.request.method not in described.methods:
        yield ".request.method", f"expected one of methods, got {example.request.method}"
        return
    settings = described.settings(provider=described.name, tokens=[Secret(_CREDENTIAL)])
    provider = described(settings)
    sample = described.sample(example.name, _CREDENTIAL, {})
    push = samples.push_of(sample, samples.ARRIVAL)
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
    if len(wanted) != len(parsed):
        yield ".events", f"expected {len(wanted)}, the push tells {len(parsed)}"
        return
    for number, (event, each) in enumerate(zip(wanted, parsed, strict=True)):
        below = ".event" if one else f".events[{number}]"
        if isinstance(each, Malformed):
            yield below, f"it is malformed: {each}"
            continue
        told = told_by(each)
        for name, value in event.items():
            if name not in told:
                yield f"{below}.{name}", f"unknown; an event has {', '.join(told)}"
            elif (expected := _plain(name, value)) != told[name]:
                yield f"{below}.{name}", f"expected {expected!r}, the push tells {told[name]!r}"


def told_by(parsed: Parsed) -> dict[str, Any]:
    """Returns the fields of an event as examples write them."""
    data: dict[str, Any] = msgspec.to_builtins(parsed.data)
    return {"type": TYPE_NAMES[parsed.type], "time": parsed.time.isoformat(), **data}


def _plain(name: str, value: Any) -> Any:
    if name == "type":
        return TYPE_NAMES.get(value, value)
    if name == "time":
        moment = value if isinstance(value, datetime) else _moment(value)
        return moment.astimezone(UTC).isoformat() if moment else value
    return value


def _moment(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        return None


def _answered(
    provider: Described, push: Push, parsed: Parsed, example: Example
) -> Iterator[tuple[str, str]]:
    reply = example.reply or ""
    if reply and not provider.takes_reply(parsed):
        yield ".reply", "the answer to this push carries none (answer.reply)"
    body = provider.acknowledge(push, parsed, reply).body
    if example.answer is not None and body.decode() != example.answer:
        yield ".answer", f"expected {example.answer!r}, the description gives {body.decode()!r}"
    if reply and provider.reply_in(body) != reply:
        yield ".reply", "it is not found again in the answer"


def _paths_in(described: type[Described], name: str) -> dict[str, bool]:
    """Returns the keys of the paths that an example has values for."""
    push = samples.pushed(described, name)
    return {
        named.key: True
        for kind, item, _ in samples.items(described, push)
        for named in kind.read
        if paths.present(named.get(push.payload.root if named.above else item, push))
    }


def _unseen(described: type[Described], key: str) -> Fault:
    text = next(n.text for kind in described.kinds.all for n in kind.read if n.key == key)
    return Fault(key, f"no example has {text}: expected a path to a value of one of them")
