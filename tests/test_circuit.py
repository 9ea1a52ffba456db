"""When something that fails rests, and for how long."""

from __future__ import annotations

import pytest

from receiver.limits import LONGEST_REST, TOLERATED, Circuit, jittered

NOW = 1000.0
PAUSES = (5.0, 300.0, 7200.0)


def opened() -> Circuit:
    """One that has failed as often as is tolerated."""
    circuit = Circuit(PAUSES)
    for _ in range(TOLERATED):
        circuit.failed(NOW, probe=False)
    return circuit


def test_a_few_failures_are_tolerated() -> None:
    """Only those in a row count."""
    circuit = Circuit(PAUSES)
    for _ in range(5):
        assert not circuit.failed(NOW, probe=False)
        assert not circuit.failed(NOW, probe=False)
        assert not circuit.succeeded()
    assert circuit.rest(NOW) == 0
    assert not circuit.open


def test_many_failures_open_it_once() -> None:
    """The first that is too much says so; those that left before it tell nothing new."""
    circuit = opened()
    assert circuit.open
    rest = circuit.rest(NOW)
    assert not circuit.failed(NOW + 1, probe=False)
    assert circuit.rest(NOW) == rest
    assert 4 <= rest <= 6


def test_rests_grow_with_probes_up_to_a_limit() -> None:
    """By the schedule, but never so long that a target waits for hours when it is back."""
    circuit, now = opened(), NOW
    for pause in (300.0, LONGEST_REST, LONGEST_REST):
        now += 3600
        assert circuit.rest(now) == 0
        assert not circuit.failed(now, probe=True)
        assert 0.8 * pause <= circuit.rest(now) <= 1.2 * pause


def test_one_success_closes_it() -> None:
    """And says so, for what waits to be hurried."""
    circuit = opened()
    assert circuit.succeeded()
    assert (circuit.open, circuit.rest(NOW)) == (False, 0)


def test_who_asks_for_time_gets_it() -> None:
    """At once, in full, and also when it is more than any rest of ours."""
    circuit = Circuit(PAUSES)
    assert circuit.failed(NOW, probe=False, asked=9000.0)
    assert circuit.rest(NOW) == pytest.approx(9000.0)


def test_jitter_is_a_fifth() -> None:
    """Up and down."""
    values = [jittered(100.0) for _ in range(200)]
    assert 80 <= min(values) < 95
    assert 105 < max(values) <= 120
