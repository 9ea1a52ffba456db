"""Telephone numbers, of people and of ours: one form, E.164; everything else stays as it came.

What enters (a push, an action of a plugin, a command, a list, the configuration) is brought into
this form there, by the region of its source, and compared as it is everywhere else.

The numbering plans are those of libphonenumber. Its parser costs tens of microseconds, more
than the rest of a push; numbers in the usual international form are recognised by the same
plan's pattern alone, which a property test holds against the parser.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import lru_cache
from typing import Any

import phonenumbers
from phonenumbers import (
    NumberParseException,
    PhoneMetadata,
    PhoneNumber,
    PhoneNumberFormat,
    PhoneNumberType,
    ValidationResult,
)

_SEPARATORS = re.compile(r"[\s\-()\u00a0\u2010-\u2015]+")
_NUMBER = re.compile(r"(?:\+|00)?[0-9]{4,17}")
# One point is a decimal point. Several are separators, as in 07.12.34.56.78.
_IN_GROUPS = re.compile(r"\+?[0-9]+(?:\.[0-9]{2,}){2,}")
_DECIMAL = re.compile(
    r"[+-]?[0-9][0-9\s]*(?:\.[0-9\s]*|,[0-9]{1,4}|(?:[.,][0-9]*)?[eE][+-]?[0-9]+)"
)
_WHOLE = re.compile(r"-?[0-9]{1,24}(?:\.0+)?")
_MOST_DIGITS = 24
#: Short codes have at most so many digits, numbers with their country code more.
_SHORT = 6
#: Digits of a number, and characters of the name of a sender (GSM 03.40, 9.1.2.5).
_LONGEST_NUMBER = 15
_LONGEST_NAME = 11
#: What has no more digits is a number only where its plan knows it.
_SHORTEST = 8


def is_region(region: str) -> bool:
    """True for a region that has telephone numbers (`KE`, `GB`)."""
    return region in phonenumbers.SUPPORTED_REGIONS


def normalise(raw: str, region: str | None) -> str:
    """The E.164 form (`+254726770792`) of a number as people and providers write it.

    `region` (ISO 3166, `KE`) is where numbers without a country code belong; None: nowhere, so
    that only those with one are understood. Short codes, alphanumeric senders and whatever else
    is no number of a numbering plan stay as they are, without the white space around them.
    """
    if len(raw) <= _SHORT and raw.isdigit():
        return raw
    if region is not None and (match := _international(region).fullmatch(raw)):
        return f"+{match['e164']}"
    # What is too long for a number is not remembered.
    return _parse(raw, region) if len(raw) <= 64 else raw.strip()


def readings(raw: str, regions: Iterable[str | None]) -> frozenset[str]:
    """Returns the E.164 numbers that a text means in these regions, or else the text."""
    forms = {normalise(raw, region) for region in tuple(regions) or (None,)}
    return frozenset(filter(is_e164, forms)) or frozenset({raw.strip()})


def is_e164(text: str) -> bool:
    """True for the form that `normalise` gives to people's numbers."""
    return text[:1] == "+" and text[1:].isdecimal() and text.isascii()


def is_possible_e164(text: str) -> bool:
    """Returns whether `text` is E.164 with a length that numbers of its country have."""
    if not is_e164(text):
        return False
    try:
        return _is_possible(phonenumbers.parse(text))
    except NumberParseException:
        return False


def region_of(number: str) -> str | None:
    """The region (`KE`) of a number with its country code; None for what is none."""
    try:
        parsed = phonenumbers.parse(f"+{number.removeprefix('+').removeprefix('00')}", None)
    except NumberParseException:
        return None
    region: str | None = phonenumbers.region_code_for_number(parsed)
    return region


def is_decimal(text: str) -> bool:
    """True for a number that a program wrote as a decimal: `254726770792.0`, `2.54726770792E+11`.

    Its digits without the fraction may be the number of another person.
    """
    return _DECIMAL.fullmatch(text.strip()) is not None


def whole(digits: str) -> str:
    """`4448236.0` and `4.448236E+6` as `4448236`; a number that is no integer as it is."""
    if "e" in digits or "E" in digits:
        try:
            number = Decimal(digits)
        except ArithmeticError:  # an exponent of twenty digits
            return str(digits)
        integral = number.adjusted() < _MOST_DIGITS and number == number.to_integral_value()
        return f"{number:.0f}" if integral else str(digits)
    return digits.partition(".")[0] if _WHOLE.fullmatch(digits) else str(digits)


def is_code(text: str) -> bool:
    """True for the form of a short code and for the name of a sender."""
    return any(map(str.isalpha, text)) or (text.isdecimal() and len(text) <= _SHORT)


def sender_fault(sender: str) -> str | None:
    """Returns why no network takes a sender, or None: a name has 11 characters, a number 15."""
    bare = "".join(sender.removeprefix("+").split())
    is_number = bare.isdecimal() and bare.isascii()
    size, longest = (len(bare), _LONGEST_NUMBER) if is_number else (len(sender), _LONGEST_NAME)
    kind = "digits" if is_number else "characters"
    return f"{sender} has {size} {kind}; expected at most {longest}" if size > longest else None


def ours(address: str | None) -> str:
    """An address of ours to compare it by: names of senders in capitals, None is empty."""
    return address.strip().upper() if address else ""


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
    # Left to the parser: texts that may also be national numbers, or have a national prefix.
    prefix = metadata.national_prefix_for_parsing
    guards = rf"(?!(?:{national})\Z)" + (rf"(?!\+?{code}(?:{prefix}))" if prefix else "")
    return re.compile(rf"{guards}\+?(?P<e164>{code}(?:{national}))", re.ASCII)


@lru_cache(maxsize=64)
def _longest_mobile(region: str) -> int:
    """Digits of a person's number without its country code."""
    metadata: Any = PhoneMetadata.metadata_for_region(region)
    return max(metadata.mobile.possible_length, default=0) if metadata.mobile else 0


@lru_cache(maxsize=4096)
def _parse(raw: str, region: str | None) -> str:
    stripped = raw.strip()
    compact = _SEPARATORS.sub("", stripped)
    if "." in compact and _IN_GROUPS.fullmatch(compact):
        compact = compact.replace(".", "")
    if not compact.isascii() or not _NUMBER.fullmatch(compact):
        return stripped
    if compact.startswith("00"):
        compact = f"+{compact[2:]}"
    if compact.startswith("+"):
        return _e164(compact, None, _is_valid, _is_possible) or stripped
    if len(compact) <= _SHORT:
        return stripped
    foreign = f"+{compact}"
    if region is None:
        return _e164(foreign, None, _is_valid) or stripped
    own_code = compact.startswith(str(phonenumbers.country_code_for_region(region)))
    # Some plans have numbers as long as a person's number with its code: of gateways it has one.
    with_code = own_code and len(compact) > _longest_mobile(region)
    enough = (_is_valid, _is_possible) if own_code else (_is_valid,)
    return (
        (_e164(foreign, None, _is_valid) if with_code else None)
        or _e164(compact, region, *enough)
        or _e164(foreign, None, _is_valid)
        or _e164(compact, region, _is_possible_mobile)
        or stripped
    )


def _e164(number: str, region: str | None, *enough: Callable[[PhoneNumber], bool]) -> str | None:
    """None unless it is one of `enough`: numbering plans grow before we know."""
    try:
        parsed = phonenumbers.parse(number, region)
    except NumberParseException:
        return None
    if any(check(parsed) for check in enough):
        return phonenumbers.format_number(parsed, PhoneNumberFormat.E164)
    return None


def _is_valid(parsed: PhoneNumber) -> bool:
    """True if its numbering plan knows it."""
    return phonenumbers.is_valid_number(parsed)


def _is_possible(parsed: PhoneNumber) -> bool:
    """True if it has the length of a number of its country, and more than a short code."""
    national = phonenumbers.national_significant_number(parsed)
    long_enough = len(f"{parsed.country_code}{national}") > _SHORTEST
    return long_enough and phonenumbers.is_possible_number(parsed)


def _is_possible_mobile(parsed: PhoneNumber) -> bool:
    """True if it has the length of a person's number: without a code, shorter ones are typos."""
    mobile = PhoneNumberType.MOBILE
    reason = phonenumbers.is_possible_number_for_type_with_reason(parsed, mobile)
    return reason == ValidationResult.IS_POSSIBLE
