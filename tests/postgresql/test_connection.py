"""The connection that writes, against a server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any
from unittest.mock import Mock

import psycopg
import pytest

from receiver.actions import Reply
from receiver.store.engine import WriterConnection, engine_of
from receiver.store.engine.postgresql import prepared
from receiver.store.engine.postgresql.connection import LeaseLost
from receiver.store.engine.postgresql.schema import LOCK
from receiver.store.engine.postgresql.statements import native
from receiver.store.queries import marks
from tests.harness import until
from tests.postgresql.scene import address
from tests.postgresql.servers import Server, single, url_of
from tests.store.rows import held, intake, opened

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """An empty one."""
    with single() as started:
        yield started


@pytest.fixture
def connection(server: Server) -> Iterator[WriterConnection]:
    """A receiver's."""
    with engine_of(address(url_of([server.port]))).writer(works=True) as (opened, _):
        yield opened
        opened.close()


FAILS = "INSERT INTO flags (id) VALUES (?)"
WORKS = "DELETE FROM flags WHERE id = ?"


def change(connection: WriterConnection, statement: str, value: object) -> None:
    """Runs a transaction of one statement."""
    with connection.transaction():
        connection.tx.execute(statement, (value,))


def test_who_was_taken_for_dead_changes_nothing(
    server: Server, connection: WriterConnection
) -> None:
    """No transaction of it begins, until its lease runs again."""
    nodes = server.ask("DELETE FROM nodes RETURNING id, slot, name, version, since", "sms")
    with pytest.raises(LeaseLost):
        change(connection, WORKS, 1)
    ((id_, slot, name, version, since),) = nodes
    server.ask(
        "INSERT INTO nodes (id, slot, name, version, works, since, until) VALUES"
        f" ({id_}, {slot}, '{name}', '{version}', 1, '{since}', 'infinity')",
        "sms",
    )
    change(connection, WORKS, 1)


def test_an_error_that_is_passed_over_fails_the_commit(connection: WriterConnection) -> None:
    """The server rolls back, and does not call that an error. What comes next is not spoiled."""

    def pass_over() -> None:
        with connection.transaction(), suppress(psycopg.DataError):
            connection.tx.execute(FAILS, ("nonsense",))

    for _ in range(2):
        with pytest.raises(psycopg.OperationalError, match="expected COMMIT"):
            pass_over()
        with pytest.raises(psycopg.DataError):
            change(connection, FAILS, "nonsense")
        change(connection, WORKS, 1)


def test_who_stops_in_a_transaction_loses_the_lock(
    server: Server, connection: WriterConnection
) -> None:
    """What begins it is one message, after which the server's patience with an idle one counts."""
    with connection.transaction():
        connection.tx.execute(WORKS, (1,))
        idle = "state = 'idle in transaction' AND application_name LIKE '%writer'"
        query = f"SELECT count(*) FROM pg_stat_activity WHERE {idle}"
        assert server.ask(query, "sms") == [(1,)]
        session = connection.tx.execute("SHOW idle_in_transaction_session_timeout").fetchone()
        assert session == ("10s",)


def test_who_waits_for_the_lock_is_not_waited_for(
    server: Server, connection: WriterConnection
) -> None:
    """A later version has the lock while it alters tables, also that of the receivers."""
    waits = threading.Thread(target=change, args=(connection, WORKS, 1))
    with psycopg.connect(f"{server.conninfo} dbname=sms") as migration:
        migration.execute(f"SELECT pg_advisory_xact_lock({LOCK})".encode())
        waits.start()
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'"
        until(lambda: server.ask(query) == [(1,)], "it waits for the lock")
        migration.execute("ALTER TABLE nodes ADD COLUMN remark text")
        migration.rollback()
    waits.join()


def first(connection: WriterConnection, query: str, values: Sequence[object]) -> list[Any]:
    """The rows of a query with which a transaction begins."""
    with connection.transaction():
        return connection.tx.execute(query, values).fetchall()


def test_a_statement_takes_any_count_of_values(connection: WriterConnection) -> None:
    """The list after IN is one array, whatever its texts are; a NULL is in no list."""
    odd = ["", "a,b", '"', "\\", "{}", "NULL", "it's", "\x00", "ä\n"]
    add = "INSERT INTO flags (event, handler, reason, time) VALUES (?, ?, '', ?)"
    for number, text in enumerate(odd):
        connection.tx.execute(add, (number, text, True))
    for texts, events in (odd, [7]), (odd[3:], [1, 2, 3]), ([None, "x"], [1]):
        query = (
            "SELECT handler FROM flags WHERE time = ? AND (handler IN"
            f" ({marks(len(texts))}) AND event NOT IN ({marks(len(events))}))"
        )
        found = connection.tx.execute(query, (1, *texts, *events)).fetchall()
        assert found == first(connection, query, (1, *texts, *events))
        expected = {text for n, text in enumerate(odd) if text in texts and n not in events}
        assert {text.replace("\N{SYMBOL FOR NULL}", "\x00") for (text,) in found} == expected
    connection.tx.execute("DELETE FROM flags")
    assert native("x IN (?, ?) AND y = ?")[0] == native("x IN (?) AND y = ?")[0]


def test_so_many_statements_are_kept(
    connection: WriterConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest ones are given up, and prepared again when they are run again."""
    monkeypatch.setattr(prepared, "_MOST", 3)
    kept = "SELECT count(*) FROM pg_prepared_statements"
    for _ in range(2):
        for number in range(4):
            change(connection, f"SELECT {number} WHERE ? = 1", 1)
        assert connection.tx.execute(kept).fetchone() == (3,)


def test_rows_come_one_by_one_and_all(connection: WriterConnection) -> None:
    """As sqlite3 gives them: what was fetched is not fetched again."""
    found = connection.tx.execute("SELECT * FROM generate_series(1, ?)", (4,))
    assert (found.fetchone(), found.fetchall(), found.fetchone()) == (
        (1,),
        [(2,), (3,), (4,)],
        None,
    )


def test_a_lost_connection_is_unavailable(server: Server, connection: WriterConnection) -> None:
    """It is made again for the next commit; statements are prepared there anew."""
    for _ in range(2):
        change(connection, WORKS, 1)
        ended = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        server.ask(f"{ended} WHERE application_name LIKE '%writer'", "sms")
        with pytest.raises(psycopg.Error) as caught:
            change(connection, WORKS, 1)
        assert connection.is_unavailable(caught.value)
        connection.begin_commit(at_once=False)


async def test_a_commit_of_plain_pushes_is_three_messages(server: Server) -> None:
    """To begin and look for opt-outs, the rows, to commit: each costs as much as some rows."""
    async with opened(address(url_of([server.port]))) as store:
        connection: Any = store.writer._connection
        statements = connection._statements
        async with held(store):
            waiting = [store.take(intake(store, n, reply=Reply("hello"))) for n in range(5)]
            statements._libpq = calls = Mock(wraps=statements._libpq)
        await asyncio.gather(*waiting)
    names = [name for name, *_ in calls.method_calls if name != "prepare"]
    assert names[:2] == ["exec_", "exec_"]  # what was held: it looks for work, and commits
    assert names[2:] == ["exec_", "exec_prepared", "exec_"]
