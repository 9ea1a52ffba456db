"""How long what fails rests, and how long the other side of a call asks to be left alone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from receiver.limits import LONGEST_REST, TOLERATED, Circuit, jittered, retry_after

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
START = 1000.0
PAUSES = (5.0, 300.0, 7200.0)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("120", 120.0),
        (" 1.5 ", 1.5),
        ("7.", 7.0),
        ("604800", 604800.0),
        ("9" * 400, 1e9),
        ("Fri, 20 Nov 2026 09:02:00 GMT", 120.0),
        ("Friday, 20-Nov-26 09:02:00 GMT", 120.0),
        ("Fri, 20 Nov 2026 08:00:00 GMT", None),
        ("0", None),
        ("-1", None),
        ("1e3", None),
        ("٣", None),
        ("nan", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after(said: str, seconds: float | None) -> None:
    """Seconds, also with a fraction, or a date to come; all else is as if it were not there."""
    assert retry_after(said, NOW) == seconds


def opened() -> Circuit:
    """One that has failed as often as is tolerated."""
    circuit = Circuit(PAUSES)
    for _ in range(TOLERATED):
        circuit.failed(START, probe=False)
    return circuit


def test_a_few_failures_are_tolerated() -> None:
    """Only those in a row count."""
    circuit = Circuit(PAUSES)
    for _ in range(5):
        assert not circuit.failed(START, probe=False)
        assert not circuit.failed(START, probe=False)
        assert not circuit.succeeded()
    assert circuit.rest(START) == 0
    assert not circuit.open


def test_many_failures_open_it_once() -> None:
    """The first that is too much says so; those that left before it tell nothing new."""
    circuit = opened()
    assert circuit.open
    rest = circuit.rest(START)
    assert not circuit.failed(START + 1, probe=False)
    assert circuit.rest(START) == rest
    assert 4 <= rest <= 6


def test_rests_grow_with_probes_up_to_a_limit() -> None:
    """By the schedule, but never so long that a target waits for hours when it is back."""
    circuit, now = opened(), START
    for pause in (300.0, LONGEST_REST, LONGEST_REST):
        now += 3600
        assert circuit.rest(now) == 0
        assert not circuit.failed(now, probe=True)
        assert 0.8 * pause <= circuit.rest(now) <= 1.2 * pause


def test_one_success_closes_it() -> None:
    """And says so, for what waits to be hurried."""
    circuit = opened()
    assert circuit.succeeded()
    assert (circuit.open, circuit.rest(START)) == (False, 0)


def test_who_asks_for_time_gets_it() -> None:
    """At once, in full, and also when it is more than any rest of ours."""
    circuit = Circuit(PAUSES)
    assert circuit.failed(START, probe=False, asked=9000.0)
    assert circuit.rest(START) == pytest.approx(9000.0)


def test_jitter_is_a_fifth() -> None:
    """Up and down."""
    values = [jittered(100.0) for _ in range(200)]
    assert 80 <= min(values) < 95
    assert 105 < max(values) <= 120
