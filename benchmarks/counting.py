"""What it costs to count an event for reports: processor time of the writer's thread."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from receiver.events import EventType, Message, encode_data, utc_now
from receiver.store import EventRow, StoredPush, pack_request, pushes, rollups, to_micros
from receiver.store.engine.sqlite.connection import WriterConnection
from receiver.store.ids import EventIds

_KEYWORDS = ("GAME", "PLAY", "JOIN", "STOP", "BAL", "HELP", "YES", "NO")
_NETWORKS = ("safaricom", "airtel", "telkom")
#: Events in a commit.
_BATCH = 50


def microseconds(folder: Path, events: int, rate: float) -> float:
    """Returns what one of so many events costs that come so many a second, counted in steps."""
    path = folder / f"counting-{rate:g}.db"
    spent = 0.0
    with closing(WriterConnection(path)) as writer:
        following = pushes_at(rate)
        for _ in range(events // rollups.STEP):
            for _ in range(rollups.STEP // _BATCH):
                with writer.transaction():
                    pushes.take(writer.tx, list(itertools.islice(following, _BATCH)))
            began = time.thread_time()
            with writer.transaction():
                rollups.step(writer.tx)
            spent += time.thread_time() - began
            writer.tidy_up(rollups.STEP, rollups.STEP * 600)
    return spent / events * 1e6


def pushes_at(rate: float) -> Iterator[StoredPush]:
    """Messages with all keywords through all networks, so many a second, without end."""
    ids, start = EventIds(1), to_micros(utc_now())
    for number in itertools.count():
        yield _push(ids, number, start + int(number * 1e6 / rate))


def _push(ids: EventIds, number: int, at: int) -> StoredPush:
    message = Message(
        external_id=str(number),
        from_="+254712345678",
        to="22915",
        text="Test inbox",
        keyword=_KEYWORDS[number % len(_KEYWORDS)],
        network=_NETWORKS[number % len(_NETWORKS)],
        service_id="32",
    )
    body = b'{"mobile":"254712345678","message":"Test inbox","shortcode":"22915"}' * 3
    row = EventRow(
        seq=ids.next(at),
        source="tilil",
        key=f"message:{number}",
        provider="tilil",
        type=str(EventType.MESSAGE_RECEIVED),
        subject="+254712345678",
        time=at,
        received_at=at,
        data=encode_data(message),
        answer=b'{"result_code":1}',
        reply=2,
        request=pack_request("POST", None, b"", [], body, "127.0.0.1"),
    )
    return StoredPush(row=row, plain_answer=b"")
