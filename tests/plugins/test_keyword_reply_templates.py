"""Filters of replies, the time of a message, and quotes that fit into an SMS."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.handlers import beyond_gsm7
from tests.plugins.ruling import render, reply, rules, wrong

# tests.harness.NOW is 2026-11-20 09:00 UTC.
NAIROBI = "Africa/Nairobi"


def local(template: str, **data: Any) -> str | None:
    """What a template makes of a message, in Nairobi."""
    return reply(
        rules({"keyword": "GAME", "reply": template}, timezone=NAIROBI), "game one", **data
    )


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ time | date }}", "2026-11-20"),
        ("{{ time | date('%H:%M %d.%m.%Y') }}", "12:00 20.11.2026"),
        ("{{ time | date('%-d %b, 100%%') }}", "20 Nov, 100%"),
        ("{{ '2026-12-31' | date('%d/%m') }}", "31/12"),
        ("{{ '2026-12-31T23:30:00Z' | date('%d %H:%M') }}", "01 02:30"),
        ("{{ '2026-12-31 23:30' | date('%d %H:%M') }}", "31 23:30"),
        ("{{ time.year }}", "2026"),
    ],
)
def test_date(template: str, expected: str) -> None:
    """Times and texts of times are written in the plugin's zone, as strftime does."""
    assert local(template) == expected


def test_time_without_a_zone() -> None:
    """Without the plugin's timezone times are in UTC."""
    assert render("{{ time | date('%H:%M') }}") == "09:00"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ 1234.5 | money('KES') }}", "KES 1,234.50"),
        ("{{ '1234567' | money('UGX', 0) }}", "UGX 1,234,567"),
        ("{{ 0.125 | money }}", "0.13"),
        ("{{ 0.285 | money }}", "0.29"),
        ("{{ '-5' | money('KES') }}", "KES -5.00"),
        ("{{ fields.MM1 | money('GBP') }}", "GBP 10.00"),
        ("{{ '1,500' | money('KES') }}", "KES 1,500.00"),
        ("{{ '1500/=' | money('KES') }}", "KES 1,500.00"),
        ("{{ ' 12,345.50/- ' | money('KES') }}", "KES 12,345.50"),
        ("{{ 'Ksh. 1 500' | money('KES') }}", "KES 1,500.00"),
        ("{{ 'KES1,500 /=' | money('KES', 0) }}", "KES 1,500"),
        ("{{ '£5' | money('GBP') }}", "GBP 5.00"),
        ("{{ '٣٠' | money }}", "30.00"),
    ],
)
def test_money(template: str, expected: str) -> None:
    """Amounts are decimal: rounded half up, with thousands apart and the currency in front."""
    assert local(template, fields={"MM1": "10"}) == expected


@given(st.decimals(-(10**12), 10**12, places=4), st.integers(0, 6))
def test_money_loses_nothing(amount: Decimal, places: int) -> None:
    """Without its commas an amount is the number, rounded to its places."""
    written = reply(AMOUNTS[places], f"pay {amount}")
    assert written is not None
    exact = amount.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    assert Decimal(written.replace(",", "")) == exact


AMOUNTS = [
    rules({"keyword": "PAY", "reply": f"{{{{ rest | money('', {places}) }}}}"})
    for places in range(7)
]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (
            "{{ rest | money }}",
            "money is for an amount such as 1234.5 or 1,500/=; the value is none",
        ),
        ("{{ '1e999999' | money }}", "money is for an amount"),
        ("{{ 'NaN' | money }}", "money is for an amount"),
        ("{{ true | money }}", "money is for an amount"),
        ("{{ '1,50' | money }}", "money is for an amount"),
        ("{{ '1,5000' | money }}", "money is for an amount"),
        ("{{ '1.500,00' | money }}", "money is for an amount"),
        ("{{ '1,500 000' | money }}", "money is for an amount"),
        ("{{ 'for 500' | money }}", "money is for an amount"),
        ("{{ '500k' | money }}", "money is for an amount"),
        ("{{ ('9' ~ 9999999999999999) | money }}", "money is for an amount"),
        ("{{ 1 | money('KES', 99) }}", "money takes 0 to 6 places"),
        ("{{ rest | date }}", "date is for a time or an ISO text of one; the value is neither"),
        ("{{ 5 | date }}", "date is for a time"),
        ("{{ time | date('%9999999d') }}", "date takes a format such as %d.%m.%Y %H:%M"),
        ("{{ time | date(5) }}", "date takes a format"),
        ("{{ fields.MM1 | money }}", "the message has no field MM1; default() would give one"),
        ("{{ fields.MM1 | date }}", "the message has no field MM1; default() would give one"),
    ],
)
def test_failing_filter(template: str, expected: str) -> None:
    """A value that is no amount or time fails the reply, and is not quoted."""
    with pytest.raises(ValueError, match=re.escape(expected)) as caught:
        render(template, "GAME secret")
    assert "secret" not in str(caught.value)


LONG = f"GAME {'%999999999d {:999999999} ' * 9}999999999"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ rest | format(1) }}", "line 1: format is not for replies"),
        ("\n{{ '%s' | format(rest) }}", "line 2: format is not for replies"),
        ("{{ rest.format(1) }}", "line 1: .format is not for replies"),
        ("{{ 'a'.ljust(rest | int) }}", "line 1: .ljust is not for replies"),
        ("{{ rest | center(rest | int) }}", "line 1: center is not for replies"),
        ("{{ rest | urlize }}", "line 1: urlize is not for replies"),
        ("{{ (rest | attr('format'))(1) }}", "line 1: attr is not for replies"),
        ("{{ time.strftime(rest) }}", "line 1: .strftime is not for replies"),
    ],
)
def test_what_interprets_a_text_is_not_offered(template: str, expected: str) -> None:
    """Filters and methods that read a text as a format or width are refused at start."""
    assert wrong({"keyword": "GAME", "reply": template}) == {"rules[0].reply": expected}


@pytest.mark.parametrize(
    "template",
    [
        "{{ rest % 1 }}",
        "{{ '%s' % rest }}",
        "{{ rest['format'](1) }}",
        "{{ ['a'] | map('format') | first }}",
        "{{ rest['zfill'](9) }}",
        "{{ (5)['to_bytes'](rest | int) }}",
        "{{ 5 | round(-999999999) }}",
        "{{ rest | replace('9', text) | replace('9', text) | length }}",
        "{{ rest.replace('9', text).replace('9', text) | length }}",
        "{{ text | join(text) | join(text) | length }}",
    ],
)
def test_what_would_take_long_fails_at_once(template: str) -> None:
    """Whatever a person wrote, and however the template comes by it."""
    with pytest.raises(ValueError, match=r"rules\[0\].reply"):
        render(template, LONG)


@pytest.mark.parametrize(
    "template",
    ["{{ rest['format'](1) }}", "{{ ([rest] | map(attribute='format') | first)(1) }}"],
)
def test_a_text_is_no_format(template: str) -> None:
    """A short one neither, and however the template comes by the method."""
    with pytest.raises(ValueError, match="raised SecurityError"):
        render(template, "GAME {:9}")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ rest | replace(',', '') }}", "1500"),
        ("{{ rest.replace(',', '', 1) | int % 7 }}", "2"),
        ("{{ rest.split(',') | join('+') }}", "1+500"),
        ("{{ 1.234 | round(1) }}{{ rest.lower() }}", "1.21,500"),
        ("{{ time.hour }}", "9"),
    ],
)
def test_what_is_offered(template: str, expected: str) -> None:
    """What people do to texts and numbers stays possible."""
    assert render(template, "GAME 1,500") == expected


SMART = "\u2018a\u2019 \u201cb\u201d\u2013c\u2014d\u2026\u00a0e"


def test_quotes_are_folded_on_request() -> None:
    """With `fold_quotes` a reply has only what the GSM alphabet has for such characters."""
    for template in (SMART, f"{SMART}{{{{ rest }}}}", f"{SMART}{{{{ rest | d }}}}"):
        kept = rules({"keyword": "GAME", "reply": template})
        folded = rules({"keyword": "GAME", "reply": template}, fold_quotes=True)
        assert reply(kept, "game") == SMART
        assert reply(folded, "game") == "'a' \"b\"-c-d... e"
    assert not beyond_gsm7("'a' \"b\"-c-d... e")


def test_what_people_wrote_is_not_folded() -> None:
    """Only the reply's own words are changed, not the values in it."""
    plugin = rules({"keyword": "GAME", "reply": "\u201c{{ rest }}\u201d"}, fold_quotes=True)
    assert reply(plugin, "game \u2019x\u2026") == '"\u2019x\u2026"'


def test_unknown_filters_and_variables_are_refused() -> None:
    """What a template can never have is found before it runs."""
    assert "No filter named 'dates'" in next(
        iter(wrong({"keyword": "A", "reply": "{{ time | dates }}"}).values())
    )
    assert wrong({"keyword": "A", "reply": "{{ tme }}"}) == {
        "rules[0].reply": "unknown variable tme; did you mean time?"
    }
