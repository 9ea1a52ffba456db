"""Stores what we send and its status: messages, their jobs, delivery reports, link_ids.

A message waits until the sender begins it; between `begin` and the result it is `sending`. If the
process ends there, nobody knows whether it left: it becomes unknown, and is not sent again by
itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from receiver.actions import OptOut, Send
from receiver.events import Status, advance
from receiver.outgoing import Sent
from receiver.store import jobs, opt_out_lines, opt_outs
from receiver.store.ids import first_seq
from receiver.store.jobs import Origin, add_job
from receiver.store.message_status import current, joined, message_key, move_on
from receiver.store.records import Attempt, EventRow, Failure, PollOf, Report
from receiver.store.tx import Tx, execute_many
from receiver.text.msisdn import is_e164
from receiver.text.sms_length import segments

#: Microseconds that a report waits for its message, and a message for a report without its id.
JOIN_WITHIN = 72 * 3600 * 1_000_000

_ADD = (
    "INSERT INTO messages (source, event, handler, msisdn, sender, text, service_id, link_id,"
    " even_if_opted_out, encoding, parts, created_at, updated_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id"
)
# A link_id is as old as the message that brought it.
_WAITING = (
    "SELECT source, link_id, service_id, even_if_opted_out, coalesce("
    "(SELECT received_at FROM events WHERE events.seq = messages.event), created_at)"
    " FROM messages WHERE id = ? AND state = 'waiting'"
)
_CLAIM = (
    "UPDATE jobs SET attempts = attempts + 1, owner = ? WHERE message = ? AND kind = 'send'"
    " AND owner IS NULL AND state = 'due'"
)
_OWNED = " WHERE message = ? AND kind = 'send' AND coalesce(owner, 0) = ?"
_END = f"DELETE FROM jobs{_OWNED}"
_FAIL = f"UPDATE jobs SET owner = NULL, state = ?, due_at = ?, error = ?{_OWNED}"
_BEGIN = (
    "UPDATE messages SET state = 'sending', status = 'queued', msisdn = ?,"
    " sender = coalesce(?, sender), attempts = attempts + 1, sent_at = ?, updated_at = ?,"
    " code = NULL, error = NULL"
    " WHERE id = ?"
)
_SENT = (
    "UPDATE messages SET state = 'sent', status = ?, provider_id = coalesce(?, provider_id),"
    " parts = coalesce(?, parts), cost = ?, balance = ?, error = ?, updated_at = ? WHERE id = ?"
)
_STOPPED = (
    "UPDATE messages SET state = ?, status = ?, code = ?, error = ?, updated_at = ? WHERE id = ?"
)
_LINK = "SELECT message, invalid_at FROM links WHERE source = ? AND link_id = ?"
_USE_LINK = (
    "INSERT INTO links (source, link_id, message, used_at) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (source, link_id) DO NOTHING"
)
_MARK_LINK = (
    "INSERT INTO links (source, link_id, message, used_at, invalid_at) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (source, link_id) DO UPDATE SET invalid_at = excluded.invalid_at"
)
# Of a provider that counts from 1 again the newest message has the id.
_ADD_ID = (
    "INSERT INTO message_ids (source, key, message) VALUES (?, ?, ?)"
    " ON CONFLICT (source, key) DO UPDATE SET message = excluded.message"
)
_BY_ID = (
    "SELECT message, msisdn FROM message_ids JOIN messages ON id = message"
    " WHERE message_ids.source = ? AND key = ?"
)
# Those whose id we do not know: an answer that never came, or a provider with two kinds of ids.
_BY_PERSON = (
    "SELECT id, text FROM messages WHERE source = ? AND msisdn = ? AND sent_at BETWEEN ? AND ?"
    " AND (state = 'unknown' AND provider_id IS NULL OR ? AND state IN ('sending', 'sent')"
    "      AND NOT EXISTS (SELECT 1 FROM reports WHERE message = messages.id))"
    " ORDER BY id"
)
_ADD_REPORT = (
    "INSERT INTO reports (event, source, key, status, message, opted_out) VALUES (?, ?, ?, ?, ?, ?)"
)
_UNJOINED = (
    "SELECT event, status, opted_out, subject FROM reports LEFT JOIN events ON seq = event"
    " WHERE reports.source = ? AND reports.key = ? AND message IS NULL AND event >= ?"
    " ORDER BY event"
)
_FORGET = (
    "DELETE FROM reports WHERE event IN (SELECT event FROM reports WHERE message IS NULL"
    " AND event < ? ORDER BY event LIMIT ?)"
)
# A message without an answer is sent when a report says so.
_IDENTIFY = (
    "UPDATE messages SET state = 'sent', provider_id = coalesce(provider_id, ?)"
    " WHERE id = ? AND state = 'unknown'"
)
_WHOLE = (
    "SELECT source, event, handler, msisdn, sender, service_id, even_if_opted_out FROM messages"
    " WHERE id = ? AND state = 'waiting'"
)
_POLLER = "poller"
#: Reports deleted in one transaction: more would hold up the pushes.
_TIDY_ROWS = 500
_NOT_BEGUN = (
    "UPDATE messages SET state = 'waiting', attempts = attempts - 1"
    " WHERE state = 'sending' AND id = (SELECT message FROM jobs WHERE id = ? AND owner = ?)"
)
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
    add_job(
        tx,
        origin,
        kind="send",
        handler=handler,
        due_at=origin.now,
        source=source,
        message=id_,
        person=message.to,
    )
    return int(id_)


def begin(
    tx: Tx, attempts: Sequence[Attempt], now: int, link_ttl: int, owner: int = 0
) -> list[Failure | None]:
    """Claims messages and marks them as being sent; None, or why one must not be sent.

    `link_ttl`: microseconds that a link_id lives. A message that must not be sent is dead, with
    the reason, unless it was not waiting any more.
    """
    return [_begin(tx, attempt, now, link_ttl, owner) for attempt in attempts]


def _begin(tx: Tx, attempt: Attempt, now: int, link_ttl: int, owner: int) -> Failure | None:
    row = tx.execute(_WAITING, (attempt.message,)).fetchone()
    if row is None:
        return Failure("it is not waiting any more")
    source, link_id, service_id, even_if_opted_out, came_at = row
    why = None
    about = attempt.service_id or service_id
    if not even_if_opted_out and opt_out_lines.blocked(tx, attempt.msisdn, attempt.sender, about):
        why = Failure("the person has opted out", Status.REJECTED)
    elif link_id and now - came_at > link_ttl:
        why = Failure(f"link_id {link_id} has expired (send.link_id_ttl)", Status.EXPIRED)
    elif link_id:
        why = _use_link(tx, source, link_id, attempt.message, now)
    if why is not None:
        kill(tx, attempt.message, now, why)
        return why
    tx.execute(_BEGIN, (attempt.msisdn, attempt.sender, now, now, attempt.message))
    tx.execute(_CLAIM, (owner or None, attempt.message))
    return None


def _use_link(tx: Tx, source: str, link_id: str, message: int, now: int) -> Failure | None:
    """Takes the link_id for this message; why it cannot."""
    used_by, invalid_at = tx.execute(_LINK, (source, link_id)).fetchone() or (None, None)
    if invalid_at is not None:
        return Failure(f"the provider called link_id {link_id} invalid", Status.REJECTED)
    if used_by not in (None, message):
        return Failure(f"link_id {link_id} was used by message {used_by}", Status.REJECTED)
    tx.execute(_USE_LINK, (source, link_id, message, now))
    return None


# What follows ends a claim on a message, `owner`'s, or does nothing where there is none. 0: nobody
# has claimed it.


def sent(
    tx: Tx,
    message: int,
    now: int,
    taken: Sent,
    poll_at: int | None = None,
    owner: int = 0,
) -> None:
    """A provider took a message: what it said, and the reports that came before its answer.

    `poll_at`: when its status is asked for; None: the provider reports by itself.
    """
    if not tx.execute(_END, (message, owner)).rowcount:
        return
    source, status = current(tx, message)
    values = (
        advance(status, taken.status),
        joined(taken.ids),
        len(taken.ids) if taken.further_ids else taken.parts,
        taken.cost,
        taken.balance,
        taken.note,
        now,
        message,
    )
    tx.execute(_SENT, values)
    for id_ in taken.ids:
        _know(tx, source, message_key(id_), message, now)
        if poll_at is not None:
            add_job(
                tx,
                Origin(time=now, received_at=now, now=now),
                kind="poll",
                handler=_POLLER,
                payload=msgspec.json.encode(PollOf(message_id=id_)),
                due_at=poll_at,
                source=source,
                message=message,
            )


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
    _, status = current(tx, message)
    # A report may have come before we gave up waiting for the answer.
    state = "unknown" if status == Status.QUEUED else "sent"
    status = Status.UNKNOWN if status == Status.QUEUED else status
    tx.execute(_STOPPED, (state, status, why.code, why.error, now, message))


def give_back(tx: Tx, owner: int, ids: Sequence[int]) -> None:
    """Has jobs of an owner wait again that it has not begun, and their messages."""
    execute_many(tx, _NOT_BEGUN, [(id_, owner) for id_ in ids])
    jobs.release(tx, owner, ids)


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


def note_report(tx: Tx, row: EventRow, report: Report) -> None:
    """Joins a delivery report to its message, or keeps it until there is one."""
    key = message_key(report.message_id)
    known, whose = tx.execute(_BY_ID, (row.source, key)).fetchone() or (None, None)
    if _is_another(row.subject, whose):
        known = None  # the gateway counts from 1 again
    message = _by_person(tx, row, report) if known is None else known
    if known is None and message is not None:
        tx.execute(_ADD_ID, (row.source, key, message))
    # A report that names the person leaves it to the handlers.
    opted_out = report.opted_out and row.subject is None
    tx.execute(_ADD_REPORT, (row.seq, row.source, key, report.status, message, opted_out))
    if message is None:
        return
    if opted_out:
        _opt_out(tx, message, row.seq, row.received_at)
    move_on(tx, message, report.status, row.received_at)
    tx.execute(_IDENTIFY, (report.message_id, message))
    if report.link_invalid:
        mark_link(tx, message, row.received_at)


def tidy(tx: Tx, now: int) -> int:
    """Deletes some reports that found no message in 72 hours; how many. The events stay."""
    return tx.execute(_FORGET, (first_seq(now - JOIN_WITHIN), _TIDY_ROWS)).rowcount


def _know(tx: Tx, source: str, key: str, message: int, now: int) -> None:
    """Learns an id of a message, and joins the reports that came before."""
    tx.execute(_ADD_ID, (source, key, message))
    oldest = first_seq(now - JOIN_WITHIN)
    (whose,) = tx.execute("SELECT msisdn FROM messages WHERE id = ?", (message,)).fetchone()
    for event, status, opted_out, subject in tx.execute(
        _UNJOINED, (source, key, oldest)
    ).fetchall():
        if _is_another(subject, whose):
            continue
        tx.execute("UPDATE reports SET message = ? WHERE event = ?", (message, event))
        move_on(tx, message, Status(status), now)
        if opted_out:
            _opt_out(tx, message, event, now)


def _is_another(subject: str | None, whose: str | None) -> bool:
    """True if a report and a message name two people; a text that is no number names nobody."""
    numbers = [text for text in (subject, whose) if text is not None and is_e164(text)]
    return len(set(numbers)) > 1


def _opt_out(tx: Tx, message: int, event: int, now: int) -> None:
    """The person whom this message was for told the network to stop its sender."""
    source, msisdn, sender = tx.execute(
        "SELECT source, msisdn, sender FROM messages WHERE id = ?", (message,)
    ).fetchone()
    origin = Origin(event=event, source=source, time=now, received_at=now, now=now)
    opt_outs.opt_out(tx, origin, "network", OptOut(msisdn, "network", short_code=sender))


def _by_person(tx: Tx, row: EventRow, report: Report) -> int | None:
    """The one message that a report with an id we do not know can be about."""
    if row.subject is None:
        return None
    values = (
        row.source,
        row.subject,
        row.received_at - JOIN_WITHIN,
        row.received_at,
        report.foreign_ids,
    )
    found = tx.execute(_BY_PERSON, values).fetchall()
    if report.text is not None:
        return next((message for message, text in found if text == report.text), None)
    return found[0][0] if len(found) == 1 else None


def mark_link(tx: Tx, message: int, now: int) -> None:
    """The provider refused the link_id of a message, if it had one."""
    source, link_id = tx.execute(
        "SELECT source, link_id FROM messages WHERE id = ?", (message,)
    ).fetchone()
    if link_id:
        tx.execute(_MARK_LINK, (source, link_id, message, now, now))
