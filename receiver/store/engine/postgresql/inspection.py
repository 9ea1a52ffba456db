"""Looks at the server, its standbys and the receivers; changes nothing."""

from __future__ import annotations

import time
from typing import Any

from psycopg import Connection

from receiver.config import Postgresql
from receiver.errors import StoreUnusable
from receiver.store.engine.cluster import Cluster, Node, Server, Standby
from receiver.store.engine.postgresql.connecting import connect, errors_named

_SERVER = (
    "SELECT current_setting('server_version_num')::bigint, current_setting('fsync')::boolean,"
    " current_setting('full_page_writes')::boolean, current_setting('synchronous_standby_names'),"
    " current_setting('autovacuum')::boolean, pg_backend_pid(),"
    " (SELECT age(datfrozenxid)::bigint FROM pg_database WHERE datname = current_database())"
)
_CLOCK = "SELECT extract(epoch FROM clock_timestamp())::double precision"
_DEAD = (
    "SELECT relname, n_dead_tup, n_live_tup FROM pg_stat_user_tables"
    " ORDER BY n_dead_tup DESC LIMIT 1"
)
# Without the right to see another role's connections, all but the process is NULL.
_STANDBYS = (
    "SELECT coalesce(application_name, ''), state, sync_state,"
    " coalesce(extract(epoch FROM flush_lag), 0)::double precision,"
    " coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), flush_lsn), 0)::bigint"
    " FROM pg_stat_replication ORDER BY application_name, pid"
)
_THERE = "SELECT to_regclass('nodes') IS NOT NULL"
_NODES = (
    "SELECT name, version, works = 1, config, until > clock_timestamp(),"
    " EXISTS (SELECT 1 FROM leases WHERE leases.node = nodes.id"
    "         AND leases.until > clock_timestamp()), since FROM nodes ORDER BY id"
)
#: Looks at the clock; the quickest one counts.
_LOOKS = 3


def cluster_of(address: Postgresql) -> Cluster:
    """Returns the state of a store. Raises `StoreUnusable` if the server cannot be asked."""
    with errors_named(address, StoreUnusable), connect(address, "doctor") as db:
        return Cluster(server=_server(db), standbys=_standbys(db), nodes=_nodes(db))


def _server(db: Connection[Any]) -> Server:
    version, fsync, whole, names, vacuums, process, oldest = _row(db, _SERVER)
    return Server(
        version=version,
        fsync=fsync,
        full_page_writes=whole,
        synchronous_standbys=names,
        autovacuum=vacuums,
        oldest=oldest,
        dead=db.execute(_DEAD).fetchone(),
        offset=_offset(db),
        # A pooler gives its clients numbers of its own.
        pooled=process != db.info.backend_pid,
    )


def _offset(db: Connection[Any]) -> float:
    """Returns the seconds that the server's clock is ahead; exact to half of an answer's time."""
    found = []
    for _ in range(_LOOKS):
        began = time.time()
        (there,) = _row(db, _CLOCK)
        ended = time.time()
        found.append((ended - began, there - (began + ended) / 2))
    return float(min(found)[1])


def _standbys(db: Connection[Any]) -> list[Standby] | None:
    rows = db.execute(_STANDBYS).fetchall()
    if any(state is None for _, state, *_ in rows):
        return None
    return [
        Standby(name=name, state=state, sync=sync, lag=lag, behind=behind)
        for name, state, sync, lag, behind in rows
    ]


def _nodes(db: Connection[Any]) -> list[Node]:
    if _row(db, _THERE) != (True,):
        return []
    fields = Node.__struct_fields__
    return [Node(**dict(zip(fields, row, strict=True))) for row in db.execute(_NODES)]


def _row(db: Connection[Any], query: str) -> tuple[Any, ...]:
    return db.execute(query).fetchone() or ()
