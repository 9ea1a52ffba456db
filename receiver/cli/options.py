"""Options that commands share, those of every list above all, and how their values are read."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from receiver import config as configuration
from receiver.cli.exit_status import print_errors
from receiver.config import Config
from receiver.config.lenient import load_for_reading
from receiver.errors import ConfigError, InvalidInput
from receiver.events import TYPE_NAMES, EventType
from receiver.service.numbers import parse_number, parse_person

if TYPE_CHECKING:
    from receiver.providers import Registry
    from receiver.store import Reader

_FILES = ", ".join(map(str, configuration.DEFAULT_FILES))

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help=f"Configuration file. Default: the first of {_FILES}.",
    ),
]
UnusedConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help="Accepted, but this command does not read it."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON Lines instead of a table.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV that is safe for spreadsheets.")]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit",
        "-n",
        min=1,
        metavar="N",
        help="At most this many. JSON and CSV have no other limit.",
        show_default=False,
    ),
]
Msisdn = Annotated[
    str | None,
    typer.Option(
        "--msisdn",
        metavar="NUMBER",
        help="Only this person: +254…, 254… or 07….",
        show_default=False,
    ),
]
#: The number of a person, as an argument.
MsisdnArgument = Annotated[
    str,
    typer.Argument(metavar="MSISDN", help="The number: +254712345678, 254712345678 or 0712345678."),
]
Source = Annotated[str | None, typer.Option("--source", metavar="NAME", help="Only this source.")]
Service = Annotated[str | None, typer.Option("--service", metavar="ID", help="Only this service.")]
ShortCode = Annotated[
    str | None,
    typer.Option("--short-code", metavar="ADDRESS", help="Only this short code or number of ours."),
]


def _event_type(text: str) -> EventType:
    """Returns the type of events that is meant by its short name or its whole one."""
    by_name: dict[str, EventType] = {name: type_ for type_, name in TYPE_NAMES.items()}
    wanted = text.strip().lower()
    if wanted in by_name:
        return by_name[wanted]
    try:
        return EventType(wanted)
    except ValueError:
        raise typer.BadParameter(f"expected {', '.join(by_name)}; got {text!r}") from None


Type = Annotated[
    EventType | None,
    typer.Option(
        "--type",
        metavar="|".join(TYPE_NAMES.values()),
        parser=_event_type,
        autocompletion=lambda: [*TYPE_NAMES.values(), *TYPE_NAMES],
        help="Only events of this type, by its short name or its whole one.",
    ),
]


def load(file: Path | None) -> Config:
    """Returns the configuration of a command. Raises `ConfigError`."""
    return configuration.load(configuration.find(file))


def load_leniently(file: Path | None) -> Config:
    """Returns the configuration of a command that only reads the store.

    Its faults are a warning then, as long as it says where the store is. Raises `ConfigError`.
    """
    settings, faults = load_for_reading(configuration.find(file))
    if faults:
        hint = "the store is read all the same; `receiver check` shows the faults"
        print_errors([*faults, f"warning: {hint}"])
    return settings


def load_if_there(file: Path | None) -> Config | None:
    """Returns the configuration of a command that needs none; None: there is none.

    Raises `ConfigError` for one that is named and is not there.
    """
    try:
        configuration.find(file)
    except ConfigError:
        if file is not None:
            raise
        return None
    return load_leniently(file)


def known_providers(file: Path | None) -> Registry:
    """Returns the providers of a configuration; without one, those that are installed."""
    from receiver.providers import known

    return known(load_if_there(file))


def confirm(question: str, why: str) -> None:
    """Asks before something is done. Raises `BadParameter` where nobody can answer."""
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"expected --yes: {why}")
    typer.confirm(question, abort=True, err=True)


async def check_source(reader: Reader, settings: Config, source: str | None) -> None:
    """Raises `InvalidInput` for a source that neither the configuration nor the store has."""
    if source is None or source in settings.sources:
        return
    known = dict.fromkeys([*settings.sources, *await reader.sources()])
    if source not in known:
        expected = ", ".join(known) or "none, since no source is configured"
        raise InvalidInput(f"there is no source {source!r}; expected one of: {expected}", "source")


def optional_number(text: str | None, config: Config, source: str | None = None) -> str | None:
    """Returns a number or short code as the store has it, or None without a text."""
    return None if text is None else parse_number(text, config, source)


def optional_person(text: str | None, config: Config) -> str | None:
    """Returns the number of a person to search for, or None without a text."""
    return None if text is None else parse_person(text, config)


def named_values(
    given: Iterable[str] | None, expected: str, *, may_be_empty: bool = False
) -> dict[str, str]:
    """Returns what was given as NAME=VALUE, by name; `expected` is for the error."""
    found = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not (name and equals and (value or may_be_empty)):
            raise typer.BadParameter(f"expected {expected}, got {text!r}")
        found[name] = value
    return found
