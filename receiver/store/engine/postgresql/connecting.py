"""Connects to PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import AsyncConnection, AsyncRawCursor, Connection, RawCursor
from psycopg.conninfo import make_conninfo

from receiver.config import Postgresql
from receiver.errors import StoreError
from receiver.store.engine.postgresql.statements import adapt

#: Of libpq. A server that was unplugged is noticed within ten seconds; one that became a standby,
#: at the next connection.
_OPTIONS: dict[str, str | int] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "target_session_attrs": "primary",
    "client_encoding": "UTF8",
}
#: Of every session, whatever is set for the role or the database: a transaction must see what was
#: committed while it waited for the store's lock.
_SESSION = {"default_transaction_isolation": "read\\ committed"}
#: Prepared statements of a connection.
_PREPARED = 1000


def options(address: Postgresql, name: str, session: dict[str, str]) -> str:
    """Returns what libpq needs to connect. `session`: settings of the session."""
    more: dict[str, str | int] = {**_OPTIONS, "application_name": f"sms-receiver {name}"}
    settings = {**_SESSION, **session}
    more["options"] = " ".join(f"-c {key}={value}" for key, value in settings.items())
    if address.password is not None:
        more["password"] = address.password.reveal()
    return make_conninfo(address.url.reveal(), **more)


def connect(address: Postgresql, name: str, **session: str) -> Connection[Any]:
    """Opens a connection; each statement commits by itself. Raises psycopg.Error."""
    db = Connection.connect(
        options(address, name, session), autocommit=True, cursor_factory=RawCursor
    )
    adapt(db)
    db.prepared_max = _PREPARED
    return db


async def connect_async(address: Postgresql, name: str, **session: str) -> AsyncConnection[Any]:
    """As `connect`, for an event loop."""
    db = await AsyncConnection.connect(
        options(address, name, session), autocommit=True, cursor_factory=AsyncRawCursor
    )
    adapt(db)
    db.prepared_max = _PREPARED
    return db


@contextmanager
def errors_named(address: Postgresql, cls: type[StoreError]) -> Iterator[None]:
    """Raises the server's errors as `cls`, with its address."""
    try:
        yield
    except psycopg.Error as error:
        raise cls(f"{address}: {' '.join(str(error).split())}") from None
