"""The connection that writes: each of its transactions is the only one of all receivers.

Code that changes the store was written for one writer. So a transaction takes the lock of the
store first, and reads what all before it have committed. It checks that this node's lease runs: a
node that was given up for dead changes nothing any more. And it writes something, always: else a
repeat of a push, which changes nothing, would not wait for a synchronous standby, and would be
acknowledged though its first is not on the standby.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import structlog
from psycopg.pq import TransactionStatus

from receiver.config import Postgresql
from receiver.store.engine import Lane
from receiver.store.engine.postgresql.connecting import connect
from receiver.store.engine.postgresql.membership import TELL, told
from receiver.store.engine.postgresql.prepared import PreparedStatements
from receiver.store.engine.postgresql.schema import LOCK
from receiver.store.tx import Tx

log = structlog.get_logger("receiver.store")

#: Of the session of the writer. Who waits for the lock longer answers 503; who stops inside of a
#: transaction loses it, and with it the lock.
_SESSION = {
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "10s",
    "statement_timeout": "0",
    "synchronous_commit": "on",
    # One plan for all values of a statement: tests look at those. It is not made for five more.
    "plan_cache_mode": "force_generic_plan",
}
# The lock is taken first, then the clock and the node's row are read. A statement has its tables
# locked before it waits: with the row in the first one, who alters `nodes`, with the store's lock,
# would wait for those that wait for it.
_LOCK = f"SELECT pg_advisory_xact_lock({LOCK})"
# Without a lease it fails.
_CHECK = (
    "SELECT 1 / (SELECT count(*) FROM nodes WHERE id = {node} AND until > clock_timestamp()),"
    " pg_logical_emit_message(true, 'sms-receiver', '')"
)
_LOST = "another receiver took this one for dead; it must be restarted"


class LeaseLost(psycopg.OperationalError):
    """Another receiver took this one for dead."""


class WriterConnection:
    """Runs the transactions of one receiver; see `receiver.store.engine.WriterConnection`."""

    unindexed = 0

    def __init__(self, address: Postgresql, node: int) -> None:
        self._address = address
        self._node = node
        self._name = f"{socket.gethostname()} writer"
        self._check = _CHECK.format(node=int(node))
        self._use(self._connect())
        self._warned = ""

    def _connect(self) -> psycopg.Connection[Any]:
        db = connect(self._address, self._name, **_SESSION)
        db.add_notice_handler(self._notice)
        return db

    def _use(self, db: psycopg.Connection[Any]) -> None:
        self._db = db
        self._statements = PreparedStatements(db)

    @property
    def tx(self) -> Tx:
        """Runs statements. Outside of `transaction` each of them is one of its own."""
        return self._statements

    def _notice(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self._warned = notice.message_primary or "a warning"

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commits the statements run inside, or rolls them back if the block raises."""
        try:
            self._begin()
            yield
            self._commit()
        except BaseException as error:
            self._roll_back()
            if isinstance(error, psycopg.errors.DivisionByZero):  # no other statement divides
                raise LeaseLost(_LOST) from None
            raise

    def _begin(self) -> None:
        """Takes the lock, by one message: a process that stops has it whole, or has not the lock.

        In a pipeline it could stop between two messages, and the server would wait for it with the
        lock held, and without `idle_in_transaction_session_timeout`. The first statement, if it is
        a short one, is in the same message.
        """
        self._warned = ""
        lock, check = map(self._statements.prepared, (_LOCK, self._check))
        self._statements.begin(b"BEGIN; EXECUTE %s; EXECUTE %s" % (lock, check))

    def _commit(self) -> None:
        done = self._statements.run(b"COMMIT").command_status
        if self._warned:  # the wait for the standby was cancelled: it is committed here alone
            raise psycopg.OperationalError(f"the server warned: {self._warned}")
        if done != b"COMMIT":  # a statement failed, and its error was passed over
            raise psycopg.OperationalError(f"expected COMMIT, the server did {done!r}")

    def _roll_back(self) -> None:
        self._statements.begin(b"")
        with suppress(psycopg.Error):
            if self._db.info.transaction_status != TransactionStatus.IDLE:
                self._statements.run(b"ROLLBACK")

    def announce(self, lanes: Iterable[Lane]) -> None:
        """Tells other receivers, once this transaction is committed, what it made work for."""
        self.tx.execute(TELL, (told(self._node, lanes),))

    def begin_commit(self, *, at_once: bool) -> None:
        """Connects again after the connection was lost. Raises psycopg.Error."""
        lost = self._db.closed or self._db.broken
        if lost or (at_once and not self._answers()):
            with suppress(psycopg.Error):
                self._db.close()
            self._use(self._connect())

    def is_unavailable(self, error: Exception) -> bool:
        """Returns True for errors of the server; those of statements and values are not."""
        return isinstance(error, psycopg.OperationalError | psycopg.InternalError)

    def tidy_up(self, rows: int, size: int) -> None:
        """Does nothing: the server does its upkeep itself."""

    def rest(self) -> bool:
        """Does nothing."""
        return True

    def close(self) -> None:
        """Closes the connection. Never raises."""
        with suppress(psycopg.Error):
            self._db.close()

    def _answers(self) -> bool:
        """Returns False for a server that went away, or that is a standby now."""
        try:
            row = self.tx.execute("SELECT pg_is_in_recovery()").fetchone()
        except psycopg.Error:
            return False
        return bool(row == (False,))
