"""Counts for reports are those of a recount, whatever happens to what they count."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.actions import Send
from receiver.config import StoreAddress
from receiver.events import (
    DeliveryReport,
    EventType,
    Message,
    Status,
    SubscriptionChange,
    encode_data,
)
from receiver.outgoing import Sent
from receiver.store import (
    Attempt,
    EventRow,
    Failure,
    PurgeKind,
    Report,
    StoredPush,
    jobs,
    messages,
    purges,
    pushes,
    renames,
    rollups,
    to_micros,
)
from receiver.store.engine import engine_of
from receiver.store.ids import EventIds
from receiver.store.tx import Tx
from receiver.text.keywords import keyword
from tests.examples import examples
from tests.harness import NOW
from tests.store.conftest import Stores

SOURCES = ("tilil", "tsconect")
#: Of what people write; the last are numbers or codes of their own.
TEXTS = ("GAME on", "game", "Play", "", "0712345678 is mine", "ANTIDISESTABLISHMENTARIANISM")
NETWORKS = (None, "safaricom", "airtel")
STATUSES = (Status.SENT, Status.FAILED, Status.DELIVERED)
KINDS = {
    EventType.MESSAGE_RECEIVED: "received",
    EventType.DELIVERY_UPDATED: "reports",
    EventType.SUBSCRIPTION_ACTIVATED: "joined",
    EventType.SUBSCRIPTION_DEACTIVATED: "left",
}
Key = tuple[Any, ...]


class _Lost(Exception):
    """Stands for the end of the program."""


class World:
    """A store, and what a recount of all that ever came to it finds."""

    def __init__(self, address: StoreAddress, seed: int) -> None:
        self.engine = engine_of(address)
        self.random = random.Random(seed)
        self.now = NOW
        self.came: dict[int, Key] = {}
        """By sequence number."""
        self.gone: Counter[Key] = Counter()
        """Messages that were purged, as they were then."""
        self.open()

    def open(self) -> None:
        """Opens the store, as a start of the program does."""
        self.opened = ExitStack()
        self.connection, _ = self.opened.enter_context(self.engine.writer(works=False))
        self.db = self.connection.tx
        self.ids = EventIds(1, self.db.execute(rollups.LAST_SEQ).fetchone()[0])

    def close(self) -> None:
        """Closes the store."""
        self.connection.close()
        self.opened.close()

    @contextmanager
    def commit(self, *, lost: bool = False) -> Iterator[Tx]:
        """A transaction; if it is lost, the program ends before its commit."""
        with suppress(_Lost), self.connection.transaction():
            yield self.db
            if lost:
                raise _Lost

    def push(self) -> None:
        """Somebody writes, joins or leaves, or a message has arrived."""
        source, type_ = self.any(SOURCES), self.any(tuple(KINDS))
        network, service = self.any(NETWORKS), self.any((None, "32", "0"))
        if type_ is EventType.MESSAGE_RECEIVED:
            self.write(self.any(TEXTS), source=source, network=network, service_id=service)
        elif type_ is EventType.DELIVERY_UPDATED:
            known = self.db.execute("SELECT key FROM message_ids WHERE source = ?", (source,))
            id_ = self.any([key for (key,) in known] or ["404"])
            status = self.any(STATUSES)
            self.take(
                source,
                type_,
                DeliveryReport(message_id=id_, status=status, network=network),
                Report(message_id=id_, status=status),
            )
        else:
            fields = {"keyword": self.any((None, "game", "GAME")), "network": network}
            self.take(source, type_, SubscriptionChange(msisdn="x", service_id=service, **fields))

    def write(self, text: str, source: str = "tilil", **fields: Any) -> None:
        """Somebody writes this."""
        said = Message(external_id="1", from_="x", text=text, keyword=keyword(text), **fields)
        self.take(source, EventType.MESSAGE_RECEIVED, said)

    def take(self, source: str, type_: EventType, data: Any, report: Report | None = None) -> None:
        """Stores an event."""
        at = to_micros(self.now)
        row = EventRow(
            seq=self.ids.next(at),
            source=source,
            key=f"event:{len(self.came)}",
            provider="tilil",
            type=str(type_),
            subject=None,
            time=at,
            received_at=at,
            data=encode_data(data),
            answer=b"",
            reply=0,
            request=b"",
        )
        with self.commit() as tx:
            pushes.take(tx, [StoredPush(row=row, plain_answer=b"", report=report)])
        word = (getattr(data, "keyword", None) or "").upper()
        if len(word) > 20 or sum(map(str.isdigit, word)) > 4:
            word = rollups.OTHER
        service = (getattr(data, "service_id", None) or "").removeprefix("0")
        status = getattr(data, "status", "")
        about = (word, data.network or "", service, status)
        self.came[row.seq] = (source, KINDS[type_], at // 900_000_000, *about)

    def ask(self) -> None:
        """A handler sends a message."""
        send = Send(
            to="+254711000222", text="x", source=self.any(SOURCES), service_id=self.any((None, "7"))
        )
        with self.commit() as tx:
            messages.add(tx, jobs.by_operator(self.now), "mine.h", send)

    def change(self) -> None:
        """A message is sent, refused, lost, or waits again."""
        (id_,) = self.db.execute("SELECT max(id) FROM messages").fetchone()
        if id_ is None:
            return
        id_, now = self.random.randint(1, id_), to_micros(self.now)
        taken = Sent(status=self.any(STATUSES), message_id=str(1000 + id_))
        no = Failure("no", self.any((Status.FAILED, Status.REJECTED)))
        fates: tuple[Callable[[Tx], None], ...] = (
            lambda tx: messages.sent(tx, id_, now, taken),
            lambda tx: messages.kill(tx, id_, now, no),
            lambda tx: messages.lose(tx, id_, now, no),
            lambda tx: messages.put_off(tx, id_, now, now, no),
            lambda tx: messages.revive(tx, id_, now),
        )
        with self.commit() as tx:
            messages.begin(tx, [Attempt(id_, "+254711000222")], now, 1)
            self.any(fates)(tx)

    def purge(self) -> None:
        """Retention deletes events, keys or messages."""
        kind = self.any((PurgeKind.EVENTS, PurgeKind.KEYS, PurgeKind.MESSAGES))
        self.drop(kind, self.some(kind), wanted_or_not=False)

    def forget(self) -> None:
        """A person's events and messages are deleted."""
        seqs = self.some(PurgeKind.EVENTS)
        kept = self.db.execute("SELECT seq FROM events WHERE type <> ''").fetchall()
        for seq in {seq for (seq,) in kept}.intersection(seqs):
            key = self.came[seq]
            if key[1] == "received" and key[3]:
                self.came[seq] = (*key[:3], rollups.OTHER, *key[4:])
        self.drop(PurgeKind.EVENTS, seqs, wanted_or_not=True)
        self.drop(PurgeKind.MESSAGES, self.some(PurgeKind.MESSAGES), wanted_or_not=True)

    def drop(self, kind: PurgeKind, ids: list[int], *, wanted_or_not: bool) -> None:
        """Deletes these rows."""
        before = self.outgoing()
        with self.commit() as tx:
            purges.drop(tx, kind, ids, wanted_or_not=wanted_or_not)
        self.gone += before - self.outgoing()

    def count(self) -> None:
        """The service counts a few rows, or ends in the middle of it."""
        with self.commit(lost=self.random.random() < 0.2) as tx:
            rollups.step(tx, most=self.random.randint(1, 5))

    def restart(self) -> None:
        """The program ends and starts again."""
        self.close()
        self.open()

    def rename(self) -> None:
        """A source has another name, and what came under the old one."""
        for step in renames.steps("tilil", "tsconect"):
            place: int | None = renames.BEGINNING
            while place is not None:
                with self.commit() as tx:
                    place = step(tx, place)
        self.came = {seq: ("tsconect", *key[1:]) for seq, key in self.came.items()}
        moved: Counter[Key] = Counter()
        for key, count in self.gone.items():
            moved["tsconect", *key[1:]] += count
        self.gone = moved

    def wait(self) -> None:
        """Time passes, or the clock is set back."""
        self.now += timedelta(minutes=self.any((4, 11, 60, -30)))

    def any(self, values: Any) -> Any:
        """One of these."""
        return self.random.choice(values)

    def some(self, kind: PurgeKind) -> list[int]:
        """Some rows of a kind."""
        query = (
            "SELECT id FROM messages" if kind is PurgeKind.MESSAGES else "SELECT seq FROM events"
        )
        ids = [id_ for (id_,) in self.db.execute(query)]
        return self.random.sample(ids, len(ids) // 2)

    def outgoing(self) -> Counter[Key]:
        """Counts the messages that are there."""
        rows = self.db.execute("SELECT source, created_at, service_id, status FROM messages")
        return Counter(
            (source, "outgoing", at // 900_000_000, "", "", service or "", status)
            for source, at, service, status in rows
        )

    def recount(self) -> Counter[Key]:
        """Counts all that ever came, and all messages as they are or were."""
        return Counter(self.came.values()) + self.outgoing() + self.gone

    def counted(self) -> Counter[Key]:
        """The counts of the store, once everything is counted."""
        while rollups.step(self.db, most=3):
            pass
        rows = self.db.execute("SELECT * FROM rollups").fetchall()
        assert all(count >= 0 for *_, count in rows)
        return +Counter({tuple(key): count for *key, count in rows})


DEEDS = (
    *(World.push, World.push, World.push, World.ask, World.ask, World.change, World.change),
    *(World.purge, World.forget, World.count, World.count, World.restart, World.rename, World.wait),
)


@examples(50)
@given(st.lists(st.sampled_from(DEEDS), min_size=1, max_size=60), st.integers(0, 2**32))
def test_counts_are_those_of_a_recount(
    stores: Stores, deeds: list[Callable[[World], None]], seed: int
) -> None:
    """After pushes, late reports, purges, forgetting, renames and restarts in any order."""
    with stores.store() as address:
        world = World(address, seed)
        for deed in deeds:
            deed(world)
        assert world.counted() == world.recount()
        world.close()


@pytest.fixture
def world(address: StoreAddress) -> Iterator[World]:
    """A new store."""
    made = World(address, 1)
    yield made
    made.close()


def words(world: World) -> dict[str, int]:
    """The counts by keyword, also those that are zero."""
    found = Counter[str]()
    world.counted()
    for word, count in world.db.execute("SELECT keyword, count FROM rollups"):
        found[word] += count
    return dict(found)


def test_what_comes_is_above_what_was_counted(world: World) -> None:
    """Also if all that was counted is gone with its keys, and the clock is set back at a start."""
    world.write("GAME")
    assert words(world) == {"GAME": 1}
    [seq] = world.came
    for kind in (PurgeKind.EVENTS, PurgeKind.KEYS):
        world.drop(kind, [seq], wanted_or_not=False)
    world.now -= timedelta(days=1)
    world.restart()
    world.write("PLAY")
    assert words(world) == {"GAME": 1, "PLAY": 1}


def test_keywords_of_a_quarter_hour_are_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first have counts of their own, and keep them; the next quarter hour has others."""
    monkeypatch.setattr(rollups, "MOST_KEYWORDS", 2)
    for text in ("A", "B", "", "C", "D", "A", ""):
        world.write(text)
    assert words(world) == {"A": 2, "B": 1, "": 2, rollups.OTHER: 2}
    world.write("B")
    world.write("E")
    world.now += timedelta(minutes=15)
    world.write("D")
    assert words(world) == {"A": 2, "B": 2, "": 2, rollups.OTHER: 3, "D": 1}


def test_a_forgotten_person_leaves_no_word(world: World) -> None:
    """Nor does one that was counted before; what others wrote as well stays theirs."""
    for text in ("WANJIKU", "GAME", "GAME", ""):
        world.write(text)
    first, second, _, last = world.came
    assert words(world)["WANJIKU"] == 1
    world.write("KAMAU")
    uncounted = max(world.came)
    world.drop(PurgeKind.EVENTS, [first, second, last, uncounted], wanted_or_not=True)
    assert words(world) == {"GAME": 1, rollups.OTHER: 3, "": 1}


def test_the_keyword_of_a_subscription_is_the_service_s(world: World) -> None:
    """It stays when a subscriber is forgotten."""
    world.take(
        "tilil",
        EventType.SUBSCRIPTION_ACTIVATED,
        SubscriptionChange(msisdn="+254726770792", keyword="game"),
    )
    world.drop(PurgeKind.EVENTS, list(world.came), wanted_or_not=True)
    assert words(world) == {"GAME": 1}


def test_no_more_is_counted_at_once_than_asked_for(world: World) -> None:
    """A store of an earlier program is counted in small steps."""
    for _ in range(3):
        world.write("GAME")
        world.ask()
    seen = []
    for _ in range(3):
        more = rollups.step(world.db, most=2)
        ((total,),) = world.db.execute("SELECT coalesce(sum(count), 0) FROM rollups")
        seen.append((more, total))
    assert seen == [(True, 4), (False, 6), (False, 6)]
