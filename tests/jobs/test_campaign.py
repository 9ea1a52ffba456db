"""Campaigns reach each person once at most, in their time, and leave room for replies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from receiver.actions import Send
from receiver.errors import ProviderError
from receiver.handlers import OptOut
from receiver.jobs.channel import Line, Window
from receiver.outgoing import OutgoingMessage, Schedule, Within
from receiver.providers import built_in
from receiver.service import campaigns
from receiver.service.commands import AddPeople, ChangeCampaign, DraftCampaign
from receiver.service.parts import Service
from receiver.store import (
    Attempt,
    Failure,
    StoredCampaign,
    StoredMessage,
    Work,
    job_changes,
    jobs,
    open_reader,
    to_micros,
)
from receiver.store import campaigns as store_campaigns
from receiver.store.campaigns import Person
from receiver.store.messages import Outcome
from tests.harness import (
    NOW,
    Clock,
    inbound,
    opened,
    settings,
    take,
    until_async,
    with_plugin,
)
from tests.jobs.test_send import Refusing, sending
from tests.store.rows import opted_out

pytestmark = pytest.mark.anyio

NAIROBI = ZoneInfo("Africa/Nairobi")
PEOPLE = [f"+25471100{number:04}" for number in range(1000)]


async def draft(service: Service, people: list[str], source: str = "tilil", **schedule: Any) -> int:
    """Makes a campaign with these people that has not started; its id."""
    plan = Schedule(**{"start_at": service.intake.clock(), **schedule})
    made = await campaigns.carry_out(service, DraftCampaign(source=source, schedule=plan))
    assert made.campaign is not None, made.failures
    everybody = [Person(person, "news") for person in people]
    await campaigns.carry_out(service, AddPeople(campaign=made.campaign, people=everybody))
    return made.campaign


async def begin(service: Service, people: list[str], source: str = "tilil", **plan: Any) -> int:
    """Starts a campaign; its id."""
    id_ = await draft(service, people, source, **plan)
    assert not (await change(service, id_, "start")).failures
    return id_


async def change(service: Service, id_: int, act: Any) -> Any:
    """Starts, pauses, resumes or cancels a campaign."""
    return await campaigns.carry_out(service, ChangeCampaign(campaign=id_, act=act))


async def until_state(service: Service, id_: int, state: str) -> StoredCampaign:
    """The campaign, as soon as it is in this state."""

    async def there() -> StoredCampaign | None:
        found = await service.store.reader.campaigns.find(id_)
        return found if found is not None and found.state == state else None

    return await until_async(there, f"campaign {id_} {state}")


async def messages(service: Service, id_: int) -> list[StoredMessage]:
    """The messages of a campaign in the order of its people."""
    found = await service.store.reader.messages.find(campaign=id_, limit=2000)
    return found[::-1]


@contextmanager
def refusing(service: Service, error: ProviderError) -> Iterator[None]:
    """Has every request of the source fail like this."""
    assert service.sending is not None
    line = service.sending.lines["tilil"]
    caller = line._caller
    line._caller = Refusing(caller, error)  # type: ignore[assignment] # it only refuses
    yield
    line._caller = caller


async def until_tried(service: Service, id_: int) -> list[StoredMessage]:
    """The messages of a campaign, as soon as all were tried."""

    async def there() -> list[StoredMessage] | None:
        found = await messages(service, id_)
        done = all(each.attempts and each.state != "sending" for each in found)
        return found if done else None

    return await until_async(there, f"campaign {id_} tried")


@pytest.mark.parametrize("source", built_in())
async def test_everybody_gets_one_message(tmp_path: Path, source: str) -> None:
    """Through every gateway; each message has the id that the gateway gave it."""
    async with sending(tmp_path, source, poll=False, bulk=True) as (service, providers):
        id_ = await begin(service, PEOPLE[:9], source, valid_for=3600)
        await until_state(service, id_, "done")
        assert service.sending is not None
        line = service.sending.lines[source]
        assert providers.counts.requests == (1 if line.api.bulk else 9)
        found = await messages(service, id_)
        assert {(each.state, each.error) for each in found} == {("sent", None)}
        sent = {each.to.removeprefix("+"): each.id for each in providers.sent}
        assert sent == {each.to.removeprefix("+"): each.provider_id for each in found}
        assert len(providers.sent) == 9
        assert not await service.store.reader.jobs()


async def test_a_person_who_is_named_twice_is_one(tmp_path: Path) -> None:
    """However the commands come that add people."""
    async with opened(tmp_path, sendable()) as service:
        id_ = await draft(service, [*PEOPLE[:3], PEOPLE[1]])
        again = AddPeople(campaign=id_, people=[Person(PEOPLE[0], "other")])
        assert (await campaigns.carry_out(service, again)).changed == 0
        assert [each.text for each in await messages(service, id_)] == ["news"] * 3


async def test_a_draft_sends_nothing_and_takes_nobody_later(tmp_path: Path) -> None:
    """A command that was interrupted leaves it; who is added after the start is refused."""
    async with sending(tmp_path) as (service, providers):
        await draft(service, PEOPLE[:3])
        id_ = await begin(service, PEOPLE[:1])
        await until_state(service, id_, "done")
        late = AddPeople(campaign=id_, people=[Person(PEOPLE[5], "news")])
        assert (await campaigns.carry_out(service, late)).failures
        assert len(providers.sent) == 1


async def test_a_stop_counts_at_once(tmp_path: Path) -> None:
    """Opt-outs are looked up when it is a person's turn, not when the campaign is made."""
    async with sending(tmp_path) as (service, providers):
        id_ = await draft(service, PEOPLE[:5])
        await opted_out(service.store, OptOut(PEOPLE[2], "STOP"), NOW)
        await change(service, id_, "start")
        await until_state(service, id_, "done")
        found = await messages(service, id_)
        assert [each.state for each in found] == ["sent", "sent", "dead", "sent", "sent"]
        assert (found[2].error, found[2].attempts) == ("the person has opted out", 0)
        assert len(providers.sent) == 4
        assert not await service.store.reader.jobs(state="dead")


async def test_it_waits_for_its_time(tmp_path: Path) -> None:
    """It starts then, in the hours of the source's zone."""
    clock = Clock()  # noon in Nairobi
    async with sending(tmp_path, clock=clock) as (service, providers):
        start = NOW + timedelta(hours=9)
        id_ = await begin(service, PEOPLE[:2], start_at=start, within=Within(480, 1200))
        clock.move(hours=9, minutes=1)  # nine in the evening
        await until_async(lambda: due(service, datetime(2026, 11, 21, 5, 0, tzinfo=UTC)), "put off")
        assert not providers.sent
        clock.move(hours=11)
        await until_state(service, id_, "done")
        assert len(providers.sent) == 2


async def due(service: Service, moment: datetime) -> bool:
    """True if the one campaign is due then."""
    [job] = await service.store.reader.jobs(kind="campaign")
    return bool(job.due_at == moment)


async def test_who_waits_too_long_gets_nothing(tmp_path: Path) -> None:
    """After --valid-for the rest is expired, with the reason."""
    clock = Clock()
    async with sending(tmp_path, clock=clock) as (service, providers):
        start = NOW + timedelta(hours=1)
        id_ = await begin(service, PEOPLE[:2], start_at=start, valid_for=60)
        clock.move(hours=2)
        await until_state(service, id_, "done")
        assert {each.status for each in await messages(service, id_)} == {"expired"}
        assert not providers.sent


async def test_a_rate_spreads_it(tmp_path: Path) -> None:
    """No more people a minute than --rate says; the rest goes on with the clock."""
    clock = Clock()
    async with sending(tmp_path, clock=clock) as (service, providers):
        id_ = await begin(service, PEOPLE[:4], rate=2)
        await until_async(lambda: sent(providers, 2), "two sent")
        await until_async(lambda: due(service, NOW + timedelta(minutes=1)), "put off")
        assert len(providers.sent) == 2
        clock.move(minutes=1)
        await until_state(service, id_, "done")
        assert len(providers.sent) == 4


async def sent(providers: Any, people: int) -> bool:
    """True if so many messages have arrived."""
    return len(providers.sent) == people


async def test_paused_nothing_leaves_until_it_is_resumed(tmp_path: Path) -> None:
    """And a cancelled one sends to nobody who still waits."""
    async with sending(tmp_path) as (service, providers):
        later = service.intake.clock() + timedelta(hours=1)
        paused = await begin(service, PEOPLE[:2], start_at=later)
        cancelled = await begin(service, PEOPLE[:3], start_at=later)
        for id_, act in ((paused, "pause"), (cancelled, "cancel")):
            assert not (await change(service, id_, act)).failures
        assert not await service.store.reader.jobs()
        gone = await messages(service, cancelled)
        assert {(each.state, each.status) for each in gone} == {("dead", "cancelled")}
        assert (await change(service, cancelled, "resume")).failures
        await change(service, paused, "resume")
        [job] = await service.store.reader.jobs()
        assert (job.kind, job.handler) == ("campaign", "operator")
        assert not providers.sent


async def test_no_answer_is_unknown_and_not_sent_again(tmp_path: Path) -> None:
    """What the gateway may have taken is on the phones already."""
    async with sending(tmp_path) as (service, _):
        with refusing(service, ProviderError("no answer", unknown=True)):
            id_ = await begin(service, PEOPLE[:3])
            await until_state(service, id_, "done")
        found = await messages(service, id_)
        assert {(each.state, each.attempts) for each in found} == {("unknown", 1)}


async def test_a_refusal_for_now_waits_with_the_campaign(tmp_path: Path) -> None:
    """It is tried again after a pause, and those go first who were never tried."""
    clock = Clock()
    async with sending(tmp_path, clock=clock) as (service, providers):
        with refusing(service, ProviderError("no credit", retryable=True)):
            id_ = await begin(service, PEOPLE[:3])
            found = await until_tried(service, id_)
        assert {(each.state, each.error) for each in found} == {("waiting", "no credit")}
        assert [job.kind for job in await service.store.reader.jobs()] == ["campaign"]
        clock.move(seconds=60)
        await until_state(service, id_, "done")
        assert len(providers.sent) == 3


async def test_who_is_refused_for_now_after_a_cancel_gets_nothing(tmp_path: Path) -> None:
    """What was under way ends with the campaign."""
    async with opened(tmp_path, sendable()) as service:
        id_ = await begin(service, PEOPLE[:1], start_at=NOW + timedelta(hours=1))
        store, now, owner = service.store, to_micros(NOW), service.workers.runner.owner
        [one] = await store.reader.campaigns.waiting(id_, limit=1)
        attempt = Attempt(one.id, one.outgoing.to)
        await store.run(store_campaigns.begin, id_, [[attempt]], now, owner, now)
        await change(service, id_, "cancel")
        again = Outcome(one.id, Failure("no credit"), now, owner, again=True)
        await store.run(store_campaigns.settle, id_, [again], now)
        [found] = await messages(service, id_)
        assert (found.state, found.status) == ("dead", "cancelled")


async def test_failures_of_a_campaign_do_not_hold_replies_up(tmp_path: Path) -> None:
    """A gateway that wants time before the next request for many has its own rest."""
    async with sending(
        tmp_path, "rayprotech", options={"faults": {"429": 1.0}, "retry_after": 600}, poll=False
    ) as (service, providers):
        assert service.sending is not None
        line = service.sending.lines["rayprotech"]
        await begin(service, PEOPLE[:2], "rayprotech")
        await until_async(lambda: rests(line), "the campaign rests")
        assert (line.rest, line.room > 0) == (0.0, True)
        providers.set_faults({})
        reply = Send(source="rayprotech", to=PEOPLE[500], text="reply")
        await service.store.add_message(reply, service.intake.clock())
        await until_async(lambda: sent(providers, 1), "the reply sent")


async def rests(line: Line) -> bool:
    """True while a campaign may not go on."""
    return line.spare_pause() > 0


async def test_a_refusal_for_good_is_no_dead_letter(tmp_path: Path) -> None:
    """The message has the reason; nobody has to look at a job for each."""
    async with sending(tmp_path) as (service, _):
        with refusing(service, ProviderError("wrong", code="1003")):
            id_ = await begin(service, PEOPLE[:3])
            await until_state(service, id_, "done")
        found = await messages(service, id_)
        assert {(each.state, each.code) for each in found} == {("dead", "1003")}
        assert not await service.store.reader.jobs()


async def test_a_providers_file_that_fails_at_a_message_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its message ends with the reason; the others of the source leave."""

    def fails(message: OutgoingMessage) -> None:
        if message.to == PEOPLE[0]:
            raise KeyError("x")

    async with sending(tmp_path) as (service, _):
        assert service.sending is not None
        monkeypatch.setattr(service.sending.lines["tilil"].api, "check", fails)
        id_ = await begin(service, PEOPLE[:2])
        await until_state(service, id_, "done")
        assert [each.state for each in await messages(service, id_)] == ["dead", "sent"]


async def test_a_chunk_is_one_request_with_an_answer_for_each(tmp_path: Path) -> None:
    """Whoever is refused has the reason, the others their ids; opted-out people are not in it."""
    async with sending(tmp_path, "rayprotech", poll=False, bulk_size=4) as (service, providers):
        people = [*PEOPLE[:3], "+254711099901", *PEOPLE[3:6]]
        id_ = await draft(service, people, "rayprotech")
        await opted_out(service.store, OptOut(PEOPLE[1], "STOP"), NOW)
        await change(service, id_, "start")
        await until_state(service, id_, "done")
        found = await messages(service, id_)
        states = [each.state for each in found]
        assert states == ["sent", "dead", "sent", "dead", "sent", "sent", "sent"]
        assert (found[3].error, found[3].attempts) == ("invalid number", 1)
        assert (providers.counts.requests, len(providers.sent)) == (2, 5)


async def test_a_chunk_without_an_answer_is_unknown_as_a_whole(tmp_path: Path) -> None:
    """Nobody in it gets it again; a restart finds the requests of the last minute as they were."""
    faults = {"faults": {"reset": 1.0}}
    async with sending(tmp_path, "rayprotech", options=faults, poll=False, bulk_size=3) as (
        service,
        providers,
    ):
        id_ = await begin(service, PEOPLE[:5], "rayprotech")
        await until_state(service, id_, "done")
        states = {(each.state, each.attempts) for each in await messages(service, id_)}
        assert states == {("unknown", 1)}
        assert len(providers.sent) == 5
        since = NOW - timedelta(minutes=1)
        times = await service.store.reader.messages.attempts("rayprotech", since)
        assert [bulk for _, bulk in times] == [True, True]


async def test_the_rate_of_requests_for_many_holds(tmp_path: Path) -> None:
    """Beside that of all requests, and over a restart; replies have theirs."""
    limits: dict[str, Any] = {"bulk": True, "bulk_rate": 2, "bulk_size": 2}
    async with sending(tmp_path, "talkntalk", **limits) as (service, providers):
        await begin(service, PEOPLE[:6], "talkntalk")
        await until_async(lambda: sent(providers, 4), "two requests")
    async with sending(tmp_path, "talkntalk", **limits) as (service, providers):
        assert service.sending is not None
        line = service.sending.lines["talkntalk"]
        await until_async(lambda: rests(line), "the rate is remembered")
        assert (line.room > 0, line.spare_room, providers.sent) == (True, 0, [])


async def test_what_waits_while_the_service_stops_waits_for_the_next_start(tmp_path: Path) -> None:
    """A source whose queues have ended can send all the same; no look makes anything dead."""
    silent = {"faults": {"timeout": 1.0}}
    async with sending(tmp_path, options=silent, timeout=1.5, rate=1) as (service, providers):
        ids = [
            await service.store.add_message(Send(source="tilil", to=person, text="x"), NOW)
            for person in PEOPLE[:2]
        ]
        id_ = await begin(service, PEOPLE[2:4])
        await until_async(lambda: sent(providers, 1), "the first under way")
    async with open_reader(tmp_path / "receiver.db") as reader:
        [first, second] = [(await reader.messages.find(id_=each))[0] for each in ids]
        assert (first.state, second.state) == ("unknown", "waiting")
        campaign = await reader.campaigns.find(id_)
        assert campaign is not None
        assert campaign.state == "running"


async def test_texts_of_their_own_leave_one_by_one(tmp_path: Path) -> None:
    """A request for many has one text."""
    async with sending(tmp_path, "rayprotech", poll=False) as (service, providers):
        id_ = await draft(service, [], "rayprotech")
        people = [Person(person, f"news {person}") for person in PEOPLE[:3]]
        await campaigns.carry_out(service, AddPeople(campaign=id_, people=people))
        await change(service, id_, "start")
        await until_state(service, id_, "done")
        assert providers.counts.requests == 3
        assert all(each.to in each.text for each in providers.sent)


async def test_what_was_under_way_at_a_crash_is_unknown(tmp_path: Path) -> None:
    """The next process sends to the others, and to nobody twice."""
    async with opened(tmp_path, sendable()) as service:
        id_ = await begin(service, PEOPLE[:4], start_at=NOW + timedelta(hours=1))
        store, now = service.store, to_micros(NOW)
        waiting = await store.reader.campaigns.waiting(id_, limit=2)
        chunk = [Attempt(each.id, each.outgoing.to) for each in waiting]
        owner = service.workers.runner.owner
        await store.run(store_campaigns.begin, id_, [chunk], now, owner, now)
    clock = Clock(NOW + timedelta(hours=2))
    async with sending(tmp_path, clock=clock) as (service, providers):
        await until_state(service, id_, "done")
        states = [each.state for each in await messages(service, id_)]
        assert states == ["unknown", "unknown", "sent", "sent"]
        assert len(providers.sent) == 2


async def test_a_source_that_cannot_send_pauses_its_campaigns(tmp_path: Path) -> None:
    """With the reason; nobody's message is lost or dead."""
    async with opened(tmp_path, sendable()) as service:
        id_ = await begin(service, PEOPLE[:2], start_at=NOW + timedelta(hours=1))
    clock = Clock(NOW + timedelta(hours=2))
    async with opened(tmp_path, settings(), clock) as service:
        found = await until_state(service, id_, "paused")
        assert "has no [sources.tilil.send]" in (found.error or "")
        assert {each.state for each in await messages(service, id_)} == {"waiting"}


async def test_a_clock_that_is_set_does_not_move_the_start(tmp_path: Path) -> None:
    """It goes by the clock on the wall: its job is looked at again."""
    async with opened(tmp_path, sendable()) as service:
        start = NOW + timedelta(hours=1)
        id_ = await begin(service, PEOPLE[:1], start_at=start)
        await until_async(lambda: due(service, start), "put off")
        await service.store.run(jobs.move, 7200 * 1_000_000)
        await service.bring_forward()
        await until_async(lambda: due(service, start), "due as before")
        found = await service.store.reader.campaigns.find(id_)
        assert found is not None
        assert found.schedule.start_at == start


MANY = """
from datetime import timedelta
from receiver.handlers import Send, on_message

@on_message()
async def tells(event, context):
    later = event.receivedat + timedelta(hours=1)
    people = ("0711000002", "0711000001")
    return Send(to="0711000001", others=people, text="goal", at=later, source="tilil")
"""


async def test_a_handler_may_name_many_and_a_time(tmp_path: Path) -> None:
    """It is a campaign of the event, once, whatever ends the process before its time."""
    raw = with_plugin(MANY)
    async with sending(tmp_path, raw=raw) as (service, providers):
        await take(service, inbound(1))
        await take(service, inbound(1))

        async def there() -> list[StoredCampaign]:
            return await service.store.reader.campaigns.every(limit=9)

        [campaign] = await until_async(there, "a campaign")
        assert (campaign.handler, campaign.state) == ("mine.tells", "running")
        assert campaign.schedule.start_at == NOW + timedelta(hours=1)
    clock = Clock(NOW + timedelta(hours=2))
    async with sending(tmp_path, raw=with_plugin(MANY), clock=clock) as (service, providers):
        await until_state(service, campaign.id, "done")
        assert sorted(each.to for each in providers.sent) == ["254711000001", "254711000002"]
        assert {each.event for each in await messages(service, campaign.id)} != {None}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"others": ("+254711000001",) * 500}, "at most 500 people, got 501"),
        ({"at": datetime(2026, 11, 20, 9, 0)}, "needs a time zone"),  # noqa: DTZ001 - the fault
        ({"others": ("+254711000001",), "link_id": "x"}, "good for one message"),
        ({"at": datetime.max.replace(tzinfo=UTC)}, "expected a start before 2100"),
        ({"valid_for": 10**20}, "valid for 1 s to 366 days"),
        ({"valid_for": 0}, "valid for 1 s to 366 days"),
    ],
)
def test_what_cannot_be_a_campaign_is_a_fault_of_the_handler(
    fields: dict[str, Any], message: str
) -> None:
    """It is told when the action is made."""
    with pytest.raises(ValueError, match=message):
        Send(to="+254711000000", text="x", **fields)


async def test_the_job_of_a_campaign_is_not_dropped(tmp_path: Path) -> None:
    """The campaign would stand still; the refusal says what ends it."""
    async with opened(tmp_path, sendable()) as service:
        await begin(service, PEOPLE[:1], start_at=NOW + timedelta(hours=1))
        [job] = await service.store.reader.jobs()
        found = await service.store.run(job_changes.drop, job.id, to_micros(NOW))
        assert "`receiver campaigns cancel 1`" in (found.refused or "")
        assert await service.store.reader.jobs()


async def test_replies_go_before_a_campaign(tmp_path: Path) -> None:
    """While one waits for room, a campaign begins nothing; of a rate it leaves a tenth."""
    async with sending(tmp_path, rate=20, connections=4) as (service, providers):
        assert service.sending is not None
        line = service.sending.lines["tilil"]
        await begin(service, PEOPLE[:40])
        await until_async(lambda: sent(providers, 18), "eighteen sent")
        assert line.spare_room <= 0 < line.room
        reply = Send(source="tilil", to=PEOPLE[500], text="reply")
        await service.store.add_message(reply, service.intake.clock())
        await until_async(lambda: sent(providers, 19), "the reply sent")
        assert providers.sent[-1].text == "reply"


async def test_while_a_reply_waits_for_room_a_campaign_begins_nothing(tmp_path: Path) -> None:
    """Whatever room there is for it is the reply's."""
    async with sending(tmp_path) as (service, _):
        assert service.sending is not None
        line = service.sending.lines["tilil"]
        [replies] = [queue for queue in line.queues if queue.kind == "send"]
        assert line.spare_room > 0
        replies._found.append(Work(id=1, person=None, handler="", attempts=1, since=NOW, seq=None))
        assert line.spare_room == 0 < line.room
        replies._found.clear()


def test_a_tenth_of_a_window_is_kept() -> None:
    """Rounded up, but for a limit of one."""
    for limit, most in ((1, 1), (2, 1), (10, 9), (300, 270), (301, 270)):
        assert Window(limit).free(spare=True) == most
    window = Window(2, lambda: 0.0)
    window.take()
    assert (window.wait(), window.wait(spare=True) > 60) == (0.0, True)


@pytest.mark.parametrize(
    ("within", "now", "expected"),
    [
        (None, "09:00", "09:00"),
        ("08:00-20:00", "09:00", "09:00"),
        ("08:00-20:00", "07:59", "08:00"),
        ("08:00-20:00", "20:00", "1 08:00"),
        ("20:00-08:00", "07:59", "07:59"),
        ("20:00-08:00", "08:00", "20:00"),
        ("20:00-08:00", "23:00", "23:00"),
    ],
)
def test_hours_are_those_of_the_zone(within: str | None, now: str, expected: str) -> None:
    """The first moment at which a message may leave."""

    def moment(text: str) -> datetime:
        *days, clock = text.split()
        hour, minute = map(int, clock.split(":"))
        return datetime(2026, 11, 20 + int(days[0] if days else 0), hour, minute, tzinfo=NAIROBI)

    hours = None
    if within is not None:
        ends = [int(each[:2]) * 60 + int(each[3:]) for each in within.split("-")]
        hours = Within(*ends)
    schedule = Schedule(start_at=moment("00:00"), within=hours)
    assert schedule.next_moment(moment(now).astimezone(UTC), NAIROBI) == moment(expected)


def sendable() -> dict[str, Any]:
    """A configuration whose source sends to an address where nobody is."""
    raw = settings()
    raw["sources"]["tilil"]["send"] = {"api_key": "k", "sender": "S", "url": "http://127.0.0.1:9"}
    return raw
