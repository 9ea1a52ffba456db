"""Reading a provider's list of subscribers."""

from __future__ import annotations

import io
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.service.subscriber_list import (
    HeaderError,
    InvalidLine,
    ListedSubscriber,
    read_list,
)
from receiver.text.msisdn import is_e164, normalise

ONE, TWO = "+254711000001", "+254711000002"
kenyan = partial(normalise, region="KE")


def told(text: str) -> list[ListedSubscriber | InvalidLine]:
    """What a list says."""
    return list(read_list(io.StringIO(text, newline="\n"), kenyan))


def listed(
    line: int, msisdn: str = ONE, service: str | None = None, *, active: bool = True
) -> ListedSubscriber:
    """A line that is one of the list."""
    return ListedSubscriber(line=line, msisdn=msisdn, service_id=service, active=active)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("\n \n", []),
        ("254711000001\n0711 000 002\n", [listed(1), listed(2, TWO)]),
        ("\ufeff254711000001\r\n\r\n+254711000002", [listed(1), listed(3, TWO)]),
        ("msisdn\n0711000001\n", [listed(2)]),
        ("Mobile;State\n0711000001;Inactive\n", [listed(2, active=False)]),
        ("name,Phone Number,service_id\nA,0711000001,44\nB,0711000002,\n",
         [listed(2, service="44"), listed(3, TWO)]),
        ("phone\tstatus\n0711000001\t1\n0711000002\t0\n",
         [listed(2), listed(3, TWO, active=False)]),
        ('"msisdn","state"\n"0711000001",""\n', [listed(2)]),
        ("44,0711000001,active\n44,0711000002,unsubscribed\n",
         [listed(1), listed(2, TWO, active=False)]),
        ("msisdn,state\n0711000001\n", [listed(2)]),
        ('{"msisdn": "0711000001"}\n\n{"Mobile": 254711000002, "status": 0, "service_id": 44}\n',
         [listed(1), listed(3, TWO, "44", active=False)]),
    ],
)  # fmt: skip
def test_lists_are_read(text: str, expected: list[ListedSubscriber]) -> None:
    """With and without a head, however separated, by any of the names; JSON Lines too."""
    assert told(text) == expected


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("0711000001\nnobody\n", 2, "expected a number such as +254712345678, got 'nobody'"),
        ("nobody\n0711000001\n", 1, "expected a number such as +254712345678, got 'nobody'"),
        (
            "msisdn,state\n0711000001,maybe\n",
            2,
            "expected a state, active or inactive, got 'maybe'",
        ),
        ("state,msisdn\nactive\n", 2, "expected a number such as +254712345678, got ''"),
        ('{"msisdn": "0711000001"}\n{"msisdn"\n', 2, "expected JSON, as on the first line"),
        ('{"msisdn": "0711000001"}\n[1]\n', 2, "expected an object, got '[1]'"),
        ('{"number": null}\n', 1, "expected a number such as +254712345678, got ''"),
        ("0711000001\n\x1b[31m\n", 2, r"expected a number such as +254712345678, got '\x1b[31m'"),
        ("0711000001\n07110\r00002\n", 2, "expected a line of CSV"),
        ('0711000001\n"0711000002\n0711000003', 0, ""),
    ],
)  # fmt: skip
def test_invalid_lines_are_named(text: str, line: int, why: str) -> None:
    """With their number and what was expected; the others are read."""
    invalid = [each for each in told(text) if isinstance(each, InvalidLine)]
    assert invalid == ([InvalidLine(line=line, why=why)] if line else [])


def test_a_head_without_numbers_is_refused() -> None:
    """Rather than a list of nothing but invalid lines."""
    with pytest.raises(HeaderError, match="expected a column msisdn, phone, mobile"):
        told("customer,plan\nA,gold\n")


def test_long_nonsense_is_cut() -> None:
    """A line of a megabyte is told in some characters."""
    [invalid] = told("x" * 1_000_000)
    assert isinstance(invalid, InvalidLine)
    assert len(invalid.why) < 120


@given(st.lists(st.text(), max_size=6))
def test_any_file_can_be_read(lines: list[str]) -> None:
    """Every line that is not empty is listed, invalid, or the head; nothing else is raised."""
    try:
        found = list(read_list(lines, kenyan))
    except HeaderError:
        return
    numbers = [each.line for each in found]
    assert numbers == sorted(set(numbers))
    for each in found:
        assert 1 <= each.line <= len(lines)
        assert isinstance(each, InvalidLine) or is_e164(each.msisdn)
