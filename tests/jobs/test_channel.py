"""How fast a provider may be used."""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import timedelta
from typing import Any, cast

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.config import Send, Source
from receiver.config.convert import Secret
from receiver.errors import ProviderError
from receiver.jobs.channel import MINUTE, RETRIES, Calls, Line, Window
from receiver.providers import built_in
from receiver.providers.contract import Request
from tests.harness import NOW


class Time:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


@given(st.integers(1, 30), st.lists(st.floats(0, 30), max_size=200))
def test_no_minute_has_more_requests_than_the_limit(limit: int, pauses: list[float]) -> None:
    """Whenever they are wanted: who waits as long as it says never exceeds the limit."""
    time = Time()
    window = Window(limit, time)
    taken: list[float] = []
    for pause in pauses:
        time.now += pause
        time.now += window.wait()
        assert window.free()
        window.take()
        taken.append(time.now)
    for start in taken:
        assert sum(start <= at < start + 60 for at in taken) <= limit


def test_the_limit_can_be_used_up() -> None:
    """Within one percent: a provider's minute is counted a little longer than 60 seconds."""
    time = Time()
    window = Window(300, time)
    sent = 0
    while time.now < 1000 + 10 * 60:
        time.now += window.wait()
        window.take()
        sent += 1
    assert 0.99 * 3000 <= sent <= 3000 + 300


def test_without_a_limit_there_is_nothing_to_wait_for() -> None:
    """Nor anything to remember."""
    window = Window(None)
    window.take()
    assert window.free() == math.inf
    assert window.wait() == 0


def test_what_the_last_process_sent_counts() -> None:
    """A restart gives no second helping."""
    time = Time()
    window = Window(3, time)
    for ago in (MINUTE + 1, 50.0, 20.0):
        window.take(ago)
    assert window.free() == 1
    window.take()
    assert abs(window.wait() - (MINUTE - 50.0)) < 0.001


def test_a_provider_that_is_down_for_days_is_only_down() -> None:
    """However many failures there were, each is told as what it is, and the line rests a minute."""

    class Down:
        """Nobody answers."""

        async def perform(self, request: object) -> object:
            """Fails."""
            raise ProviderError("no connection", retryable=True)

    async def play() -> None:
        settings = Send(api_key=Secret("key"))
        provider = built_in()["rayprotech"](Source(provider="rayprotech"))
        api = built_in()["rayprotech"].api
        assert api is not None
        line = Line("ray", api(provider, settings), cast("Any", Down()))
        request = Request[None](method="GET", url="http://x", read=lambda _: None)
        for _ in range(2000):
            line.reserve()
            with pytest.raises(ProviderError):
                await line.call(request)
        assert 47 < line.pause() <= 72
        assert 47 < line.rest <= 72
        assert line.room == 1  # to see whether it is back

    anyio.run(play)


def test_calls_are_counted_by_what_became_of_them() -> None:
    """How long each took, and of those that failed whether anything was done."""
    failures = [
        None,
        ProviderError(retryable=True),
        ProviderError(unknown=True),
        ProviderError(unknown=True, retryable=True),
        ProviderError("no credit"),
    ]

    class Moody:
        """Each request ends differently."""

        async def perform(self, request: object) -> object:
            """Answers or fails."""
            if (failure := failures.pop(0)) is not None:
                raise failure
            return None

    async def play() -> None:
        settings = Send(api_key=Secret("key"))
        provider = built_in()["rayprotech"](Source(provider="rayprotech"))
        api = built_in()["rayprotech"].api
        assert api is not None
        calls = Calls()
        line = Line("ray", api(provider, settings), cast("Any", Moody()), calls)
        request = Request[None](method="GET", url="http://x", read=lambda _: None)
        while failures:
            line.reserve()
            with suppress(ProviderError):
                await line.call(request)
        assert calls.seconds.count == 5
        assert calls.errors == {"retryable": 1, "unknown": 2, "refused": 1}

    anyio.run(play)


@pytest.mark.parametrize("most", [900.0, 60.0])
def test_nobody_silences_a_source_for_days(most: float) -> None:
    """What a provider asks for is bounded, for the line and for whoever tries again."""

    class Asks:
        """Asks for seven days."""

        async def perform(self, request: object) -> object:
            """Fails."""
            raise ProviderError("later", retryable=True, retry_after=604800.0)

    async def play() -> None:
        settings = Send(api_key=Secret("key"), retry_after_max=most)
        provider = built_in()["rayprotech"](Source(provider="rayprotech"))
        api = built_in()["rayprotech"].api
        assert api is not None
        line = Line("ray", api(provider, settings), cast("Any", Asks()))
        request = Request[None](method="GET", url="http://x", read=lambda _: None)
        line.reserve()
        with pytest.raises(ProviderError) as caught:
            await line.call(request)
        assert caught.value.retry_after == most
        assert most - 1 < line.rest <= most

    anyio.run(play)


@pytest.mark.parametrize(
    ("age", "asked", "due"),
    [
        (0, None, 5),
        (0, 600.0, 600),
        (0, 3600.0, 1000),  # no longer than it is worth sending
        (990, 3600.0, 10),
        (999, None, None),  # the next try of ours would be too late
        (999, 600.0, None),
    ],
)
def test_what_is_asked_for_puts_off_and_ends_nothing(
    age: int, asked: float | None, due: int | None
) -> None:
    """Seconds from now until the next try of a message that is worth sending for a thousand."""
    worth = NOW + timedelta(seconds=1000 - age)
    found = RETRIES.next(1, NOW, asked=asked, until=worth)
    if due is None:
        assert found is None
    else:
        assert found is not None
        assert 0.8 * due <= (found - NOW).total_seconds() <= 1.2 * due
        assert found <= worth
