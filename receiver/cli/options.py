"""Options that commands share, and how their values are read."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from receiver import config as configuration
from receiver.config import Config
from receiver.errors import InvalidInput
from receiver.events import EventType, utc_now
from receiver.service.numbers import parse_number
from receiver.text.msisdn import is_e164
from receiver.text.times import parse_moment

_FILES = ", ".join(map(str, configuration.DEFAULT_FILES))

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help=f"Configuration file. Default: the first of {_FILES}."
    ),
]
UnusedConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Accepted, but this command does not read it."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON Lines instead of a table.")]
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
Type = Annotated[EventType | None, typer.Option("--type", help="Only events of this type.")]
Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        help="Only from this time on: 2026-11-20, 2026-11-20T09:00Z, or an age: 30m, 2h, 7d.",
    ),
]
Until = Annotated[
    str | None,
    typer.Option("--until", metavar="TIME", help="Only before this time; written like --since."),
]


def load(file: Path | None) -> Config:
    """Returns the configuration of a command. Raises `ConfigError`."""
    return configuration.load(configuration.find(file))


def parse_time(text: str) -> datetime:
    """Returns the moment that `text` means: a date, a time (UTC without a zone) or an age."""
    moment = parse_moment(text, utc_now())
    if moment is None:
        expected = "a time such as 2026-11-20T09:00:00Z, or an age such as 30m, 2h, 7d"
        raise typer.BadParameter(f"expected {expected}, got {text!r}")
    return moment


def optional_time(text: str | None) -> datetime | None:
    """Returns the moment that `text` means, or None without a text."""
    return None if text is None else parse_time(text)


def optional_number(text: str | None, config: Config, source: str | None = None) -> str | None:
    """Returns a number or short code as the store has it, or None without a text."""
    return None if text is None else parse_number(text, config, source)


def optional_person(text: str | None, config: Config) -> str | None:
    """Returns the number of a person to search for, or None without a text.

    A number that no numbering plan has is stored as it came, so digits are accepted.
    """
    if text is None:
        return None
    number = parse_number(text, config)
    if not is_e164(number) and not number.removeprefix("+").isdecimal():
        raise InvalidInput(f"expected a number such as +254712345678, got {text!r}", "msisdn")
    return number


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
