"""Telephone numbers: E.164 for people, everything else as it came.

The numbering plans are those of libphonenumber. Its parser costs tens of microseconds, more
than the rest of a push; numbers in the usual international form are recognised by the same
plan's pattern alone, which a property test holds against the parser.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import phonenumbers
from phonenumbers import NumberParseException, PhoneMetadata, PhoneNumberFormat

_SEPARATORS = re.compile(r"[\s\-().\u00a0\u2010-\u2015]+")
_OUR_SEPARATORS = {ord(char): None for char in " -().\u00a0"}
_NUMBER = re.compile(r"(?:\+|00)?[0-9]{4,17}")


def is_region(region: str) -> bool:
    """Whether this is a region that has telephone numbers (`KE`, `GB`)."""
    return region in phonenumbers.SUPPORTED_REGIONS


def normalise(raw: str, region: str) -> str:
    """The E.164 form (`+254726770792`) of a number as people and providers write it.

    `region` (ISO 3166, `KE`) is where numbers without a country code belong. Short codes,
    alphanumeric senders and whatever else is no number of a numbering plan stay as they
    are, without the white space around them.
    """
    match = _international(region).fullmatch(raw)
    if match:
        return f"+{match['e164']}"
    # What is too long for a number is not remembered.
    return _parse(raw, region) if len(raw) <= 64 else raw.strip()


def is_e164(text: str) -> bool:
    """Whether `text` is in the form that `normalise` gives to people's numbers."""
    return text[:1] == "+" and text[1:].isdecimal() and text.isascii()


def ours(address: str | None) -> str:
    """One form of an address of ours, to compare it by: short code, number or sender ID.

    `+44 7786 200000` and `447786200000` are `447786200000`, ` Shop` is `SHOP`, None is empty.
    """
    if not address:
        return ""
    digits = address.translate(_OUR_SEPARATORS).removeprefix("+")
    # Short codes have at most six digits, numbers with their country code seven or more.
    is_number = len(digits) >= 7 and digits.isascii() and digits.isdecimal()
    return digits if is_number else address.strip().upper()


def national_digits(number: str) -> str:
    """The digits of an E.164 number that stand in each of its spellings: `726770792`."""
    try:
        return phonenumbers.national_significant_number(phonenumbers.parse(number))
    except NumberParseException:
        return number.removeprefix("+")


def spellings(number: str) -> list[str]:
    """An E.164 number as people and providers write it, itself first."""
    digits, national = number.removeprefix("+"), national_digits(number)
    return list(dict.fromkeys([number, digits, f"00{digits}", f"0{national}", national]))


def mask(number: str) -> str:
    """The number for logs: `+2547•••0792`; at least four digits are hidden."""
    if len(number) < 9:
        return "•" * len(number)
    return f"{number[: min(5, len(number) - 8)]}•••{number[-4:]}"


@lru_cache(maxsize=64)
def _international(region: str) -> re.Pattern[str]:
    code = phonenumbers.country_code_for_region(region)
    metadata: Any = PhoneMetadata.metadata_for_region(region)
    national = metadata.general_desc.national_number_pattern
    # Left to the parser: what may also be a national number, or has a national prefix in it.
    prefix = metadata.national_prefix_for_parsing
    guards = rf"(?!(?:{national})\Z)" + (rf"(?!\+?{code}(?:{prefix}))" if prefix else "")
    return re.compile(rf"{guards}\+?(?P<e164>{code}(?:{national}))", re.ASCII)


@lru_cache(maxsize=4096)
def _parse(raw: str, region: str) -> str:
    stripped = raw.strip()
    compact = _SEPARATORS.sub("", stripped)
    if not compact.isascii() or not _NUMBER.fullmatch(compact):
        return stripped
    if compact.startswith("00"):
        compact = f"+{compact[2:]}"
    if compact.startswith("+"):
        return _e164(compact, None, possible=True) or stripped
    own_code = compact.startswith(str(phonenumbers.country_code_for_region(region)))
    foreign = f"+{compact}" if len(compact) > 6 else ""  # codes have up to six digits
    return _e164(compact, region, possible=own_code) or _e164(foreign, None) or stripped


def _e164(number: str, region: str | None, *, possible: bool = False) -> str | None:
    """`possible`: the right length suffices, since numbering plans grow before we know."""
    try:
        parsed = phonenumbers.parse(number, region)
    except NumberParseException:
        return None
    if phonenumbers.is_valid_number(parsed) or (
        possible and len(number) > 9 and phonenumbers.is_possible_number(parsed)
    ):
        return phonenumbers.format_number(parsed, PhoneNumberFormat.E164)
    return None
