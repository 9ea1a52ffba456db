"""The schema of a store: the scripts that create it, and the check of a file."""

from __future__ import annotations

import secrets
import sqlite3
from hashlib import blake2b
from importlib import resources
from pathlib import Path

from receiver.errors import StoreUnusable

#: "SMSR", so that another program's SQLite file is never taken for a store.
APPLICATION_ID = 0x534D5352

#: Selects the arguments of `check_schema`.
SCHEMA = "SELECT application_id, user_version FROM pragma_application_id, pragma_user_version"

_NODE = "INSERT INTO meta (key, value) VALUES ('node', ?) ON CONFLICT (key) DO NOTHING"


def migrations() -> list[str]:
    """The SQL scripts that make the schema, oldest first."""
    folder = resources.files("receiver.store") / "migrations" / "sqlite"
    scripts = sorted(folder.iterdir(), key=lambda entry: entry.name)
    return [script.read_text("utf-8") for script in scripts if script.name.endswith(".sql")]


def check_schema(
    path: Path, application: int, version: int, *, older: bool = False, newer: bool = False
) -> None:
    """Raises `StoreUnusable` for a file that is no store of ours, or has another schema.

    `older`, `newer`: schemas of earlier, of later programs pass too.
    """
    newest = len(migrations())
    if application != APPLICATION_ID or version < 1:
        raise StoreUnusable(f"{path}: an SQLite file, but not a store of sms-receiver")
    if version > newest and not newer:
        raise StoreUnusable(
            f"{path}: made by a newer sms-receiver (schema {version}, this program knows "
            f"{newest}); upgrade the program"
        )
    if version < newest and not older:
        raise StoreUnusable(
            f"{path}: of an earlier version (schema {version}, expected {newest}); "
            "start the service once to bring it up to date"
        )


def migrate(db: sqlite3.Connection) -> None:
    """Creates the tables or brings them up to date."""
    db.create_function("digested_key", 1, _digested_key, deterministic=True)
    (version,) = db.execute("PRAGMA user_version").fetchone()
    node = secrets.randbits(62)
    make_node = _NODE.replace("?", str(node))
    for number, script in enumerate(migrations()[version:], version + 1):
        # executescript commits first, so the transaction is part of the script. Readers may look
        # between any two.
        db.executescript(
            f"BEGIN IMMEDIATE;\n{script}\n{make_node};\n"
            f"PRAGMA user_version = {number};\nPRAGMA application_id = {APPLICATION_ID};\nCOMMIT;"
        )
    db.execute(_NODE, (node,))  # of a store that was left without


def _digested_key(key: str) -> str:
    """Returns a key with the part after its kind digested, for the migration 0004."""
    kind, _, rest = key.partition(":")
    return f"{kind}:{blake2b(rest.encode(), digest_size=16).hexdigest()}"
