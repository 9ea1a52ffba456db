"""This process among the receivers of a store: it renews its leases, and hears of work."""

from __future__ import annotations

import math
import select
import socket
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from typing import Any

import msgspec
import psycopg
import structlog

from receiver.config import Postgresql
from receiver.store import engine
from receiver.store.engine import Gone, Lane
from receiver.store.engine.postgresql import nodes
from receiver.store.engine.postgresql.connecting import connect
from receiver.store.tx import Tx

log = structlog.get_logger("receiver.store")

#: The channel on which receivers tell each other of work.
CHANNEL = "sms_receiver"
TELL = f"SELECT pg_notify('{CHANNEL}', ?)"
#: The most bytes that are told at once; PostgreSQL takes 8,000. What is not told is found by looks.
_MOST_TOLD = 7000
#: Seconds between renewals of the leases.
BEAT = 3.0
#: A lease says nothing about data, so it does not wait for a standby: it runs on while one is away.
_SESSION = {"synchronous_commit": "off", "lock_timeout": "2s", "statement_timeout": "5s"}
_LOST = "other receivers took this one for dead"


class _Told(msgspec.Struct, array_like=True):
    """What is told on the channel."""

    node: int
    lanes: list[Lane] = []
    """That have work."""
    reload: bool = False


_told = msgspec.json.Decoder(_Told)


def told(node: int, lanes: Iterable[Lane]) -> str:
    """Returns the text that tells of work, or of a part of it."""
    listed = list(lanes)
    while len(text := msgspec.json.encode(_Told(node, listed))) > _MOST_TOLD:
        listed.pop()
    return text.decode()


class Membership(engine.Membership):
    """Renews the leases on a thread of its own."""

    slots = nodes.SLOTS

    def __init__(self, address: Postgresql, node: int, slot: int, *, works: bool) -> None:
        super().__init__()
        self.slot = slot
        self._address = address
        self._node = node
        self._works = works
        self._leads_until = -math.inf
        self._steady_since = time.monotonic()
        """Since then no renewal came late."""
        self._renewed = time.monotonic()
        self._lost: str | None = None
        self._stopped = threading.Event()
        self._wakes, self._woken = socket.socketpair()
        """To close the one wakes the thread, which waits for the other."""
        self._thread = threading.Thread(target=self._run, name="store-lease", daemon=True)
        self._thread.start()

    def take_over(self, tx: Tx, now: int) -> int:
        """Returns the node: what others own is theirs until their leases end."""
        del tx, now
        return self._node

    def uses(self, tx: Tx, digest: str) -> None:
        """Notes it in the row of the node, for `receiver doctor`."""
        tx.execute("UPDATE nodes SET config = ? WHERE id = ?", (digest, self._node))

    def ask_reload(self, tx: Tx) -> None:
        """Tells them, once the transaction is committed."""
        text = msgspec.json.encode(_Told(self._node, reload=True)).decode()
        tx.execute(TELL, (text,))

    def leads(self) -> bool:
        """Returns True while the lease runs, as this process saw it."""
        return time.monotonic() < self._leads_until

    def alive(self) -> bool:
        """Returns True while the lease of its row runs."""
        return self._lost is None and time.monotonic() < self._renewed + nodes.LEASE

    def confirm(self, tx: Tx) -> bool:
        """Asks the store."""
        return nodes.leads(tx, self._node)

    def gone(self, tx: Tx) -> Sequence[Gone]:
        """Returns the nodes whose lease has run out.

        While the database is away, no lease can be renewed: whoever sees it again waits as long as
        a lease runs, before it takes others for dead.
        """
        if time.monotonic() - self._steady_since < nodes.LEASE:
            return ()
        return [one for one in nodes.gone(tx) if one.owner != self._node]

    def forget(self, tx: Tx, gone: Sequence[Gone]) -> None:
        """Deletes nodes; their slots are free."""
        for one in gone:
            tx.execute("DELETE FROM nodes WHERE id = ?", (one.owner,))

    def ended(self) -> str | None:
        """Returns the reason why the lease is lost."""
        if self._lost is None and not self._stopped.is_set() and not self._thread.is_alive():
            return "has ended"
        return self._lost

    def close(self) -> None:
        """Ends renewing. Others lead from then on."""
        self._leads_until = -math.inf
        self._stopped.set()
        self._wakes.close()
        self._thread.join(timeout=2 * BEAT)

    def _run(self) -> None:
        with self._woken:
            self._renew_until_stopped()

    def _renew_until_stopped(self) -> None:
        failing = False
        while not (self._stopped.is_set() or self._lost):
            try:
                with closing(connect(self._address, "lease", **_SESSION)) as db:
                    db.execute(f"LISTEN {CHANNEL}")
                    failing = False
                    self._live(db)
            except psycopg.Error as error:
                if not failing:
                    log.warning("cannot renew the lease", error=" ".join(str(error).split()))
                failing = True
                self._stopped.wait(1.0)

    def _live(self, db: psycopg.Connection[Any]) -> None:
        waiting = select.poll()
        for readable in db, self._woken:
            waiting.register(readable, select.POLLIN)
        while not self._stopped.is_set():
            self._renew(db)
            if self._lost:
                return
            next_ = time.monotonic() + BEAT
            while (left := next_ - time.monotonic()) > 0 and not self._stopped.is_set():
                for notice in db.notifies(timeout=0):
                    self._hear(notice.payload)
                waiting.poll(left * 1000)

    def _renew(self, db: psycopg.Connection[Any]) -> None:
        began = time.monotonic()
        if not nodes.renew(db, self._node):
            self._lost = _LOST
            self._leads_until = -math.inf
            return
        if began - self._renewed > 3 * BEAT:
            self._steady_since = began
        self._renewed = began
        if self._works:
            self._leads_until = began + nodes.LEASE if nodes.lead(db, self._node) else -math.inf

    def _hear(self, payload: str) -> None:
        with suppress(msgspec.MsgspecError):
            heard = _told.decode(payload)
            if heard.node == self._node:
                return
            with suppress(RuntimeError):  # its event loop has ended
                if heard.reload:
                    self.on_reload()
                else:
                    self.on_lanes(heard.lanes)
