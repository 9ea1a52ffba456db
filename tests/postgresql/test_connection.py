"""The connection that writes, against a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import psycopg
import pytest

from receiver.store.engine import WriterConnection, engine_of
from receiver.store.engine.postgresql.connection import LeaseLost
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


def test_who_was_taken_for_dead_changes_nothing(
    server: Server, connection: WriterConnection
) -> None:
    """No transaction begins."""
    server.ask("DELETE FROM nodes", "sms")
    with pytest.raises(LeaseLost), connection.transaction():
        pytest.fail("it began")


def test_an_error_that_is_passed_over_fails_the_commit(connection: WriterConnection) -> None:
    """The server rolls back, and does not call that an error."""

    def pass_over() -> None:
        with connection.transaction(), suppress(psycopg.DataError):
            connection.tx.execute("INSERT INTO flags (id) VALUES (?)", ("nonsense",))

    with pytest.raises(psycopg.OperationalError, match="expected COMMIT"):
        pass_over()
