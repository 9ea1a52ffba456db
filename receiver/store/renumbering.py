"""Converts data of earlier versions to the one form of numbers (`receiver.text.msisdn`).

They stored numbers from plugins and addresses of ours as they came, and placeholders (`0`, `null`)
as ids. Numbers are compared in one form now, so these are converted once: in stages, each of which
goes through a table in small steps. Each step's transaction stores its place, so an interrupted
step is either done or repeated.

Lines that become equal keep the later change. Raw requests stay as they came; events are converted,
since late replies and replay compare their numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from time import monotonic
from typing import Any, NamedTuple

import msgspec

from receiver.store import book
from receiver.store.engine.person_index import rename_person
from receiver.store.pseudonyms import MARK
from receiver.store.records import PURGED
from receiver.store.tx import Tx

#: Seconds of one transaction, about.
_STEP = 0.01
#: Rows that are read at once.
_ROWS = 100

_GET = "SELECT text FROM meta WHERE key = 'numbers'"
_SET = "UPDATE meta SET text = ? WHERE key = 'numbers'"

_OPTED = (
    "SELECT msisdn FROM (SELECT DISTINCT msisdn FROM opt_outs WHERE msisdn > ?1 ORDER BY msisdn"
    " LIMIT ?2) AS listed UNION SELECT msisdn FROM (SELECT DISTINCT msisdn FROM opt_out_history"
    " WHERE msisdn > ?1 ORDER BY msisdn LIMIT ?2) AS changed ORDER BY msisdn LIMIT ?2"
)
_OPTED_CHANGES = "SELECT id, source, short_code, service_id FROM opt_out_history WHERE msisdn = ?"
_SET_OPTED_CHANGE = (
    "UPDATE opt_out_history SET msisdn = ?, short_code = ?, service_id = ? WHERE id = ?"
)
_OPT_OUTS = (
    "SELECT source, short_code, service_id, time, reason, event FROM opt_outs WHERE msisdn = ?"
)
_DROP_OPT_OUT = "DELETE FROM opt_outs WHERE msisdn = ? AND short_code = ? AND service_id = ?"
_PUT_OPT_OUT = (
    "INSERT INTO opt_outs (source, msisdn, short_code, service_id, time, reason, event)"
    " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (msisdn, short_code, service_id)"
    " DO UPDATE SET source = excluded.source, time = excluded.time, reason = excluded.reason,"
    " event = excluded.event WHERE excluded.time > opt_outs.time"
)
# Deletes opt-outs that a later opt-in lifted, which had another spelling of the number. The history
# gives the order; opt-outs from before there was a history are ordered by time.
_TAKE_BACK = (
    "DELETE FROM opt_outs WHERE msisdn = ?1 AND EXISTS ("
    " SELECT 1 FROM opt_out_history AS back WHERE back.msisdn = ?1 AND back.change = 'in'"
    " AND (back.short_code = '' OR opt_outs.short_code IN ('', back.short_code))"
    " AND (back.service_id = '' OR opt_outs.service_id IN ('', back.service_id))"
    " AND coalesce(back.id > (SELECT max(id) FROM opt_out_history AS out WHERE out.msisdn = ?1"
    " AND out.change = 'out' AND out.short_code = opt_outs.short_code"
    " AND out.service_id = opt_outs.service_id), back.time > opt_outs.time))"
)

_LINES = (
    f"SELECT {', '.join(book.LINE)} FROM subscriptions"
    " WHERE (source, short_code, service_id, msisdn) > (?, ?, ?, ?)"
    " ORDER BY source, short_code, service_id, msisdn LIMIT ?"
)
_DROP_LINE = (
    "DELETE FROM subscriptions WHERE source = ? AND short_code = ? AND service_id = ?"
    " AND msisdn = ?"
)
_CHANGES = (
    "SELECT id, source, short_code, service_id, msisdn, subscriber_ref FROM subscription_history"
    " WHERE id > ? ORDER BY id LIMIT ?"
)
_SET_CHANGE = (
    "UPDATE subscription_history SET short_code = ?, service_id = ?, msisdn = ?,"
    " subscriber_ref = ? WHERE id = ?"
)
_JOBS = (
    "SELECT jobs.id, kind, coalesce(jobs.source, events.source), payload, jobs.subject, message,"
    " event FROM jobs LEFT JOIN events ON seq = event WHERE jobs.id > ? ORDER BY jobs.id LIMIT ?"
)
_SET_JOB = "UPDATE jobs SET payload = ?, subject = ? WHERE id = ?"
_SET_ENDED = "UPDATE jobs SET short_code = ?, service_id = ? WHERE id = ?"
_MESSAGE = "SELECT id, source, msisdn, sender, service_id, link_id FROM messages"
_SET_MESSAGE = (
    "UPDATE messages SET msisdn = ?, sender = ?, service_id = ?, link_id = ? WHERE id = ?"
)
_LINKS = (
    "SELECT source, link_id FROM links WHERE (source, link_id) > (?, ?)"
    " ORDER BY source, link_id LIMIT ?"
)
_DROP_LINK = "DELETE FROM links WHERE source = ? AND link_id = ?"
_EVENT = "SELECT seq, source, type, subject, data FROM events"
_SET_EVENT = "UPDATE events SET subject = ?, data = ? WHERE seq = ?"


class Normaliser(msgspec.Struct, frozen=True, kw_only=True):
    """Converts numbers and ids to the form in which they are compared."""

    number: Callable[[str | None, str], str]
    """Converts a number or an address of ours, for a source or None."""
    is_placeholder: Callable[[str], bool]
    """Returns True for an id that is a placeholder."""

    def address(self, source: str | None, text: str | None) -> str | None:
        """Returns a converted number or address of ours; an empty one stays as it is."""
        return self.number(source, text) if text else text

    def id_(self, text: str | None) -> str | None:
        """Returns an id, or None for a placeholder."""
        return None if text is None or self.is_placeholder(text.strip()) else text


class Progress(msgspec.Struct, frozen=True):
    """The current stage."""

    stage: int
    name: str
    """The name of the table that the stage goes through; empty when all stages are done."""
    urgent: bool
    """True if it must be done before pushes are taken: it decides who may be messaged."""


def progress(tx: Tx) -> Progress:
    """Returns the current stage."""
    stage, _ = json.loads(tx.execute(_GET).fetchone()[0])
    return _progress(stage)


def step(tx: Tx, forms: Normaliser, *, urgent: bool) -> Progress:
    """Converts rows for some milliseconds; with `urgent` only in the urgent stages."""
    stage, place = json.loads(tx.execute(_GET).fetchone()[0])
    end = monotonic() + _STEP
    while stage < (_URGENT if urgent else len(_STAGES)):
        place = _go_on(tx, forms, _STAGES[stage], place)
        stage += place is None
        if monotonic() > end:
            break
    tx.execute(_SET, (json.dumps([stage, place], separators=(",", ":")),))
    return _progress(stage)


def _progress(stage: int) -> Progress:
    name = _STAGES[stage].name if stage < len(_STAGES) else ""
    return Progress(stage, name, stage < _URGENT)


class _Stage(NamedTuple):
    """Goes through a table in the order of a key."""

    name: str
    rows: str
    """Selects so many rows after a place, which is the key of a row."""
    convert: Callable[..., None]
    """Converts a row, whose columns are its arguments."""
    start: Any = 0
    """The place before the first row; a list if the key has several columns."""


def _go_on(tx: Tx, forms: Normaliser, stage: _Stage, place: Any) -> Any:
    """Converts some rows after a place; returns the place of the last, or None at the end.

    The place is JSON, and None at the beginning.
    """
    after = stage.start if place is None else place
    several = isinstance(stage.start, list)
    rows = tx.execute(stage.rows, (*(after if several else [after]), _ROWS)).fetchall()
    for row in rows:
        stage.convert(tx, forms, *row)
    if not rows:
        return None
    return rows[-1][: len(after)] if several else rows[-1][0]


def _opted_out(tx: Tx, forms: Normaliser, name: str) -> None:
    """Converts the opt-outs of a person: their lines follow from all their changes."""
    if name.startswith(MARK):
        return
    touched = set()
    for id_, source, *scope in tx.execute(_OPTED_CHANGES, (name,)).fetchall():
        new = _scope(forms, source, name, *scope)
        if new != (name, *scope):
            tx.execute(_SET_OPTED_CHANGE, (*new, id_))
            touched.add(new[0])
    for source, short_code, service_id, *rest in tx.execute(_OPT_OUTS, (name,)).fetchall():
        new = _scope(forms, source, name, short_code, service_id)
        if new != (name, short_code, service_id):
            tx.execute(_DROP_OPT_OUT, (name, short_code, service_id))
            tx.execute(_PUT_OPT_OUT, (source, *new, *rest))
            touched.add(new[0])
    for person in touched:
        tx.execute(_TAKE_BACK, (person,))


def _scope(
    forms: Normaliser, source: str | None, msisdn: str, short_code: str, service_id: str
) -> tuple[str, str, str]:
    """Returns person, short code and service; an opt-out without one of the latter has it empty."""
    address = forms.address(source, short_code) or ""
    return forms.number(source, msisdn), address, forms.id_(service_id) or ""


def _line(tx: Tx, forms: Normaliser, *row: Any) -> None:
    """Converts a line of the book; of those that become equal the latest stays."""
    line: dict[str, Any] = dict(zip(book.LINE, row, strict=True))
    source, short_code, service_id, msisdn, *_ = row
    person, address, about = _scope(forms, source, msisdn, short_code, service_id)
    new = {**line, "short_code": address, "service_id": about, "msisdn": person}
    new["subscriber_ref"] = forms.id_(line["subscriber_ref"])
    if new != line:
        tx.execute(_DROP_LINE, (source, short_code, service_id, msisdn))
        book.set_line(tx, new)


def _change(tx: Tx, forms: Normaliser, id_: int, source: str, *row: Any) -> None:
    short_code, service_id, msisdn, subscriber_ref = row
    person, *scope = _scope(forms, source, msisdn, short_code, service_id)
    new = (*scope, person, forms.id_(subscriber_ref))
    if new != row:
        tx.execute(_SET_CHANGE, (*new, id_))


def _job(tx: Tx, forms: Normaliser, id_: int, kind: str, source: str | None, *row: Any) -> None:
    """Converts a job with its message and event, since it may run at any time."""
    payload, subject, message, event = row
    new = payload
    if kind == "deactivate":
        new = _data(forms, source, payload) or payload
    person = forms.address(source, subject)
    if (new, person) != (payload, subject):
        tx.execute(_SET_JOB, (new, person, id_))
    if new != payload:
        ended = msgspec.json.decode(new)
        tx.execute(_SET_ENDED, (ended.get("short_code") or "", ended.get("service_id") or "", id_))
    for found in tx.execute(f"{_MESSAGE} WHERE id = ?", (message,)).fetchall():
        _message(tx, forms, *found)
    for found in tx.execute(f"{_EVENT} WHERE seq = ?", (event,)).fetchall():
        _event(tx, forms, *found)


def _message(tx: Tx, forms: Normaliser, id_: int, source: str, *row: Any) -> None:
    msisdn, sender, service_id, link_id = row
    to, by = forms.number(source, msisdn), forms.address(source, sender)
    new = (to, by, forms.id_(service_id), forms.id_(link_id))
    if new != row:
        tx.execute(_SET_MESSAGE, (*new, id_))


def _link(tx: Tx, forms: Normaliser, source: str, link_id: str) -> None:
    """Deletes a link_id that is a placeholder: it was never used up."""
    if forms.id_(link_id) is None:
        tx.execute(_DROP_LINK, (source, link_id))


def _event(tx: Tx, forms: Normaliser, seq: int, source: str, type_: str, *row: Any) -> None:
    if type_ == PURGED:
        return
    subject, data = row
    person, new = forms.address(source, subject), _data(forms, source, data)
    if person != subject or new is not None:
        tx.execute(_SET_EVENT, (person, new or data, seq))
    if person != subject:
        rename_person(tx, seq, subject, person)


#: Fields that may need conversion, in the data of an event and of a job.
_ADDRESSES = frozenset(("from", "to", "sender", "msisdn", "short_code"))
_IDS = frozenset(("service_id", "link_id", "subscriber_ref"))


def _data(forms: Normaliser, source: str | None, data: bytes) -> bytes | None:
    """Returns the converted data; None if it needs no conversion, as nearly always."""
    fields = msgspec.json.decode(data)
    new = {
        name: forms.address(source, value) if name in _ADDRESSES else value
        for name, value in fields.items()
        if name not in _IDS or value is None or forms.id_(value) is not None
    }
    return None if new == fields else msgspec.json.encode(new)


#: The stages in order. Their numbers are stored, so a new one goes to the end.
_STAGES = (
    _Stage("opt_outs", _OPTED, _opted_out, ""),
    _Stage("subscriptions", _LINES, _line, [""] * 4),
    _Stage("subscription_history", _CHANGES, _change),
    _Stage("jobs", _JOBS, _job),
    _Stage("messages", f"{_MESSAGE} WHERE id > ? ORDER BY id LIMIT ?", _message),
    _Stage("links", _LINKS, _link, ["", ""]),
    _Stage("events", f"{_EVENT} WHERE seq > ? ORDER BY seq LIMIT ?", _event),
)
#: The number of urgent stages, which decide who may be messaged, and convert pending work.
_URGENT = 4
