"""Options that commands share, and how their values are read."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from receiver import config as configuration
from receiver.config import Config
from receiver.msisdn import is_e164, normalise
from receiver.times import length

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


def load(file: Path | None) -> Config:
    """The configuration that a command works with. Raises `ConfigError`."""
    return configuration.load(configuration.find(file))


def moment(text: str, now: datetime) -> datetime:
    """`2026-11-20`, `2026-11-20T09:00:00Z` (UTC without a zone), or `30m`, `2h`, `7d` ago."""
    try:
        if ago := length(text):
            return now - ago
        parsed = datetime.fromisoformat(text.strip())
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        expected = "a time such as 2026-11-20T09:00:00Z, or 30m, 2h, 7d ago"
        raise typer.BadParameter(f"expected {expected}, got {text!r}") from None


def person(text: str | None, config: Config, source: str | None = None) -> str | None:
    """A number as the store has it; see `region` for those without a country code."""
    if text is None:
        return None
    where = region(config, source)
    return text.strip() if where is None else normalise(text, where)


def region(config: Config, source: str | None = None) -> str | None:
    """Where numbers without a country code belong: by this source, or the first; None without."""
    name = source if source is not None else next(iter(config.sources), None)
    if name is None:
        return None
    settings = config.sources.get(name)
    if settings is None:
        known = ", ".join(config.sources) or "none"
        raise typer.BadParameter(f"there is no source {name!r}; expected one of: {known}")
    return settings.region or _default_region(settings.provider)


def person_or_fail(text: str, config: Config) -> str:
    """As `person`, for what must be a person's number."""
    number = person(text, config)
    assert number is not None
    digits = number[1:]
    if not is_e164(number) or not (digits.isascii() and digits.isdecimal()):
        raise typer.BadParameter(f"expected a number such as +254712345678, got {text!r}")
    return number


def _default_region(provider: str) -> str:
    from receiver.providers import PROVIDERS  # few commands get here

    known = PROVIDERS.get(provider)
    return known.default_region if known else "KE"
