"""The connection that writes, against a server."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from receiver.store.engine import WriterConnection, engine_of
from receiver.store.engine.postgresql.connection import LeaseLost
from tests.postgresql.scene import address
from tests.postgresql.servers import Server, single, url_of

FAILS = "INSERT INTO flags (id) VALUES (?)"
WORKS = "DELETE FROM flags WHERE id = ?"


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


def test_a_statement_that_fails_spoils_no_other(connection: WriterConnection) -> None:
    """What was sent together with it and was passed over is not taken for prepared."""
    for _ in range(7):
        with pytest.raises(psycopg.DataError):
            connection.commit(FAILS, ("nonsense",))
        connection.begin_commit(at_once=False)
        assert connection.commit(WORKS, (1,)).rowcount == 0
        with connection.transaction():
            connection.tx.execute(WORKS, (1,))


def test_who_was_taken_for_dead_changes_nothing(
    server: Server, connection: WriterConnection
) -> None:
    """Neither by one statement nor by a transaction."""
    server.ask("DELETE FROM nodes", "sms")
    with pytest.raises(LeaseLost):
        connection.commit(WORKS, (1,))
    connection.begin_commit(at_once=False)
    with pytest.raises(LeaseLost), connection.transaction():
        pytest.fail("it began")


def test_an_error_that_is_passed_over_fails_the_commit(connection: WriterConnection) -> None:
    """The server rolls back, and does not call that an error."""
    with pytest.raises(psycopg.OperationalError, match="expected COMMIT"), connection.transaction():
        with pytest.raises(psycopg.Error):
            connection.tx.execute(FAILS, ("nonsense",))
