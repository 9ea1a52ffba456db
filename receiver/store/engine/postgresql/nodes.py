"""The receivers of a store: a row for each, with a lease that it renews."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import Connection

from receiver import __version__
from receiver.errors import StoreLocked
from receiver.store.engine import Gone
from receiver.store.engine.postgresql.schema import LOCK
from receiver.store.tx import Tx

#: Sequence numbers of events end with the slot of the node that made them.
SLOTS = 16
#: Seconds that a node counts as alive after it renewed its lease.
LEASE = 15
#: Seconds after the end of a lease until others take the node for dead.
_GRACE = 5

_FREE = (
    "SELECT min(slot) FROM generate_series(0, $1::bigint - 1) AS slot"
    " WHERE slot NOT IN (SELECT slot FROM nodes)"
)
_UNTIL = f"clock_timestamp() + interval '{LEASE} seconds'"
_JOIN = (
    "INSERT INTO nodes (slot, name, version, works, since, until)"
    f" VALUES ($1, $2, $3, $4, clock_timestamp(), {_UNTIL}) RETURNING id"
)
_RENEW = f"UPDATE nodes SET until = {_UNTIL} WHERE id = $1 RETURNING id"
# What it left is looked after first, if there is anything.
_LEAVE = "DELETE FROM nodes WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM jobs WHERE owner = $1)"
_EXPIRE = "UPDATE nodes SET until = '-infinity' WHERE id = $1"
_LEAD = (
    f"INSERT INTO leases (role, node, until) VALUES ('work', $1, {_UNTIL}) ON CONFLICT (role)"
    " DO UPDATE SET node = excluded.node, until = excluded.until"
    " WHERE leases.node = excluded.node OR leases.until < clock_timestamp() RETURNING node"
)
_LEADS = "SELECT 1 FROM leases WHERE role = 'work' AND node = ? AND until > clock_timestamp()"
_GONE = (
    "SELECT id, slot FROM nodes"
    f" WHERE until < clock_timestamp() - interval '{_GRACE} seconds' ORDER BY id"
)
#: Selects whether a service works on the store.
SERVED = "SELECT EXISTS (SELECT 1 FROM nodes WHERE works = 1 AND until > clock_timestamp())"


def join(db: Connection[Any], *, works: bool) -> tuple[int, int]:
    """Makes this process a node; returns its id, and its slot.

    Raises `StoreLocked` if there are as many as there are slots.
    """
    name = f"{socket.gethostname()} {os.getpid()}"
    with db.transaction():
        db.execute("SELECT pg_advisory_xact_lock($1::bigint)", [LOCK])
        (slot,) = db.execute(_FREE, [SLOTS]).fetchone() or (None,)
        if slot is None:
            raise StoreLocked(f"{SLOTS} receivers and commands use the store already")
        (node,) = db.execute(_JOIN, [slot, name, __version__, int(works)]).fetchone() or (0,)
    return int(node), int(slot)


def renew(db: Connection[Any], node: int) -> bool:
    """Renews the lease of a node; returns False if others took it for dead."""
    return db.execute(_RENEW, [node]).fetchone() is not None


def leave(db: Connection[Any], node: int) -> None:
    """Ends a node. Never raises: its lease ends in any case."""
    with suppress(psycopg.Error), db.transaction():
        db.execute("SELECT pg_advisory_xact_lock($1::bigint)", [LOCK])
        if not db.execute(_LEAVE, [node]).rowcount:
            db.execute(_EXPIRE, [node])


def lead(db: Connection[Any], node: int) -> bool:
    """Takes or renews the lease of the node that leads; returns False if another one has it."""
    return db.execute(_LEAD, [node]).fetchone() is not None


def leads(tx: Tx, node: int) -> bool:
    """Returns True if this node leads, in a transaction of the writer: so until it ends."""
    return tx.execute(_LEADS, (node,)).fetchone() is not None


def gone(tx: Tx) -> Sequence[Gone]:
    """Returns the nodes whose lease has run out, and some seconds with it."""
    return [Gone(owner=id_, slot=slot) for id_, slot in tx.execute(_GONE).fetchall()]
