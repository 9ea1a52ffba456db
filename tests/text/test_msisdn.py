"""Numbers, held against libphonenumber."""

from __future__ import annotations

from decimal import Decimal

import phonenumbers
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from receiver.text import msisdn
from receiver.text.msisdn import (
    is_code,
    is_decimal,
    is_e164,
    is_region,
    mask,
    normalise,
    ours,
    readings,
    whole,
)

PERSONS = [
    # As the providers write them.
    ("254726770792", "KE", "+254726770792"),
    ("+254700000000", "KE", "+254700000000"),
    ("447777777777", "GB", "+447777777777"),
    # As people write them.
    ("0726770792", "KE", "+254726770792"),
    ("726770792", "KE", "+254726770792"),
    ("0110123456", "KE", "+254110123456"),
    ("00254726770792", "KE", "+254726770792"),
    ("+254 726 770-792", "KE", "+254726770792"),
    ("+254 (0) 726 770792", "KE", "+254726770792"),
    ("\u00a0254\u2011726\u2011770\u2011792\n", "KE", "+254726770792"),
    ("07911 123456", "GB", "+447911123456"),
    # From elsewhere.
    ("447777777777", "KE", "+447777777777"),
    ("+12025550123", "KE", "+12025550123"),
    ("256712345678", "KE", "+256712345678"),
    ("0712345678", "UG", "+256712345678"),
    ("07.12.34.56.78", "FR", "+33712345678"),
    ("+254.726.770.792", "KE", "+254726770792"),
    # Newer than our numbering plan, but of the right length.
    ("+254999999999", "KE", "+254999999999"),
    ("0999999999", "KE", "+254999999999"),
    ("999 999 999", "KE", "+254999999999"),
    ("07000 900123", "GB", "+447000900123"),
]


@pytest.mark.parametrize(("raw", "region", "expected"), PERSONS)
def test_numbers_of_people_become_e164(raw: str, region: str, expected: str) -> None:
    """One person is one number, however it is written."""
    assert normalise(raw, region) == expected
    assert normalise(expected, region) == expected
    assert is_e164(expected)


OTHERS = [
    ("70700", "70700"),
    ("22915", "22915"),
    (" 70700 ", "70700"),
    ("007", "007"),
    ("*144#", "*144#"),
    ("SAFARICOM", "SAFARICOM"),
    (" M-PESA\n", "M-PESA"),
    ("Tilil 24", "Tilil 24"),
    ("", ""),
    ("0", "0"),
    ("12345678901234567890", "12345678901234567890"),
    ("٢٥٤٧٢٦٧٧٠٧٩٢", "٢٥٤٧٢٦٧٧٠٧٩٢"),
    ("254726770792x5", "254726770792x5"),
    ("254726770792,254726770793", "254726770792,254726770793"),
    # A digit less than a person's number, and not the number of a place.
    ("072677079", "072677079"),
    # Decimals of spreadsheets and floats, and what is left open.
    ("254726770792.0", "254726770792.0"),
    ("254726770792.", "254726770792."),
    ("+254726770792.00", "+254726770792.00"),
    ("0726770792.0", "0726770792.0"),
    ("254 726 770 792.0", "254 726 770 792.0"),
    ("2.54726770792E+11", "2.54726770792E+11"),
    ("2,54726770792e11", "2,54726770792e11"),
    ("254726770792,0", "254726770792,0"),
    ("254.726.770.792.0", "254.726.770.792.0"),
    (".254726770792", ".254726770792"),
]


@pytest.mark.parametrize(("raw", "expected"), OTHERS)
@pytest.mark.parametrize("region", ["KE", "GB"])
def test_everything_else_stays(raw: str, expected: str, region: str) -> None:
    """Short codes, names and nonsense stay as they came."""
    assert normalise(raw, region) == expected


@pytest.mark.parametrize("region", ["KE", "GB"])
def test_no_short_code_becomes_a_number(region: str) -> None:
    """Codes of three to five digits are nobody's number."""
    # All of three digits, of the longer ones some hundreds.
    codes = [
        f"{code:0{digits}}"
        for digits in (3, 4, 5)
        for code in range(0, 10**digits, 7 ** (digits - 3))
    ]
    assert [code for code in codes if normalise(code, region) != code] == []


@pytest.mark.parametrize("region", ["KE", "GB", "UG", "TZ", "RW", "US", "DE", "ZA", "BY"])
@given(data=st.data())
def test_the_fast_path_is_the_parser(data: st.DataObject, region: str) -> None:
    """What the pattern accepts, libphonenumber parses to the same number."""
    pattern = msisdn._international(region)
    raw = data.draw(st.from_regex(pattern, fullmatch=True))
    parsed = phonenumbers.parse(raw, region)
    assert normalise(raw, region) == phonenumbers.format_number(parsed, PhoneNumberFormat.E164)


AMBIGUOUS = [
    # 27 and a short number, or a long number of ZA without its leading zero.
    ("278429644", "ZA"),
    ("49200000", "DE"),
    # An 8 before the national number is Belarus' national prefix.
    ("+3758140627045", "BY"),
]


@pytest.mark.parametrize(("raw", "region"), AMBIGUOUS)
def test_the_parser_decides_what_is_ambiguous(raw: str, region: str) -> None:
    """What may be a number with or without its country code is left to libphonenumber."""
    parsed = phonenumbers.parse(raw, region)
    assert normalise(raw, region) == phonenumbers.format_number(parsed, PhoneNumberFormat.E164)


@pytest.mark.parametrize("code", ["431116", "491645", "989632"])
def test_short_codes_of_six_digits_stay(code: str) -> None:
    """A code of six digits is not taken for a foreign number without its plus sign."""
    assert normalise(code, "KE") == code


@given(st.text(st.characters()) | st.text("0123456789+-() ", max_size=25))
def test_any_text_is_normalised_once(raw: str) -> None:
    """No text raises, and what was normalised stays."""
    once = normalise(raw, "KE")
    assert normalise(once, "KE") == once


@given(st.sampled_from(["+254726770792", "+447777777777"]), st.data())
def test_separators_do_not_matter(number: str, data: st.DataObject) -> None:
    """White space, brackets and dashes among the digits change nobody's number."""
    separators = st.text(" \t-()\u00a0\u2011", max_size=2)
    written = "".join(data.draw(separators) + char for char in number)
    assert normalise(written, "KE") == number


def test_regions_are_those_with_numbers() -> None:
    """Regions are ISO codes in upper case that have a numbering plan."""
    assert is_region("KE")
    assert is_region("GB")
    assert not is_region("ke")
    assert not is_region("UK")
    assert not is_region("")


def test_masked_numbers_do_not_tell_the_person() -> None:
    """Of a number in a log the middle is hidden, of a shorter one all."""
    assert mask("+254726770792") == "+2547•••0792"
    assert mask("0726770792") == "07•••0792"
    assert mask("254726770792") == "2547•••0792"
    assert mask("70700") == "•••••"
    assert mask("") == ""


REGIONS = ["KE", "GB", "UG", "TZ", "RW", "ZA", "NG", "US", "FR", "DE"]


@pytest.mark.parametrize("region", REGIONS)
@given(data=st.data())
def test_every_spelling_of_a_number_is_the_same_person(data: st.DataObject, region: str) -> None:
    """With and without the country code, the plus sign, 00, the national prefix."""
    example = phonenumbers.example_number_for_type(region, PhoneNumberType.MOBILE)
    assert example is not None
    digits = phonenumbers.national_significant_number(example)
    drawn = digits[:4] + data.draw(st.text("0123456789", min_size=4, max_size=4)) + digits[8:]
    parsed = phonenumbers.parse(f"+{example.country_code}{drawn}")
    assume(phonenumbers.is_valid_number_for_region(parsed, region))
    number = phonenumbers.format_number(parsed, PhoneNumberFormat.E164)
    bare = number.removeprefix("+")
    international = phonenumbers.format_number(parsed, PhoneNumberFormat.INTERNATIONAL)
    national = phonenumbers.format_number(parsed, PhoneNumberFormat.NATIONAL)
    spelled = (number, bare, f"00{bare}", international, national, f" {national} ")
    assert {normalise(text, region) for text in spelled} == {number}
    assert {ours(normalise(text, region)) for text in spelled} == {number}
    assert readings(national, [region]) == {number}


@pytest.mark.parametrize("region", [*REGIONS, None])
@given(text=st.text("0123456789+-. ()eE,", max_size=20))
def test_what_was_normalised_stays(text: str, region: str | None) -> None:
    """In every region."""
    once = normalise(text, region)
    assert normalise(once, region) == once


@pytest.mark.parametrize("region", REGIONS)
@given(number=st.integers(10**6, 10**15), places=st.integers(1, 4), zeros=st.booleans())
def test_no_fraction_is_joined_to_a_number(
    number: int, places: int, zeros: bool, region: str
) -> None:
    """However a program writes a decimal, it is nobody's number, and known as a decimal."""
    fraction = Decimal(number) if zeros else Decimal(number) / 10**places
    for text in (
        f"{fraction:.{places}f}",
        f"+{fraction:.{places}f}",
        f"{fraction:.{places}f}".replace(".", ","),
        f"{float(number):.{places}e}",
        f"{float(number):E}",
        f"{number}.",
    ):
        assert normalise(text, region) == text
        assert is_decimal(text)


@pytest.mark.parametrize("text", ["254726770792", "+254 726 770 792", "07.12.34.56.78", "Eve", ""])
def test_numbers_and_names_are_no_decimals(text: str) -> None:
    """Nor are groups with several points between them."""
    assert not is_decimal(text)


def test_a_number_may_be_of_several_regions() -> None:
    """Then it is all of their numbers; where it is one of some, it is that of those."""
    assert readings("0712 345678", ["KE", "UG"]) == {"+254712345678", "+256712345678"}
    assert readings("07786 200000", ["KE", "GB"]) == {"+447786200000"}
    assert readings("447786200000", []) == {"+447786200000"}
    assert readings("07786 200000", []) == {"07786 200000"}
    assert readings(" 22915 ", ["KE", "GB"]) == {"22915"}


def test_codes_and_names_are_told_from_numbers() -> None:
    """What is neither may be a number that is written wrong."""
    assert is_code("22915")
    assert is_code("Shop 24")
    assert not is_code("07786200000")
    assert not is_code("22915.0")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (None, ""),
        ("", ""),
        ("22915", "22915"),
        ("+447786200000", "+447786200000"),
        (" Shop ", "SHOP"),
        ("Kwa-Heri 1", "KWA-HERI 1"),
    ],
)
def test_names_of_senders_are_compared_without_case(address: str | None, expected: str) -> None:
    """Numbers and short codes are as they are stored."""
    assert ours(address) == expected


@given(st.text())
def test_one_form_of_an_address_is_its_own(text: str) -> None:
    """Whatever it was made of, made again it stays the same."""
    once = ours(text)
    assert ours(once) == once


@pytest.mark.parametrize(
    ("digits", "expected"),
    [
        ("4448236.0", "4448236"),
        ("2.54726770792E+11", "254726770792"),
        ("-1.0", "-1"),
        ("1.50", "1.50"),
        ("1.5e0", "1.5e0"),
        ("1E400", "1E400"),
        ("1E99999999999999999999", "1E99999999999999999999"),
        ("1E-99999999999999999999", "1E-99999999999999999999"),
    ],
)
def test_a_float_that_is_an_integer_is_written_as_one(digits: str, expected: str) -> None:
    """Others keep their digits, and those that no number has room for."""
    assert whole(digits) == expected
