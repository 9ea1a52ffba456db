"""The connection that writes, against a server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress

import psycopg
import pytest

from receiver.store.engine import WriterConnection, engine_of
from receiver.store.engine.postgresql.connection import LeaseLost
from receiver.store.engine.postgresql.schema import LOCK
from tests.harness import until
from tests.postgresql.scene import address
from tests.postgresql.servers import Server, single, url_of


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
