"""Reads for `receiver doctor`, beside a running service or without one, changing nothing.

The connections of other commands take part in SQLite's housekeeping: the last to close one writes
the log back and deletes it. These do not. A store that nobody has open is read without even
making the files that a reader usually needs.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import msgspec

from receiver.errors import StoreUnusable
from receiver.store.database import APPLICATION_ID, check_alone, migrations
from receiver.store.purge_reads import TRUST, trusted
from receiver.store.queries import naming
from receiver.store.records import from_micros, unpack_request
from receiver.store.renames import KNOWN_SOURCES

#: The SQLite that this program runs with, and the oldest that can do what it asks (RETURNING).
SQLITE = sqlite3.sqlite_version_info
OLDEST_SQLITE = (3, 35, 0)
#: From this version on, two connections may write the log back at the same time.
SAFE_CHECKPOINTS = (3, 51, 3)
#: Seconds that looking for the last push of each source may take.
_SEARCH_SECONDS = 2.0
#: Instructions of SQLite's machine between looks at the clock.
_STEPS = 10_000
#: Pushes whose addresses are looked at, and damages that are told.
_RECENT = 20
_MOST_DAMAGES = 5


class Quarantine(msgspec.Struct, frozen=True):
    """Requests of one source that could not become events."""

    source: str
    authenticated: bool
    requests: int
    newest: datetime
    clock: int = 0
    """Of the requests: the credential was right, but of a time too far from ours."""


class StoreHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a store."""

    version: int
    """Of its schema; what follows is looked at only where it is the newest."""
    newest: int
    """The version that this program knows."""
    last_pushes: dict[str, datetime] = {}
    """By source; of those that were found in time."""
    sources: list[str] = []
    """All that there is anything of."""
    searched_back_to: datetime | None = None
    """How far back the search for them came, when it ended early."""
    clients: list[str] = []
    """Addresses that the newest pushes came from."""
    quarantine: list[Quarantine] = []
    dead_jobs: int = 0
    oldest_due: datetime | None = None
    """Of the jobs that are to be done, when the first was due."""
    unjoined: int = 0
    """Delivery reports of messages that we do not know."""
    trusted: datetime | None = None
    """When the last sweep of `[retention]` was; see `PurgeReader.trusted`."""
    balances: dict[str, tuple[str, datetime]] = {}
    """By source: what the provider said with the message that was sent last."""


class IntegrityResult(msgspec.Struct, frozen=True):
    """The result of SQLite's search for damage."""

    damages: list[str]
    finished: bool
    """False: the time was over first, and nothing was found until then."""


def store_health(path: Path, sources: Iterable[str]) -> StoreHealth:
    """Reads the state of the store at `path`. Raises `StoreUnusable` for any other file."""
    with _opened(path) as db:
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        newest = len(migrations())
        if application != APPLICATION_ID:
            raise StoreUnusable(f"{path}: an SQLite file, but not a store of sms-receiver")
        if version != newest:
            return StoreHealth(version=version, newest=newest)
        found, back_to = _last_pushes(db, set(sources))
        due = _one(db, "SELECT min(due_at) FROM jobs WHERE state = 'due'")
        return StoreHealth(
            version=version,
            newest=newest,
            last_pushes=found,
            sources=[source for (source,) in db.execute(KNOWN_SOURCES) if source],
            searched_back_to=back_to,
            clients=_clients(db),
            quarantine=[
                Quarantine(source, bool(authenticated), count, from_micros(at), clock)
                for source, authenticated, count, at, clock in db.execute(
                    "SELECT source, authenticated, count(*), max(received_at),"
                    " sum(outcome = 'clock') FROM quarantine"
                    " GROUP BY source, authenticated ORDER BY source, authenticated DESC"
                )
            ],
            dead_jobs=_one(db, "SELECT count(*) FROM jobs WHERE state = 'dead'"),
            oldest_due=from_micros(due) if due is not None else None,
            unjoined=_one(db, "SELECT count(*) FROM reports WHERE message IS NULL"),
            trusted=trusted(db.execute(TRUST).fetchone()),
            balances=_balances(db, sources),
        )


def verify(path: Path, seconds: float | None) -> IntegrityResult:
    """Has SQLite look for damages: quickly for so many seconds, or (None) from end to end.

    Raises `StoreUnusable` where it cannot even begin.
    """
    with _opened(path) as db:
        if seconds is None:
            return _checked(db, "integrity_check")
        until = time.monotonic() + seconds
        db.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
        try:
            return _checked(db, "quick_check")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            return IntegrityResult([], finished=False)


def _checked(db: sqlite3.Connection, pragma: str) -> IntegrityResult:
    lines = [line for (line,) in db.execute(f"PRAGMA {pragma}({_MOST_DAMAGES})")]
    return IntegrityResult([] if lines == ["ok"] else lines, finished=True)


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that leaves every file as it is."""
    check_alone(path)
    wal = path.with_name(f"{path.name}-wal")
    # Without a log nobody has the store open: whoever closes it last deletes its log.
    untouched = not wal.exists()
    options = "mode=ro&immutable=1" if untouched else "mode=ro"
    url = f"file:{quote(str(path))}?{options}"
    with naming(path, StoreUnusable), closing(sqlite3.connect(url, uri=True)) as db:
        yield db
    if untouched and wal.exists():
        raise StoreUnusable(f"{path}: was opened by another process just now; look again")


def _one(db: sqlite3.Connection, query: str) -> int:
    (value,) = db.execute(query).fetchone()
    found: int = value
    return found


def _last_pushes(
    db: sqlite3.Connection, missing: set[str]
) -> tuple[dict[str, datetime], datetime | None]:
    """Newest first until every source was seen or the time is over: a silent one has no index."""
    found: dict[str, datetime] = {}
    until = time.monotonic() + _SEARCH_SECONDS
    for n, (source, at) in enumerate(
        db.execute("SELECT source, received_at FROM events ORDER BY seq DESC")
    ):
        if source in missing:
            found[source] = from_micros(at)
            missing.discard(source)
        if not missing:
            break
        if n % 1000 == 999 and time.monotonic() > until:
            return found, from_micros(at)
    return found, None


def _clients(db: sqlite3.Connection) -> list[str]:
    query = (
        "SELECT request FROM (SELECT seq, request FROM events ORDER BY seq DESC"
        f" LIMIT {_RECENT}) WHERE request IS NOT NULL"
    )
    return [unpack_request(request).client for (request,) in db.execute(query)]


def _balances(db: sqlite3.Connection, sources: Iterable[str]) -> dict[str, tuple[str, datetime]]:
    found = {}
    for source in sources:
        row = db.execute(
            "SELECT balance, sent_at FROM (SELECT balance, sent_at FROM messages WHERE source = ?"
            " AND sent_at IS NOT NULL ORDER BY sent_at DESC LIMIT 100)"
            " WHERE balance IS NOT NULL LIMIT 1",
            (source,),
        ).fetchone()
        if row:
            found[source] = (row[0], from_micros(row[1]))
    return found
