"""Reads numbers that a person types, by the regions of the configured sources."""

from __future__ import annotations

from receiver.config import Config
from receiver.errors import InvalidInput
from receiver.text.msisdn import is_decimal, is_e164, readings


def parse_number(text: str, config: Config, source: str | None = None) -> str:
    """Returns a number or short code as the store has it.

    A number without a country code is read in the region of `source`, or of all sources. Raises
    `InvalidInput` where the sources' regions differ about it.
    """
    if is_decimal(text):
        expected = "a number in digits such as +254712345678"
        raise InvalidInput(f"expected {expected}, got the decimal {text!r}")
    found: dict[str, list[str]] = {}
    for name, region in regions(config, source).items():
        for form in readings(text, [region]):
            found.setdefault(form, []).append(name)
    numbers = {form: names for form, names in found.items() if is_e164(form)}
    if len(numbers) > 1:
        several = " or ".join(f"{form} ({', '.join(names)})" for form, names in numbers.items())
        raise InvalidInput(f"{text} is {several}: write it with its country code")
    return next(iter(numbers), None) or min(readings(text, []))


def parse_msisdn(
    text: str, config: Config, source: str | None = None, field: str | None = None
) -> str:
    """Returns a person's number in E.164. Raises `InvalidInput` for anything else.

    `field` names the value in the error.
    """
    msisdn = parse_number(text, config, source)
    if not is_e164(msisdn):
        raise InvalidInput(f"expected a number such as +254712345678, got {text!r}", field)
    return msisdn


def parse_person(text: str, config: Config) -> str:
    """Returns the number of a person to search for. Raises `InvalidInput` for anything else.

    A number that no numbering plan has is stored as it came, so digits are accepted.
    """
    number = parse_number(text, config)
    if not is_e164(number) and not number.removeprefix("+").isdecimal():
        raise InvalidInput(f"expected a number such as +254712345678, got {text!r}", "msisdn")
    return number


def regions(config: Config, source: str | None = None) -> dict[str, str]:
    """Returns the region of each source, or of `source` alone. Raises `InvalidInput`."""
    if source is not None and source not in config.sources:
        known = ", ".join(config.sources) or "none"
        raise InvalidInput(f"there is no source {source!r}; expected one of: {known}", "source")
    return {
        name: settings.region or _default_region(settings.provider, config)
        for name, settings in config.sources.items()
        if source in (None, name)
    }


def _default_region(provider: str, config: Config) -> str:
    # Few commands need the providers, which take a while to load.
    from receiver.providers import known  # noqa: PLC0415 - see above

    found = known(config).find(provider)
    return found.default_region if found else "KE"
