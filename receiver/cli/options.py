"""Options that commands share, and how their values are read."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from receiver import config as configuration
from receiver.config import Config
from receiver.msisdn import is_e164, normalise

_NAMES = ", ".join(map(str, configuration.DEFAULT_FILES))

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help=f"The configuration; default: {_NAMES}."),
]
UnusedConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="As everywhere; this command needs none."),
]
Json = Annotated[bool, typer.Option("--json", help="JSON Lines instead of a table.")]
Msisdn = Annotated[
    str | None,
    typer.Option("--msisdn", metavar="NUMBER", help="Only of this person: +254…, 254… or 07…"),
]

_AGO = re.compile(r"(\d{1,6})\s*([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def load(file: Path | None) -> Config:
    """The configuration that a command works with. Raises `ConfigError`."""
    return configuration.load(configuration.find(file))


def moment(text: str, now: datetime) -> datetime:
    """`2026-11-20`, `2026-11-20T09:00:00Z` (UTC without a zone), or `30m`, `2h`, `7d` ago."""
    try:
        if ago := _AGO.fullmatch(text.strip()):
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        parsed = datetime.fromisoformat(text.strip())
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        expected = "a time such as 2026-11-20T09:00:00Z, or 30m, 2h, 7d ago"
        raise typer.BadParameter(f"expected {expected}, got {text!r}") from None


def person(text: str | None, config: Config) -> str | None:
    """A number as the store has it. Numbers without a country code belong to the first source."""
    if text is None:
        return None
    source = next(iter(config.sources.values()), None)
    if source is None:
        return text.strip()
    return normalise(text, source.region or _region(source.provider))


def person_or_fail(text: str, config: Config) -> str:
    """As `person`, for what must be a person's number."""
    number = person(text, config)
    assert number is not None
    digits = number[1:]
    if not is_e164(number) or not (digits.isascii() and digits.isdecimal()):
        raise typer.BadParameter(f"expected a number such as +254712345678, got {text!r}")
    return number


def _region(provider: str) -> str:
    from receiver.providers import PROVIDERS  # few commands get here

    known = PROVIDERS.get(provider)
    return known.default_region if known else "KE"
