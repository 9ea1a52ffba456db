"""A store that has seen millions of events, made once and kept between runs."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from receiver.events import EventType, Message, encode_data
from receiver.store import EventRow, ReplyState, pack_request, to_micros
from receiver.store.engine import person_index
from receiver.store.engine.sqlite.database import open_writer
from receiver.store.ids import EventIds

_BATCH = person_index.RUN_EVENTS
_INSERT = (
    "INSERT INTO events (seq, source, key, provider, type, subject, time, received_at, data,"
    " answer, reply, request, note, answered_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_ANSWER = b'{"result_code":1,"result_desc":"OK","result_message":"Thank you for your message."}'
_BODY = (
    '{{"api_token":"944a73412bed1240b5a2afa381a928a6","timestamp":"20180217065028",'
    '"mobile":"2547{person:08d}","message":"Test inbox","shortcode":"70700","inbox_id":"{number}",'
    '"service_id":"32","network_name":"Safaricom","link_id":"763723672367236526261"}}'
)


def make(path: Path, events: int) -> None:
    """Fills a new store at `path` with so many messages of a million people."""
    if path.exists():
        with closing(sqlite3.connect(path)) as db:
            (found,) = db.execute("SELECT count(*) FROM events").fetchone()
        if found >= events:
            return
        path.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    db = open_writer(path)
    db.execute("PRAGMA synchronous = off")
    (node,) = db.execute("SELECT value FROM meta WHERE key = 'node'").fetchone()
    ids = EventIds(node)
    for first in range(0, events, _BATCH):
        db.execute("BEGIN")
        db.executemany(_INSERT, _rows(ids, first, min(_BATCH, events - first)))
        person_index.index_people(db)
        db.execute("COMMIT")
        if first % (16 * _BATCH) == 0:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        done = min(first + _BATCH, events)
        print(f"\r{done:,} of {events:,} events", end="", file=sys.stderr)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    print(f", in {time.monotonic() - started:.0f} s", file=sys.stderr)


def _rows(ids: EventIds, first: int, count: int) -> Iterator[tuple[object, ...]]:
    # A hundred events a second, up to now.
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(first, first + count):
        at = start + timedelta(milliseconds=number * 10)
        person = (number * 7919) % 1_000_000
        body = _BODY.format(person=person, number=number).encode()
        data = Message(
            external_id=str(number),
            from_=f"+2547{person:08d}",
            to="70700",
            text="Test inbox",
            keyword="TEST",
            network="safaricom",
            service_id="32",
            link_id="763723672367236526261",
        )
        headers = [(b"content-type", b"application/json")]
        request = pack_request("POST", None, b"", headers, body, "127.0.0.1")
        row = EventRow(
            ids.next(to_micros(at)),
            "tilil",
            f"message:{number}",
            "tilil",
            EventType.MESSAGE_RECEIVED,
            data.from_,
            to_micros(at),
            to_micros(at),
            encode_data(data),
            _ANSWER,
            ReplyState.GIVEN,
            request,
        )
        yield tuple(getattr(row, field) for field in EventRow.__struct_fields__)
