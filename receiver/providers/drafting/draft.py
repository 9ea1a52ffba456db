"""Makes a description to begin with: of captured pushes what is guessed, or else a skeleton.

What is written is to be looked over by a person.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from importlib import resources
from typing import Any

from receiver.errors import ConfigError, Malformed, PushError
from receiver.events import TYPE_NAMES, Status
from receiver.providers.contract import Parsed
from receiver.providers.described import compile_unplayed
from receiver.providers.described.examples import told_by
from receiver.providers.drafting import guesses
from receiver.providers.drafting.captures import Capture
from receiver.providers.drafting.conditions import conditions
from receiver.providers.drafting.credentials import Credentials, found_in
from receiver.providers.drafting.toml import inline, key
from receiver.providers.statuses import status_of
from receiver.text.escape import escape
from receiver.text.msisdn import region_of

#: The fields of an event that an example names, if it has them.
_SHOWN = ("external_id", "message_id", "msisdn", "from", "to", "text", "status", "link_id")
_PEOPLE = {"message": "from", "report": "to", "subscription": "msisdn"}

Table = dict[str, Any]


def draft(name: str, captures: list[Capture]) -> str:
    """Returns the text of a description that reads these pushes."""
    credentials = found_in(captures)
    pushes = [credentials.without(each) for each in captures]
    by_kind: dict[str, list[Capture]] = {}
    for each in pushes:
        by_kind.setdefault(guesses.kind_of(each.payload), []).append(each)
    when = conditions({kind: [each.payload for each in all_] for kind, all_ in by_kind.items()})
    top: Table = {
        "title": _title(name),
        "documentation": ["https://"],
        "timezone": "UTC",
        "region": _region(by_kind),
        "methods": sorted({each.method for each in pushes}),
    }
    tables = {kind: _table(kind, when[kind], all_) for kind, all_ in by_kind.items()}
    examples = list(_examples(by_kind))
    _add_events(examples, {**top, **tables})
    return "\n".join(_written(top, credentials, tables, examples, by_kind)) + "\n"


def skeleton(name: str) -> str:
    """Returns a commented description that works, of a gateway that nobody has."""
    text = resources.files(__package__).joinpath("skeleton.toml").read_text("utf-8")
    return text.replace("@title@", _title(name))


def _title(name: str) -> str:
    """Returns the name of a provider as people may write it."""
    return " ".join(word.capitalize() for word in name.replace("_", "-").split("-"))


def _region(by_kind: dict[str, list[Capture]]) -> str:
    """Returns the region of the people in the captures."""
    for kind, captures in by_kind.items():
        for each in captures:
            item = guesses.first_item(each.payload)
            number = guesses.word_at(item, guesses.fields(kind, item).get(_PEOPLE[kind]))
            if number is not None and (region := region_of(number)) is not None:
                return region
    return "KE"


def _table(kind: str, when: Table, captures: list[Capture]) -> Table:
    """Returns `[message]`, `[report]` or `[subscription]`."""
    table: Table = {"when": when} if when else {}
    if (each := guesses.list_of_events(captures[0].payload)) is not None:
        table["each"] = each
    for capture in captures:
        item = guesses.first_item(capture.payload)
        for name, path in guesses.fields(kind, item).items():
            if name not in table:
                table[name] = _time(path, item) if name == "time" else path
    if kind == "subscription":
        table |= _changes(captures)
    return {name: value for name, value in table.items() if value is not None}


def _time(path: str, item: Any) -> Any:
    """Returns the path of a time with its format; None for one that nobody can read."""
    format_ = guesses.time_format(str(guesses.value_at(item, path)))
    return path if format_ == "iso" else {"path": path, "format": format_} if format_ else None


def _changes(captures: list[Capture]) -> Table:
    """Returns the conditions for who joined and left."""
    found: dict[str, Table] = {"activated": {}, "deactivated": {}}
    for each in captures:
        for path, value in guesses.leaves(guesses.first_item(each.payload)):
            if (joined := guesses.change(value)) is not None:
                found["activated" if joined else "deactivated"][path] = value
    for one, other in (("activated", "deactivated"), ("deactivated", "activated")):
        if not found[one]:
            found[one] = dict.fromkeys(found[other], "?")
    return found


def _examples(by_kind: dict[str, list[Capture]]) -> Iterator[Table]:
    for kind, captures in by_kind.items():
        for number, each in enumerate(captures, 1):
            request: Table = {} if each.method == "POST" else {"method": each.method}
            parts = (("query", each.query), ("form", each.form), ("json", each.json))
            request |= {name: deepcopy(part) for name, part in parts if part}
            yield {"name": kind if number == 1 else f"{kind}-{number}", "request": request}


def _add_events(examples: list[Table], description: Table) -> None:
    """Adds to each example the events that the description reads in it."""
    try:
        read = _reader({**description, "example": examples})
    except ConfigError:  # a person has to mend it first; `receiver providers test` says what
        for each in examples:
            each["event"] = {}
        return
    for each in examples:
        try:
            told = [_event(parsed) for parsed in read(each["name"]) if isinstance(parsed, Parsed)]
        except PushError:
            told = [{}]
        each.update({"event": told[0]} if len(told) == 1 else {"events": told})


def _reader(description: dict[str, Any]) -> Callable[[str], Iterable[Parsed | Malformed]]:
    """Returns what reads the examples of a description. Raises `ConfigError`."""
    provider = compile_unplayed("draft", description)
    made = provider(provider.settings(provider="draft", authentication="none"))
    return lambda name: made.parse(provider.sample(name, "", {}).push())


def _event(parsed: Parsed) -> Table:
    data = told_by(parsed)
    shown = {name: data[name] for name in _SHOWN if data.get(name) is not None}
    return {"type": TYPE_NAMES[parsed.type], **shown}


def _written(
    top: Table,
    credentials: Credentials,
    tables: dict[str, Table],
    examples: list[Table],
    by_kind: dict[str, list[Capture]],
) -> Iterator[str]:
    yield "# Made of captured pushes by `receiver providers new`: look every line over."
    yield "# docs/descriptions.md has every key. The examples are your captures: put made-up"
    yield "# numbers and texts in their place before you show the file to others."
    yield ""
    yield from (f"{name} = {inline(value)}" for name, value in top.items())
    yield ""
    yield from credentials.lines()
    for kind, table in tables.items():
        yield f"[{kind}]"
        yield from (f"{key(name)} = {inline(value)}" for name, value in table.items())
        yield from _unused(kind, table, by_kind[kind])
        yield ""
        if kind == "report":
            yield from _statuses(table, by_kind[kind])
    for each in examples:
        yield "[[example]]"
        yield from (f"{name} = {inline(value)}" for name, value in each.items())
        yield ""


def _unused(kind: str, table: Table, captures: list[Capture]) -> Iterator[str]:
    """Yields a comment about the fields that were not understood."""
    used = inline(table)
    paths = {
        path: None
        for each in captures
        for path, _ in guesses.leaves(guesses.first_item(each.payload))
        if path not in used
    }
    if paths:
        yield escape(f"# not used: {', '.join(paths)}")


def _statuses(table: Table, captures: list[Capture]) -> Iterator[str]:
    """Yields a comment for the words of a status that are not usual ones."""
    words = dict.fromkeys(
        guesses.word_at(guesses.first_item(each.payload), table["status"])
        for each in captures
        if "status" in table
    )
    strange = [word for word in words if word and status_of(word)[1] is Status.UNKNOWN]
    if strange:
        yield "[report.statuses]  # put each word where it belongs"
        yield f"unknown = {inline(strange)}"
        yield "# delivered = []"
        yield "# failed = []"
        yield ""
