"""The schema of a store: the scripts that create it, and the check of a database."""

from __future__ import annotations

import secrets
from importlib import resources
from typing import Any

from psycopg import Connection

from receiver.config import Postgresql
from receiver.errors import StoreUnusable
from receiver.store.engine.moving import PROGRESS

#: The lock of whoever changes the store: "SMSR".
LOCK = 0x534D5352

_EXISTS = (
    "SELECT to_regclass('meta') IS NOT NULL, to_regclass('schema_version') IS NOT NULL,"
    f" to_regclass('{PROGRESS}') IS NOT NULL"
)
#: Selects the version of the schema.
VERSION = "SELECT version FROM schema_version"
_SET = "UPDATE schema_version SET version = $1"
_NODE = "INSERT INTO meta (key, value) VALUES ('node', $1) ON CONFLICT (key) DO NOTHING"


def migrations() -> dict[int, str]:
    """The SQL scripts that make the schema, by the version that they make; oldest first."""
    folder = resources.files("receiver.store") / "migrations" / "postgresql"
    scripts = sorted(folder.iterdir(), key=lambda entry: entry.name)
    return {
        int(script.name[:4]): script.read_text("utf-8")
        for script in scripts
        if script.name.endswith(".sql")
    }


def newest() -> int:
    """Returns the version of the schema that this program uses."""
    return max(migrations())


def check_version(address: Postgresql, version: int, *, newer: bool = False) -> None:
    """Raises `StoreUnusable` for another schema. `newer`: schemas of newer programs pass."""
    wanted = newest()
    if version > wanted and not newer:
        raise StoreUnusable(
            f"{address}: made by a newer sms-receiver (schema {version}, this program knows "
            f"{wanted}); upgrade the program"
        )
    if version < wanted and not newer:
        raise StoreUnusable(
            f"{address}: of an earlier version (schema {version}, expected {wanted}); "
            "start the service once to bring it up to date"
        )


def version_of(db: Connection[Any], address: Postgresql) -> int:
    """Returns the version of the schema; 0 for a database without tables of ours.

    Raises `StoreUnusable` for tables of another program, and for a store that was moved in part.
    """
    meta, ours, moving = db.execute(_EXISTS).fetchone() or (False, False, False)
    if ours and moving:
        raise StoreUnusable(
            f"{address}: has a part of a store; run `receiver migrate-store` again, which goes on"
        )
    if ours:
        (version,) = db.execute(VERSION).fetchone() or (0,)
        return int(version)
    if meta:
        raise StoreUnusable(
            f"{address}: has a table `meta` of another program; give the store a database or a "
            "schema of its own"
        )
    return 0


def migrate(db: Connection[Any], address: Postgresql) -> None:
    """Creates the tables or brings them up to date, one receiver at a time."""
    with db.transaction():
        db.execute("SELECT pg_advisory_xact_lock($1::bigint)", [LOCK])
        version = version_of(db, address)
        if version > newest():
            check_version(address, version)
        for number, script in migrations().items():
            if number > version:
                db.execute(script)
        if version == 0:
            db.execute("CREATE TABLE schema_version (version bigint NOT NULL)")
            db.execute("INSERT INTO schema_version (version) VALUES (0)")
        db.execute(_NODE, [secrets.randbits(62)])
        if version != newest():
            db.execute(_SET, [newest()])
