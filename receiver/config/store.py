"""`[store]`: where events are kept, in a file of SQLite or in PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from receiver.config.convert import Secret


class Postgresql(msgspec.Struct, frozen=True):
    """A store in PostgreSQL, which several receivers may use."""

    url: Secret
    """As libpq takes it: `postgresql://user@host,host/database?option=value`."""
    password: Secret | None = None
    files: Path | None = None
    """This machine's own files are beside it; for one service."""

    def __str__(self) -> str:
        """The URL without its password."""
        parts = urlsplit(self.url.reveal())
        user, at, hosts = parts.netloc.rpartition("@")
        return f"{parts.scheme}://{user.partition(':')[0]}{at}{hosts}{parts.path}"


#: The file of SQLite, or the database.
StoreAddress = Path | Postgresql


def fault_of(url: str) -> str | None:
    """Returns what is wrong with `store.url`; None if nothing is."""
    if url.startswith("sqlite:"):
        return None if url.removeprefix("sqlite:") else "expected sqlite: and a file name"
    if url.startswith(("postgresql://", "postgres://")):
        return None
    return f"expected sqlite:FILE or postgresql://USER@HOST/DATABASE, got {url.partition(':')[0]!r}"


def password_in(url: str) -> str | None:
    """Returns the password in an address, as libpq finds it there; None without one."""
    parts = urlsplit(url)
    if parts.password:
        return unquote(parts.password)
    return parse_qs(parts.query).get("password", [None])[0]
