"""Options that commands share, and how their values are read."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from receiver import config as configuration
from receiver.config import Config
from receiver.text.msisdn import is_decimal, is_e164, readings
from receiver.text.times import length

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


def normalised(text: str | None, config: Config, source: str | None = None) -> str | None:
    """A person's number, or a short code or number of ours, as the store has it.

    Without a country code it belongs where this source is, or else where all of them are.
    """
    if text is None:
        return None
    if is_decimal(text):
        expected = "a number in digits such as +254712345678"
        raise typer.BadParameter(f"expected {expected}, got the decimal {text!r}")
    found: dict[str, list[str]] = {}
    for name, region in regions(config, source).items():
        for form in readings(text, [region]):
            found.setdefault(form, []).append(name)
    numbers = {form: names for form, names in found.items() if is_e164(form)}
    if len(numbers) > 1:
        several = " or ".join(f"{form} ({', '.join(names)})" for form, names in numbers.items())
        raise typer.BadParameter(f"{text} is {several}: write it with its country code")
    return next(iter(numbers), None) or min(readings(text, []))


def regions(config: Config, source: str | None = None) -> dict[str, str]:
    """By source, this one or all of them, where numbers without a country code belong."""
    if source is not None and source not in config.sources:
        known = ", ".join(config.sources) or "none"
        raise typer.BadParameter(f"there is no source {source!r}; expected one of: {known}")
    return {
        name: settings.region or _default_region(settings.provider)
        for name, settings in config.sources.items()
        if source in (None, name)
    }


def person_or_fail(text: str, config: Config) -> str:
    """As `normalised`, for what must be a person's number."""
    msisdn = normalised(text, config)
    if msisdn is None or not is_e164(msisdn):
        raise typer.BadParameter(f"expected a number such as +254712345678, got {text!r}")
    return msisdn


def _default_region(provider: str) -> str:
    from receiver.providers import PROVIDERS  # few commands get here

    known = PROVIDERS.get(provider)
    return known.default_region if known else "KE"
