"""Runs the writer's statements by single calls of libpq.

Each commit runs a few statements, and each of them would cost a cursor of psycopg as much of the
processor as one or two rows. What is sent, and how values are, is the same (`statements`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import Connection
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, Escaping, ExecStatus

from receiver.store.engine.postgresql.statements import Values, encoded, native, ordered
from receiver.store.tx import Cursor

if TYPE_CHECKING:
    from psycopg import abc
    from psycopg.pq.abc import PGresult

_DONE = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)
#: Most prepared statements of a connection.
_MOST = 1000
#: Bytes of the message of a statement that a transaction begins with. libpq sends a longer one in
#: pieces, and a process that stops between two of them would keep the lock.
_SHORT = 8000


class PreparedStatements:
    """Implements `Tx` by a connection that only one thread uses.

    Each statement is prepared at its first use, without the types of its values: the server takes
    those of the places where they stand.
    """

    def __init__(self, connection: Connection[Any]) -> None:
        self._libpq = connection.pgconn
        self._transformer: abc.Transformer = Transformer(connection)
        self._names: dict[str, bytes] = {}
        self._numbers = count()
        self._escaping = Escaping(connection.pgconn)
        self._beginning = b""

    def execute(self, sql: str, values: Values = (), /) -> Cursor:
        """Runs one statement; see `Tx`."""
        text, sources = native(sql)
        given = ordered(sources, values)
        are_binary = [isinstance(value, bytes | bytearray) for value in given]
        sent: list[Any] = [
            encoded(value)
            if isinstance(value, str)
            else b"%d" % value
            if isinstance(value, int)
            else value
            for value in given
        ]
        name = self.prepared(text)
        if self._beginning and not any(are_binary):
            whole = b"; ".join((self._beginning, b"EXECUTE " + name + self._arguments(sent)))
            if len(whole) <= _SHORT:
                self._beginning = b""
                return self._result_of(self._libpq.exec_(whole))
        if self._beginning:
            self.run(b"")
        return self._result_of(self._libpq.exec_prepared(name, sent, are_binary))

    def begin(self, statements: bytes) -> None:
        """Has a transaction begin with the next statement: in its message if it is a short one."""
        self._beginning = statements

    def run(self, statements: bytes) -> PGresult:
        """Sends statements without values as one message; returns the result of the last one."""
        whole = b"; ".join(filter(None, (self._beginning, statements)))
        self._beginning = b""
        return self._checked(self._libpq.exec_(whole))

    def prepared(self, text: str) -> bytes:
        """Returns the name of a statement, which is prepared if it is not yet."""
        return self._names.get(text) or self._prepare(text)

    def _prepare(self, text: str) -> bytes:
        if len(self._names) >= _MOST:
            self.run(b"DEALLOCATE " + self._names.pop(next(iter(self._names))))
        name = b"statement_%d" % next(self._numbers)
        self._checked(self._libpq.prepare(name, text.encode()))
        self._names[text] = name
        return name

    def _arguments(self, sent: Sequence[bytes | None]) -> bytes:
        """Returns the values of a statement for EXECUTE."""
        literal = self._escaping.escape_literal
        listed = b", ".join(b"NULL" if one is None else bytes(literal(one)) for one in sent)
        return b"(" + listed + b")" if listed else b""

    def _result_of(self, result: PGresult) -> Cursor:
        return _Result(self._checked(result), self._transformer)

    def _checked(self, result: PGresult) -> PGresult:
        if result.status in _DONE:
            return result
        if self._libpq.status == ConnStatus.BAD:
            raise psycopg.OperationalError(self._libpq.get_error_message())
        raise error_from_result(result)


class _Result:
    """Implements `Cursor` by what libpq received."""

    def __init__(self, result: PGresult, transformer: abc.Transformer) -> None:
        self._result = result
        self._transformer = transformer
        self._next = 0

    @property
    def rowcount(self) -> int:
        """The number of rows that the statement changed."""
        return self._result.command_tuples or 0

    def fetchone(self) -> Any:
        """Returns the next row, or None."""
        rows = self._load(1)
        return rows[0] if rows else None

    def fetchall(self) -> list[Any]:
        """Returns the remaining rows."""
        return self._load(self._result.ntuples)

    def __iter__(self) -> Iterator[Any]:
        """Yields the remaining rows."""
        return iter(self.fetchall())

    def _load(self, most: int) -> list[Any]:
        first = self._next
        self._next = min(first + most, self._result.ntuples)
        if first == self._next:
            return []
        self._transformer.set_pgresult(self._result)
        return self._transformer.load_rows(first, self._next, tuple)
