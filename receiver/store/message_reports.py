"""Joins delivery reports to the messages that they are about, whichever of the two comes first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from receiver.actions import OptOut
from receiver.events import Status
from receiver.store import opt_outs
from receiver.store.ids import first_seq
from receiver.store.jobs import Origin
from receiver.store.links import mark_link
from receiver.store.message_status import message_key, move_on
from receiver.store.queries import marks
from receiver.store.records import EventRow, Report
from receiver.store.tx import Tx
from receiver.text.msisdn import is_e164

#: Microseconds that a report waits for its message, and a message for a report without its id.
JOIN_WITHIN = 72 * 3600 * 1_000_000
#: Reports deleted in one transaction: more would hold up the pushes.
_TIDY_ROWS = 500

# Of a provider that counts from 1 again the newest message has the id.
_ADD_IDS = (
    "INSERT INTO message_ids (source, key, message) VALUES {}"
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
    "SELECT reports.key, event, status, opted_out, subject FROM reports"
    " LEFT JOIN events ON seq = event"
    " WHERE reports.source = ? AND message IS NULL AND event >= ? AND reports.key IN ({})"
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


def note_report(tx: Tx, row: EventRow, report: Report) -> None:
    """Joins a delivery report to its message, or keeps it until there is one."""
    key = message_key(report.message_id)
    known, whose = tx.execute(_BY_ID, (row.source, key)).fetchone() or (None, None)
    if _is_another(row.subject, whose):
        known = None  # the gateway counts from 1 again
    message = _by_person(tx, row, report) if known is None else known
    if known is None and message is not None:
        tx.execute(_ADD_IDS.format("(?, ?, ?)"), (row.source, key, message))
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


class Learned(NamedTuple):
    """An id of a message, as its provider said."""

    source: str
    id_: str
    message: int
    msisdn: str
    at: int


def learn(tx: Tx, learned: Sequence[Learned]) -> None:
    """Learns ids of messages, and joins the reports that came before."""
    by_source: defaultdict[str, dict[str, Learned]] = defaultdict(dict)
    for one in learned:  # of a provider that gives an id twice the last message has it
        by_source[one.source][message_key(one.id_)] = one
    for source, by_key in by_source.items():
        rows = [(source, key, one.message) for key, one in by_key.items()]
        tx.execute(_ADD_IDS.format(", ".join(["(?, ?, ?)"] * len(rows))), list(chain(*rows)))
        oldest = first_seq(min(one.at for one in by_key.values()) - JOIN_WITHIN)
        values = (source, oldest, *by_key)
        for key, *report in tx.execute(_UNJOINED.format(marks(len(rows))), values).fetchall():
            _join_earlier(tx, by_key[key], report)


def _join_earlier(tx: Tx, one: Learned, report: tuple[int, str, bool, str | None]) -> None:
    event, status, opted_out, subject = report
    if _is_another(subject, one.msisdn):
        return
    tx.execute("UPDATE reports SET message = ? WHERE event = ?", (one.message, event))
    move_on(tx, one.message, Status(status), one.at)
    if opted_out:
        _opt_out(tx, one.message, event, one.at)


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
