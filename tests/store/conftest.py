"""What several files of tests of the store need; the engines that they run on."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from receiver.config import StoreAddress
from receiver.store.engine.postgresql.connecting import connect
from receiver.store.engine.postgresql.statements import Statements
from receiver.store.engine.sqlite.schema import migrate
from receiver.store.tx import Tx
from tests.examples import share_of
from tests.postgresql.databases import Databases
from tests.store import everything
from tests.store.statements import Ran, names, recording, written


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> list[Ran]:
    """Every statement that ran."""
    with recording() as found:
        everything.do_everything(tmp_path_factory.mktemp("everything"))
    texts = written()
    return [Ran(statement, names(statement, texts)) for statement in found.seen]


class Sqlite:
    """Makes stores in files."""

    def __init__(self) -> None:
        self._empty = sqlite3.connect(":memory:", isolation_level=None)
        migrate(self._empty)

    @contextmanager
    def store(self) -> Iterator[StoreAddress]:
        """Where a new store is."""
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder, "receiver.db")

    @contextmanager
    def scratch(self) -> Iterator[Tx]:
        """A transaction in a store without rows, which is rolled back."""
        self._empty.execute("BEGIN")
        try:
            yield self._empty
        finally:
            self._empty.execute("ROLLBACK")

    def close(self) -> None:
        """Closes the store that transactions are rolled back in."""
        self._empty.close()


class Postgresql:
    """Makes stores in PostgreSQL."""

    def __init__(self, databases: Databases, empty: StoreAddress) -> None:
        self._databases = databases
        assert not isinstance(empty, Path)
        self._empty = connect(empty, "scratch")

    def store(self) -> AbstractContextManager[StoreAddress]:
        """Where a new store is."""
        return self._databases.new()

    @contextmanager
    def scratch(self) -> Iterator[Tx]:
        """A transaction in a store without rows, which is rolled back; ids are not from 1 on."""
        self._empty.execute("BEGIN")
        try:
            yield Statements(self._empty)
        finally:
            self._empty.execute("ROLLBACK")

    def close(self) -> None:
        """Closes the connection whose transactions are rolled back."""
        self._empty.close()


#: Makes the stores of a test that runs on both.
Stores = Sqlite | Postgresql


@pytest.fixture(
    scope="session", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]
)
def stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    """An engine: what a test says of its stores holds for both."""
    if request.param == "sqlite":
        with closing(Sqlite()) as made:
            yield made
        return
    databases: Databases = request.getfixturevalue("databases")
    with databases.new() as empty, closing(Postgresql(databases, empty)) as other:
        yield other


@pytest.fixture
def address(stores: Stores) -> Iterator[StoreAddress]:
    """Where a new store is, in a file or in PostgreSQL."""
    with stores.store() as made:
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Tries a fifth of a property's examples on PostgreSQL, where each has to connect anew.

    What the property says of is the same code for both engines; SQLite has all of them.
    """
    with ExitStack() as stack:
        if item.get_closest_marker("postgresql"):
            stack.enter_context(share_of(getattr(item, "obj", None), 5))
        return (yield)
