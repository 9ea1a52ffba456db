"""Stores what we send and its status: messages, their jobs, delivery reports, link_ids.

A message waits until the sender begins it; between `begin` and the result it is `sending`. If the
process ends there, nobody knows whether it left: it becomes unknown, and is not sent again by
itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from receiver.actions import Send
from receiver.events import Status, advance
from receiver.outgoing import Sent
from receiver.store import opt_out_lines
from receiver.store.jobs import NewJob, Origin, add_job
from receiver.store.links import use_link
from receiver.store.message_reports import Learned, learn
from receiver.store.message_status import current, joined
from receiver.store.opt_out_rule import blocks
from receiver.store.queries import marks
from receiver.store.records import Attempt, Failure, PollOf
from receiver.store.tx import Tx, execute_many
from receiver.text.sms_length import segments

_ADD = (
    "INSERT INTO messages (source, event, handler, msisdn, sender, text, service_id, link_id,"
    " even_if_opted_out, encoding, parts, created_at, updated_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id"
)
# A link_id is as old as the message that brought it.
_WAITING = (
    "SELECT id, source, msisdn, link_id, service_id, even_if_opted_out, coalesce("
    "(SELECT received_at FROM events WHERE events.seq = messages.event), created_at)"
    " FROM messages WHERE id IN ({}) AND state = 'waiting'"
)
# By the index of the message: with a plain state all that waits is gone through.
_CLAIM = (
    "UPDATE jobs SET attempts = attempts + 1, owner = ? WHERE message IN ({})"
    " AND kind || '' = 'send' AND state || '' = 'due' AND owner IS NULL"
)
_OWNED = " WHERE message = ? AND kind = 'send' AND coalesce(owner, 0) = ?"
_END = f"DELETE FROM jobs{_OWNED}"
# By the index of the message, as `_CLAIM`.
_OWNERS = (
    "SELECT jobs.message, coalesce(owner, 0), messages.source, status, msisdn"
    " FROM jobs JOIN messages ON messages.id = jobs.message"
    " WHERE jobs.message IN ({}) AND jobs.kind || '' = 'send'"
)
_END_ALL = "DELETE FROM jobs WHERE message IN ({}) AND kind || '' = 'send'"
_FAIL = f"UPDATE jobs SET owner = NULL, state = ?, due_at = ?, error = ?{_OWNED}"
# Its status is `queued`, as of all that waits.
_BEGIN = (
    "UPDATE messages SET state = 'sending', sender = coalesce(?, sender), attempts = attempts + 1,"
    " sent_at = ?, updated_at = ?, code = NULL, error = NULL WHERE id IN ({})"
)
_SENT = (
    "UPDATE messages SET state = 'sent', status = ?, provider_id = coalesce(?, provider_id),"
    " parts = coalesce(?, parts), cost = ?, balance = ?, error = ?, updated_at = ? WHERE id = ?"
)
_STOPPED = (
    "UPDATE messages SET state = ?, status = ?, code = ?, error = ?, updated_at = ? WHERE id = ?"
)
_WHOLE = (
    "SELECT source, event, handler, msisdn, sender, service_id, even_if_opted_out FROM messages"
    " WHERE id = ? AND state = 'waiting'"
)
_POLLER = "poller"
_NOT_BEGUN = (
    "UPDATE messages SET state = 'waiting', attempts = attempts - 1"
    " WHERE state = 'sending' AND id = (SELECT message FROM jobs WHERE id = ? AND owner = ?)"
)
_WAIT_AGAIN = "UPDATE jobs SET owner = NULL, attempts = attempts - 1 WHERE id = ? AND owner = ?"
# Nobody works on them any more.
_FORSAKEN = (
    "SELECT id, source FROM messages WHERE state = 'sending' AND NOT EXISTS (SELECT 1 FROM jobs"
    " WHERE jobs.message = messages.id AND jobs.owner IS NOT NULL)"
)


def add(
    tx: Tx,
    origin: Origin,
    handler: str,
    message: Send,
    *,
    even_if_opted_out: bool = False,
) -> int:
    """Makes a message that is to be sent now; its id."""
    counted = segments(message.text)
    source = message.source or origin.source or ""
    values = (
        source,
        origin.event,
        handler,
        message.to,
        message.sender,
        message.text,
        message.service_id,
        message.link_id,
        even_if_opted_out,
        counted.encoding,
        counted.parts,
        origin.now,
        origin.now,
    )
    (id_,) = tx.execute(_ADD, values).fetchone()
    job = NewJob(
        kind="send",
        handler=handler,
        due_at=origin.now,
        source=source,
        message=id_,
        subject=message.to,
    )
    add_job(tx, origin, job)
    return int(id_)


def begin(
    tx: Tx, attempts: Sequence[Attempt], now: int, link_ttl: int, owner: int = 0
) -> list[Failure | None]:
    """Claims messages and marks them as being sent; None, or why one must not be sent.

    `link_ttl`: microseconds that a link_id lives. A message that must not be sent is dead, with
    the reason, unless it was not waiting any more.
    """
    which = marks(len(attempts))
    rows = tx.execute(_WAITING.format(which), [one.message for one in attempts]).fetchall()
    waiting = {id_: _Waiting(*facts) for id_, *facts in rows}
    lines = opt_out_lines.lines_of(tx, [one.msisdn for one in waiting.values()])
    found = [
        _fault(tx, one, waiting.pop(one.message, None), lines, now, link_ttl) for one in attempts
    ]
    _mark(tx, [one for one, why in zip(attempts, found, strict=True) if why is None], now, owner)
    return found


class _Waiting(NamedTuple):
    """What is stored of a message that waits."""

    source: str
    msisdn: str
    link_id: str | None
    service_id: str | None
    even_if_opted_out: bool
    came_at: int


def _fault(
    tx: Tx,
    attempt: Attempt,
    message: _Waiting | None,
    lines: opt_out_lines.Lines,
    now: int,
    link_ttl: int,
) -> Failure | None:
    """Returns why a message must not be sent, and buries it; else takes its link_id."""
    if message is None:
        return Failure("it is not waiting any more")
    why, link_id = None, message.link_id
    about = attempt.service_id or message.service_id
    if not message.even_if_opted_out and blocks(
        lines.get(message.msisdn, ()), attempt.sender, about
    ):
        why = Failure("the person has opted out", Status.REJECTED)
    elif link_id and now - message.came_at > link_ttl:
        why = Failure(f"link_id {link_id} has expired (send.link_id_ttl)", Status.EXPIRED)
    elif link_id:
        why = use_link(tx, message.source, link_id, attempt.message, now)
    if why is not None:
        kill(tx, attempt.message, now, why)
    return why


def _mark(tx: Tx, attempts: Sequence[Attempt], now: int, owner: int) -> None:
    """Marks messages as being sent, and claims their jobs."""
    if not attempts:
        return
    for sender in dict.fromkeys(one.sender for one in attempts):
        of_it = [one.message for one in attempts if one.sender == sender]
        tx.execute(_BEGIN.format(marks(len(of_it))), (sender, now, now, *of_it))
    ids = [one.message for one in attempts]
    tx.execute(_CLAIM.format(marks(len(ids))), (owner or None, *ids))


class Outcome(NamedTuple):
    """The end of an attempt to send a message."""

    message: int
    end: Sent | Failure
    at: int
    owner: int = 0
    """Whose attempt it was."""
    due: int | None = None
    """When its status is asked for, if it was sent; else when it is tried again. None: never."""
    again: bool = False
    """It waits again, with its campaign."""

    @property
    def is_final(self) -> bool:
        """True if it was not sent and will not be by itself."""
        end = self.end
        return isinstance(end, Failure) and self.due is None and end.status is not Status.UNKNOWN


def settle(tx: Tx, ended: Sequence[Outcome]) -> list[None]:
    """Ends attempts: each message is sent, waits, is lost or a dead letter."""
    _settle_sent(tx, [each for each in ended if isinstance(each.end, Sent)])
    for message, end, now, owner, due, _ in ended:
        if isinstance(end, Sent):
            continue
        if due is not None:
            put_off(tx, message, now, due, end, owner)
        elif end.status is Status.UNKNOWN:
            lose(tx, message, now, end, owner)
        else:
            kill(tx, message, now, end, owner)
    return [None] * len(ended)


def _settle_sent(tx: Tx, ended: Sequence[Outcome]) -> None:
    """Stores what a provider said of messages that it took, and joins reports that came before."""
    if not ended:
        return
    marked = marks(len(ended))
    rows = tx.execute(_OWNERS.format(marked), [each.message for each in ended]).fetchall()
    known = {(message, owner): facts for message, owner, *facts in rows}
    ours = [
        (each, known.pop(key)) for each in ended if (key := (each.message, each.owner)) in known
    ]
    tx.execute(_END_ALL.format(marks(len(ours))), [each.message for each, _ in ours])
    learned: list[Learned] = []
    for (message, taken, now, _, poll_at, _), (source, status, msisdn) in ours:
        assert isinstance(taken, Sent)
        _note_sent(tx, message, advance(Status(status), taken.status), taken, now)
        for id_ in taken.ids:
            learned.append(Learned(source, id_, message, msisdn, now))
            if poll_at is not None:
                _add_poll(tx, source, message, id_, now, poll_at)
    learn(tx, learned)


def _note_sent(tx: Tx, message: int, status: Status, taken: Sent, now: int) -> None:
    parts = len(taken.ids) if taken.further_ids else taken.parts
    ids, said = joined(taken.ids), (taken.cost, taken.balance, taken.note)
    tx.execute(_SENT, (status, ids, parts, *said, now, message))


def _add_poll(tx: Tx, source: str, message: int, id_: str, now: int, due: int) -> None:
    job = NewJob(
        kind="poll",
        handler=_POLLER,
        payload=msgspec.json.encode(PollOf(message_id=id_)),
        due_at=due,
        source=source,
        message=message,
    )
    add_job(tx, Origin(time=now, received_at=now, now=now), job)


# What follows ends a claim on a message, `owner`'s, or does nothing where there is none. 0: nobody
# has claimed it.


def sent(
    tx: Tx, message: int, now: int, taken: Sent, poll_at: int | None = None, owner: int = 0
) -> None:
    """A provider took a message. `poll_at`: when its status is asked for, if it is."""
    settle(tx, [Outcome(message, taken, now, owner, poll_at)])


def put_off(tx: Tx, message: int, now: int, due: int, why: Failure, owner: int = 0) -> None:
    """Nothing was sent; it is tried again then."""
    if tx.execute(_FAIL, ("due", due, why.error, message, owner)).rowcount:
        tx.execute(_STOPPED, ("waiting", Status.QUEUED, why.code, why.error, now, message))


def kill(tx: Tx, message: int, now: int, why: Failure, owner: int = 0) -> None:
    """Nothing was sent, and nothing will be unless a person says so: a dead letter."""
    if tx.execute(_FAIL, ("dead", 0, why.error, message, owner)).rowcount:
        tx.execute(_STOPPED, ("dead", why.status, why.code, why.error, now, message))


def end(
    tx: Tx, message: int, now: int, why: Failure, owner: int = 0, *, state: str = "dead"
) -> None:
    """As `kill`, without a dead letter; or it is `waiting` again, and its campaign has the job."""
    if tx.execute(_END, (message, owner)).rowcount:
        tx.execute(_STOPPED, (state, why.status, why.code, why.error, now, message))


def lose(tx: Tx, message: int, now: int, why: Failure, owner: int = 0) -> None:
    """Nobody knows whether it was sent: it waits for a delivery report."""
    if not tx.execute(_END, (message, owner)).rowcount:
        return
    status = current(tx, message)
    # A report may have come before we gave up waiting for the answer.
    state = "unknown" if status == Status.QUEUED else "sent"
    status = Status.UNKNOWN if status == Status.QUEUED else status
    tx.execute(_STOPPED, (state, status, why.code, why.error, now, message))


def give_back(tx: Tx, owner: int, ids: Sequence[int]) -> None:
    """Has jobs of an owner wait again that it has not begun, and their messages."""
    claimed = [(id_, owner) for id_ in ids]
    execute_many(tx, _NOT_BEGUN, claimed)
    execute_many(tx, _WAIT_AGAIN, claimed)


def recover(tx: Tx, now: int, resend: Sequence[str]) -> int:
    """Marks as unknown what a receiver was sending that has ended; returns how many.

    Its jobs were released before. `resend`: sources that dare.
    """
    rows = tx.execute(_FORSAKEN).fetchall()
    why = Failure("the process ended while it was being sent")
    for message, source in rows:
        if source in resend:
            put_off(tx, message, now, now, why)
        else:
            lose(tx, message, now, why)
    return len(rows)


def split(tx: Tx, message: int, now: int, texts: Sequence[str]) -> None:
    """Makes several messages of one that is waiting and too long for one."""
    row = tx.execute(_WHOLE, (message,)).fetchone()
    if row is None:
        return
    source, event, handler, to, sender, service_id, even_if_opted_out = row
    counted = segments(texts[0])
    tx.execute(
        "UPDATE messages SET text = ?, encoding = ?, parts = ?, updated_at = ? WHERE id = ?",
        (texts[0], counted.encoding, counted.parts, now, message),
    )
    origin = Origin(event=event, time=now, received_at=now, now=now)
    for text in texts[1:]:
        piece = Send(source=source, to=to, text=text, sender=sender, service_id=service_id)
        add(tx, origin, handler, piece, even_if_opted_out=bool(even_if_opted_out))


def revive(tx: Tx, message: int, now: int) -> None:
    """A message whose dead letter was made due again is waiting again."""
    tx.execute(
        "UPDATE messages SET state = 'waiting', status = 'queued', updated_at = ?"
        " WHERE id = ? AND state = 'dead'",
        (now, message),
    )
