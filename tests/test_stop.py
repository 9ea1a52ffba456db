"""STOP, the subscription book and the provider's own list say the same, whatever the order."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from receiver.fake import Fake
from receiver.handlers import OptOut, Subscribe
from receiver.service import commands
from receiver.service.execute import carry_out
from receiver.service.parts import Service
from receiver.service.reload import reload
from receiver.store import Correction
from receiver.store import book as book_
from receiver.store.jobs import Origin
from receiver.store.tx import Tx
from tests import stored
from tests.harness import (
    NOW,
    Clock,
    inbound,
    opened,
    push_of,
    settings,
    subscription,
    take,
    with_plugin,
    write,
)
from tests.jobs.test_deactivate import ANN, ENDED, take_keys, until_ended, until_job
from tests.jobs.test_send import sending
from tests.store.rows import opted_out

pytestmark = pytest.mark.anyio

ME = f"+{ANN}"
CONFIRMED = "You will get no more messages from us. To get them again, text START."
#: Before the STOPs of these tests, by the clock of Tilil.
BEFORE, EARLIER = "20261120115000", "20261120110000"
NEWS = {
    "name": "News",
    "short_code": "22915",
    "join": ["NEWS"],
    "leave": ["STOP NEWS"],
    "welcome": "Welcome",
    "goodbye": "Goodbye",
    "already": "You have it",
}


def raw(scope: str = "all", **news: Any) -> dict[str, Any]:
    """The shipped plugins, with a service of our own, and the loop guard as it is shipped."""
    configured = settings()
    configured["plugins"]["opt_out"] = {"scope": scope}
    configured["plugins"]["subscriptions"] = {"services": [{**NEWS, **news}]}
    return configured


def activation(at: str, **fields: Any) -> bytes:
    """Tilil says that somebody joined."""
    return subscription("activation", at, mobile=ANN, **fields)


def message(id_: int, text: str, **fields: Any) -> bytes:
    """The same person writes."""
    return inbound(id_, text, **{"mobile": ANN, **fields})


def said(answer: Any) -> str:
    """What an answer says to the person."""
    return str(json.loads(answer.body)["result_message"])


def book(service: Service) -> list[tuple[Any, ...]]:
    """Service and state of each line."""
    lines = stored.subscriptions(service.store.address)
    return [(line.service_id, line.state) for line in lines]


def correction(**fields: Any) -> Correction:
    """Tilil's list has the person."""
    line = {"source": "tilil", "short_code": "22915", "service_id": "44", "active": True}
    return Correction(**{"msisdn": ME, **line, **fields})


async def unwilling(service: Service, fake: Fake, clock: Clock) -> None:
    """Tilil refuses our key; the person subscribes, says STOP, and the deactivation waits."""
    take_keys(fake, "another")
    await take(service, activation(BEFORE))
    await take(service, message(1, "STOP"))
    await until_job(service, attempts=1)
    clock.move(seconds=2)


async def willing(service: Service, fake: Fake, clock: Clock) -> None:
    """Tilil takes our key again; returns when nothing waits."""
    take_keys(fake)
    clock.move(seconds=60)
    await until_ended(service)


async def test_an_older_activation_leaves_the_deactivation_alone(tmp_path: Path) -> None:
    """It arrives after the STOP and happened before: the book says left, and Tilil is told so."""
    clock = Clock()
    async with sending(tmp_path, raw=raw(), clock=clock) as (service, fake):
        await unwilling(service, fake, clock)
        await take(service, activation(EARLIER))
        await willing(service, fake, clock)
        assert book(service) == [("44", "inactive")]
        assert fake.managed == ENDED


@pytest.mark.parametrize("hours", [-1, 0])
async def test_a_list_leaves_the_deactivation_alone(tmp_path: Path, hours: int) -> None:
    """An older one, or one of now, which has the person since Tilil has not been told yet."""
    clock = Clock()
    async with sending(tmp_path, raw=raw(), clock=clock) as (service, fake):
        await unwilling(service, fake, clock)
        then = clock.now + timedelta(hours=hours)
        await carry_out(
            service, commands.CorrectBook(corrections=[correction()], time=then), "tests"
        )
        await willing(service, fake, clock)
        assert book(service) == [("44", "inactive")]
        assert set(fake.managed) == set(ENDED)


async def test_a_stop_overtakes_an_activation(tmp_path: Path) -> None:
    """Nothing is active yet when it comes: the activation is booked, and ended at Tilil."""
    clock = Clock()
    async with sending(tmp_path, raw=raw(), clock=clock) as (service, fake):
        await take(service, message(1, "STOP"))
        clock.move(minutes=1)
        assert said(await take(service, activation(BEFORE))) == ""
        assert book(service) == [("44", "inactive")]
        await until_ended(service)
        assert fake.managed == ENDED


async def test_a_stop_that_was_lifted_still_ended_what_was_before(tmp_path: Path) -> None:
    """START brings no subscription back, whenever its activation comes."""
    async with sending(tmp_path, raw=raw()) as (service, fake):
        for number, text in enumerate(("STOP", "START")):
            await take(service, message(number, text))
        await take(service, activation(BEFORE))
        await until_ended(service)
        assert (book(service), fake.managed) == ([("44", "inactive")], ENDED)


async def test_who_joins_anew_is_subscribed(tmp_path: Path) -> None:
    """An activation that happened after the STOP counts; replies still wait for START."""
    clock = Clock()
    async with sending(tmp_path, raw=raw(), clock=clock) as (service, fake):
        await take(service, message(1, "STOP"))
        clock.move(minutes=10)
        assert said(await take(service, activation("20261120120500"))) == ""
        assert book(service) == [("44", "active")]
        await until_ended(service)
        assert fake.managed == []


@pytest.mark.parametrize("first", ["activation", "stop"])
async def test_both_in_one_commit(tmp_path: Path, first: str) -> None:
    """An activation and a STOP that are stored together: left in the book, told to Tilil."""
    async with sending(tmp_path, raw=raw()) as (service, fake):
        both = [activation(BEFORE), message(1, "STOP")]
        answers = await asyncio.gather(
            *[take(service, push) for push in (both if first == "activation" else both[::-1])]
        )
        assert sorted(map(said, answers)) == ["", CONFIRMED]
        await until_ended(service)
        assert (book(service), fake.managed) == ([("44", "inactive")], ENDED)


async def test_a_word_and_stop_in_one_commit(tmp_path: Path) -> None:
    """A list of our own is left by a STOP that is stored with the word that joined it."""
    async with opened(tmp_path, raw()) as service:
        await asyncio.gather(take(service, message(1, "NEWS")), take(service, message(2, "STOP")))
        assert book(service) == [("", "inactive")]


async def test_a_stop_of_another_scope_ends_nothing(tmp_path: Path) -> None:
    """Nor does it end what is activated late."""
    async with sending(tmp_path, raw=raw("short_code")) as (service, fake):
        await take(service, message(1, "STOP", shortcode="70700"))
        await take(service, activation(BEFORE))
        await until_ended(service)
        assert (book(service), fake.managed) == ([("44", "active")], [])


@pytest.mark.parametrize("service_id", ["", "0"])
async def test_a_list_of_our_own_is_ended_here_alone(tmp_path: Path, service_id: str) -> None:
    """Tilil knows no service of it, so there is nothing to tell, and no dead letter."""
    async with sending(tmp_path, raw=raw()) as (service, fake):
        await take(service, message(1, "NEWS"))
        await take(service, activation(BEFORE, service_id=service_id))
        await take(service, message(2, "STOP"))
        assert await service.store.reader.jobs() == []
        assert {state for _, state in book(service)} == {"inactive"}
        assert fake.managed == []


async def test_an_opt_out_by_hand_ends_subscriptions_too(tmp_path: Path) -> None:
    """However somebody is opted out, they are not subscribed."""
    async with sending(tmp_path, raw=raw()) as (service, fake):
        await take(service, activation(BEFORE))
        await carry_out(service, commands.AddOptOut(ME), "tests")
        await until_ended(service)
        assert (book(service), fake.managed) == ([("44", "inactive")], ENDED)


async def test_a_reload_tells_who_can_be_told(tmp_path: Path) -> None:
    """The store knows the sources of the configuration that the service goes by now."""
    configured = raw()
    async with opened(tmp_path, configured) as service:
        await take(service, activation(BEFORE))
        configured["sources"]["tilil"]["send"] = {"api_key": "k", "url": "http://127.0.0.1:9"}
        write(tmp_path, configured)
        await reload(service)
        await take(service, message(1, "STOP"))
        (job,) = await service.store.reader.jobs(kind="deactivate")
        assert job.payload == {"msisdn": ME, "short_code": "22915", "service_id": "44"}


# Confirmed once


async def test_one_of_two_stops_is_confirmed(tmp_path: Path) -> None:
    """Also if both are in one commit: the other's answer is the plain one, to the byte.

    They are for several numbers of ours, each of which the loop guard lets reply.
    """
    async with opened(tmp_path, raw()) as service:
        plain = await take(service, inbound(9, "nothing"))
        stops = [message(n, "STOP", shortcode=f"2291{n}") for n in (1, 2, 3)]
        answers = await asyncio.gather(*[take(service, stop) for stop in stops])
        assert [said(answer) for answer in answers] == [CONFIRMED, "", ""]
        assert answers[1] == plain
        assert await take(service, stops[1]) == plain
        assert {event.note for event in stored.events(service.store.address)} == {None}
        history = await service.store.reader.opt_outs.history()
        assert [change.change for change in history] == ["out", "out", "out"]


async def test_one_of_two_joins_is_welcomed(tmp_path: Path) -> None:
    """The same for words of services, also without the loop guard, which would keep it back."""
    async with opened(tmp_path, {**raw(), "loop_guard": {"enabled": False}}) as service:
        answers = await asyncio.gather(*[take(service, message(n, "NEWS")) for n in (1, 2)])
        assert [said(answer) for answer in answers] == ["Welcome", ""]
        answers = await asyncio.gather(*[take(service, message(n, "STOP NEWS")) for n in (3, 4)])
        assert [said(answer) for answer in answers] == ["Goodbye", ""]


# Clocks


async def test_what_people_write_counts_from_its_arrival(tmp_path: Path) -> None:
    """A gateway that writes hours from 1 to 12 has STOP NEWS before the NEWS of noon."""
    clock = Clock()
    async with opened(tmp_path, raw(), clock=clock) as service:
        await take(service, message(1, "NEWS", timestamp="20261120124700"))
        clock.move(minutes=23)
        answer = await take(service, message(2, "STOP NEWS", timestamp="20261120011000"))
        assert (said(answer), book(service)) == ("Goodbye", [("", "inactive")])


async def test_the_hour_that_london_has_twice(tmp_path: Path) -> None:
    """Joined at 00:50 UTC and left at 01:00 UTC, which clocks there show as 01:50 and 01:00."""
    clock = Clock(datetime.fromisoformat("2026-10-25T00:50:01Z"))
    configured = raw()
    configured["sources"]["tilil"]["timezone"] = "Europe/London"
    async with opened(tmp_path, configured, clock=clock) as service:
        await take(service, subscription("activation", "20261025015000"))
        clock.move(minutes=10)
        await take(service, subscription("deactivation", "20261025010000"))
        assert book(service) == [("44", "inactive")]


@pytest.mark.parametrize("year", ["2062", "2099"])
async def test_nothing_happens_after_its_arrival(tmp_path: Path, year: str) -> None:
    """A time to come is replaced by that of the arrival, with a note, and does not win for ever."""
    clock = Clock()
    async with opened(tmp_path, raw(), clock=clock) as service:
        await take(service, activation(f"{year}1120120000"))
        [event] = stored.events(service.store.address)
        assert event.event.time == NOW
        assert f"the provider's is {year}-11-20 09:00:00 UTC" in (event.note or "")
        clock.move(minutes=1)
        await take(service, subscription("deactivation", "20261120120100", mobile=ANN))
        assert book(service) == [("44", "inactive")]


async def test_a_clock_may_be_some_minutes_fast(tmp_path: Path) -> None:
    """The event says so; in the book it happened when it arrived, so a STOP after it wins."""
    clock = Clock()
    async with opened(tmp_path, raw(), clock=clock) as service:
        await take(service, activation("20261120120400"))
        assert [event.note for event in stored.events(service.store.address)] == [None]
        clock.move(seconds=1)
        await take(service, message(1, "STOP"))
        assert book(service) == [("44", "inactive")]


async def test_notes_stand_beside_each_other(tmp_path: Path) -> None:
    """What was withheld is known as that, also of an event whose time was replaced."""
    configured = raw()
    configured["plugins"]["keyword_reply"] = {"rules": [{"keyword": "GAME", "reply": "Hi"}]}
    async with opened(tmp_path, configured) as service:
        await opted_out(service.store, OptOut(ME), NOW)
        assert said(await take(service, message(1, "game", timestamp="20991120120000"))) == ""
        note = stored.event(service.store.address, 1).note or ""
        assert note.startswith("reply withheld: the person has opted out; time of arrival taken")


def activate_in_2096(tx: Tx) -> None:
    """Books what a provider says of a time to come, as an earlier version did."""
    origin = Origin(time=4_000_000_000_000_000, source="tilil", received_at=0, now=0)
    activated = Subscribe(msisdn=ME, short_code="22915", service_id="44")
    assert book_.note(tx, origin, "subscriptions.note", activated)


async def test_a_line_of_the_future_is_ended_too(tmp_path: Path) -> None:
    """What an earlier version booked for 2096 does not outlive a STOP."""
    async with opened(tmp_path, raw()) as service:
        await service.store.run(activate_in_2096)
        await take(service, message(1, "STOP"))
        assert book(service) == [("44", "inactive")]


@pytest.mark.parametrize("scope", ["all", "short_code"])
async def test_an_old_start_out_of_the_quarantine_lifts_no_later_stop(
    tmp_path: Path, scope: str
) -> None:
    """It counts from its arrival: what the person said since stands, and nobody is told else."""
    clock = Clock()
    async with opened(tmp_path, raw(scope), clock) as service:
        old = push_of(message(1, "START"), now=clock())
        clock.move(hours=1)
        await take(service, message(2, "STOP"))
        await service.intake.retake("tilil", old)
        (entry,) = await service.store.reader.opt_outs.find()
        assert entry.reason == "STOP"
        assert await service.store.reader.messages.find() == []
        clock.move(hours=1)
        await take(service, message(3, "START"))
        assert await service.store.reader.opt_outs.find() == []


async def test_an_old_start_that_is_tried_again_lifts_no_later_stop(tmp_path: Path) -> None:
    """A handler that failed hears it after the STOP; what stood before it is taken back."""
    plugin = """
from receiver.handlers import OptIn, on_message
tries = []
@on_message(keyword="JOIN")
def join(event, context):
    tries.append(event)
    if len(tries) == 1:
        raise RuntimeError("not now")
    return [OptIn(event.data.from_), "welcome"]
"""
    clock = Clock()
    async with opened(tmp_path, with_plugin(plugin, "opt_out"), clock) as service:
        earlier = OptOut(ME, "operator", "70700")
        await opted_out(service.store, earlier, clock())
        clock.move(seconds=1)
        await take(service, message(1, "JOIN"))
        await until_job(service, attempts=1)
        clock.move(seconds=1)
        await take(service, message(2, "STOP"))
        clock.move(minutes=1)
        await until_ended(service)
        (entry,) = await service.store.reader.opt_outs.find()
        assert (entry.reason, entry.short_code) == ("STOP", "")
        assert await service.store.reader.messages.find() == []
