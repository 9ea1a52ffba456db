"""Stores campaigns: messages to many, which wait without jobs of their own until their turn.

A campaign is made as a draft, gets its people in pieces, and starts. Its one job says when it goes
on. The transaction that begins a chunk judges the opt-outs of its people, marks their messages as
being sent, and gives each a job that is claimed at birth; so whatever ends a message ends one of a
campaign too (`messages`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from receiver.actions import Send
from receiver.events import Status
from receiver.outgoing import Schedule, Sent
from receiver.store import messages, opt_out_lines
from receiver.store.jobs import PIECE, NewJob, Origin, add_job
from receiver.store.messages import Outcome
from receiver.store.opt_out_rule import blocks
from receiver.store.records import Attempt, Failure, from_micros, to_micros
from receiver.store.tx import Tx
from receiver.text.sms_length import Segments, segments

_CREATE = (
    "INSERT INTO campaigns (source, handler, event, state, created_at, start_at, valid_for, opens,"
    " closes, rate) VALUES (?, ?, ?, 'draft', ?, ?, ?, ?, ?, ?) RETURNING id"
)
_DRAFT = "SELECT source, handler, event FROM campaigns WHERE id = ? AND state = 'draft'"
_ADD = (
    "INSERT INTO messages (source, event, handler, msisdn, sender, text, service_id,"
    " even_if_opted_out, encoding, parts, created_at, updated_at, campaign)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?)"
    " ON CONFLICT (campaign, msisdn) WHERE campaign IS NOT NULL DO NOTHING"
)
_STATE = "SELECT source, state, handler, event FROM campaigns WHERE id = ?"
_SET_STATE = "UPDATE campaigns SET state = ?, error = ?, ended_at = ? WHERE id = ?"
_DROP_JOB = "DELETE FROM jobs WHERE campaign = ?"
_PUT_OFF = "UPDATE jobs SET due_at = ?, error = ? WHERE campaign = ?"
_BEGIN = (
    "UPDATE messages SET state = 'sending', sender = coalesce(?, sender), attempts = attempts + 1,"
    " sent_at = ?, updated_at = ?, chunk = ?, code = NULL, error = NULL"
    " WHERE id = ? AND state = 'waiting'"
)
_END = (
    "UPDATE messages SET state = 'dead', status = ?, code = ?, error = ?, updated_at = ?"
    " WHERE id = ? AND state = 'waiting'"
)
_SOME_WAITING = (
    "SELECT id FROM messages WHERE campaign = ? AND state = 'waiting' AND status = 'queued' LIMIT ?"
)
_OPEN = "SELECT 1 FROM messages WHERE campaign = ? AND state IN ('waiting', 'sending') LIMIT 1"
_IN_LANE = (
    "SELECT campaign FROM jobs WHERE kind = 'campaign' AND lane = ? AND owner IS NULL"
    " AND state = 'due'"
)
_CANCELLED = Failure("the campaign was cancelled before its turn", Status.CANCELLED)
_OPTED_OUT = Failure("the person has opted out", Status.REJECTED)
#: What may be done with a campaign in each state, and the state after it.
CHANGES = {
    "start": ({"draft"}, "running"),
    "pause": ({"running"}, "paused"),
    "resume": ({"paused"}, "running"),
    "cancel": ({"draft", "running", "paused", "cancelled"}, "cancelled"),
}


class Person(msgspec.Struct, frozen=True):
    """Somebody who gets a message of a campaign."""

    to: str
    text: str


def create(tx: Tx, origin: Origin, handler: str, source: str, schedule: Schedule) -> int:
    """Makes a campaign without people; its id."""
    within = schedule.within
    values = (
        source,
        handler,
        origin.event,
        origin.now,
        to_micros(schedule.start_at),
        schedule.valid_for,
        within and within.opens,
        within and within.closes,
        schedule.rate,
    )
    return int(tx.execute(_CREATE, values).fetchone()[0])


def add_wish(tx: Tx, origin: Origin, handler: str, wish: Send) -> int:
    """Makes and starts the campaign that a handler asks for; its id."""
    start = wish.at or from_micros(origin.now)
    schedule = Schedule(start_at=start, valid_for=wish.valid_for)
    id_ = create(tx, origin, handler, wish.source or origin.source or "", schedule)
    people = [Person(to, wish.text) for to in (wish.to, *wish.others)]
    add(tx, id_, people, origin.now, sender=wish.sender, service_id=wish.service_id)
    change(tx, id_, "start", origin.now)
    return id_


def add(
    tx: Tx,
    campaign: int,
    people: Sequence[Person],
    now: int,
    *,
    sender: str | None = None,
    service_id: str | None = None,
) -> int | None:
    """Adds people to a draft; how many were not in it yet. None: it is no draft."""
    row = tx.execute(_DRAFT, (campaign,)).fetchone()
    if row is None:
        return None
    source, handler, event = row
    added = 0
    for person in people:
        counted = _counted(person.text)
        about = (person.to, sender, person.text, service_id, counted.encoding, counted.parts)
        values = (source, event, handler, *about, now, now, campaign)
        added += tx.execute(_ADD, values).rowcount
    return added


def change(tx: Tx, campaign: int, act: str, now: int, *, why: str | None = None) -> str | None:
    """Starts, pauses, resumes or cancels a campaign; the reason why that is not possible."""
    row = tx.execute(_STATE, (campaign,)).fetchone()
    if row is None:
        return "no such campaign"
    source, state, handler, event = row
    before, after = CHANGES[act]
    if state not in before:
        return f"expected a campaign that is {' or '.join(sorted(before - {after}))}; it is {state}"
    tx.execute(_SET_STATE, (after, why, now if after == "cancelled" else None, campaign))
    tx.execute(_DROP_JOB, (campaign,))
    if after == "running":
        origin = Origin(event=event, time=now, received_at=now, now=now)
        job = NewJob(kind="campaign", handler=handler, due_at=now, source=source, campaign=campaign)
        add_job(tx, origin, job)
    return None


def cancel_some(tx: Tx, campaign: int, now: int) -> int:
    """Ends some of the messages that wait for a cancelled campaign; how many."""
    rows = tx.execute(_SOME_WAITING, (campaign, PIECE)).fetchall()
    for (message,) in rows:
        refuse(tx, message, now, _CANCELLED)
    return len(rows)


def begin(
    tx: Tx,
    campaign: int,
    chunks: Sequence[Sequence[Attempt]],
    now: int,
    owner: int,
    go_on: int,
) -> list[list[int | None]]:
    """Marks messages as being sent, chunk by chunk; their jobs, None for what must not be sent.

    `go_on`: when the campaign may go on after these. A chunk of several is one request.
    """
    source, state, handler, event = tx.execute(_STATE, (campaign,)).fetchone()
    if state != "running":
        return [[None] * len(chunk) for chunk in chunks]
    lines = opt_out_lines.lines_of(tx, [one.msisdn for chunk in chunks for one in chunk])
    origin = Origin(event=event, source=source, time=now, received_at=now, now=now)
    begun = []
    for chunk in chunks:
        able = {
            one.message
            for one in chunk
            if not blocks(lines.get(one.msisdn, ()), one.sender, one.service_id)
        }
        refuse_all(tx, [(one.message, _OPTED_OUT) for one in chunk if one.message not in able], now)
        first = min(able, default=None) if len(chunk) > 1 else None
        begun.append(
            [
                _begin_one(tx, origin, handler, one, first, owner) if one.message in able else None
                for one in chunk
            ]
        )
    put_off(tx, campaign, go_on)
    return begun


def _begin_one(
    tx: Tx, origin: Origin, handler: str, one: Attempt, chunk: int | None, owner: int
) -> int | None:
    """Marks a message as being sent; its job, or None if it waits no more."""
    now = origin.now
    if not tx.execute(_BEGIN, (one.sender, now, now, chunk, one.message)).rowcount:
        return None
    job = NewJob(
        kind="send",
        handler=handler,
        due_at=now,
        source=origin.source,
        message=one.message,
        attempts=1,
        owner=owner,
    )
    return add_job(tx, origin, job)


def settle(tx: Tx, campaign: int, outcomes: Sequence[Outcome], now: int) -> None:
    """Stores the ends of a chunk, all of them or none; and the end of the campaign.

    Who is to be tried again after the campaign was cancelled gets nothing.
    """
    _, state, _, _ = tx.execute(_STATE, (campaign,)).fetchone()
    others = []
    for each in outcomes:
        why = each.end
        if isinstance(why, Sent) or not (each.again or each.is_final):
            others.append(each)
        elif each.again and state != "cancelled":
            messages.end(tx, each.message, now, why, each.owner, state="waiting")
        else:  # no dead letter: nobody tries one of thousands again by hand
            messages.end(tx, each.message, now, _CANCELLED if each.again else why, each.owner)
    messages.settle(tx, others)
    finish(tx, campaign, now)


def put_off(tx: Tx, campaign: int, due: int, why: str | None = None) -> None:
    """Has a campaign go on then."""
    tx.execute(_PUT_OFF, (due, why, campaign))


def refuse(tx: Tx, message: int, now: int, why: Failure) -> None:
    """Ends a message that waits: nothing of it will be sent."""
    tx.execute(_END, (why.status, why.code, why.error, now, message))


def refuse_all(tx: Tx, found: Sequence[tuple[int, Failure]], now: int) -> None:
    """Ends several."""
    for message, why in found:
        refuse(tx, message, now, why)


def finish(tx: Tx, campaign: int, now: int) -> bool:
    """Ends a campaign in which nobody waits and nothing is under way. True if it did."""
    if tx.execute(_OPEN, (campaign,)).fetchone() is not None:
        return False
    _, state, _, _ = tx.execute(_STATE, (campaign,)).fetchone()
    if state == "running":
        tx.execute(_SET_STATE, ("done", None, now, campaign))
        tx.execute(_DROP_JOB, (campaign,))
    return True


def pause_lane(tx: Tx, source: str, now: int, why: str) -> None:
    """Pauses the campaigns of a source that cannot send."""
    for (campaign,) in tx.execute(_IN_LANE, (source,)).fetchall():
        change(tx, campaign, "pause", now, why=why)


@lru_cache(maxsize=16)
def _counted(text: str) -> Segments:
    """Counts a text; most people of a campaign get the same one."""
    return segments(text)
