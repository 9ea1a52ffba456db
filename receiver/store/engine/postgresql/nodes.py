"""The receivers of a store: a row for each, with a lease that it renews."""

from __future__ import annotations

import os
import socket
from typing import Any

from psycopg import Connection

from receiver import __version__
from receiver.errors import StoreLocked
from receiver.store.engine.postgresql.schema import LOCK

#: Sequence numbers of events end with the slot of the node that made them.
SLOTS = 16
#: Seconds that a node counts as alive after it renewed its lease.
LEASE = 15

_FREE = (
    "SELECT min(slot) FROM generate_series(0, $1::bigint - 1) AS slot"
    " WHERE slot NOT IN (SELECT slot FROM nodes)"
)
_JOIN = (
    "INSERT INTO nodes (slot, name, version, works, since, until) VALUES ($1, $2, $3, $4,"
    f" clock_timestamp(), clock_timestamp() + interval '{LEASE} seconds') RETURNING id"
)
#: Selects whether a service works on the store.
SERVED = "SELECT EXISTS (SELECT 1 FROM nodes WHERE works = 1 AND until > clock_timestamp())"
_LEAVE = "DELETE FROM nodes WHERE id = $1"


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
    return node, slot


def leave(db: Connection[Any], node: int) -> None:
    """Ends a node that left nothing undone."""
    db.execute(_LEAVE, [node])
