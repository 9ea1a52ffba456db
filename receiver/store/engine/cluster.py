"""The state of a store that several receivers use: its server, its standbys, its nodes."""

from __future__ import annotations

from datetime import datetime

import msgspec


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A receiver, or a command that changes the store now."""

    name: str
    """Its machine and process."""
    version: str
    works: bool
    """True for a service, False for a command."""
    config: str
    """A digest of its configuration; empty for a command."""
    alive: bool
    """False if its lease has run out."""
    leads: bool
    """True if it alone does the background work of all."""
    since: datetime


class Standby(msgspec.Struct, frozen=True, kw_only=True):
    """A server that replicates the store."""

    name: str
    state: str
    """As pg_stat_replication says it: `streaming` is the usual one."""
    sync: str
    """`sync` and `quorum`: commits wait for it. `async` and `potential`: they do not."""
    lag: float
    """Seconds until its disk has what is committed."""
    behind: int
    """Bytes of the log that are not on its disk yet."""


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """The database's server: its settings that decide what a commit means, and its upkeep."""

    version: int
    """As `server_version_num`: 150018 is 15.18."""
    fsync: bool
    full_page_writes: bool
    synchronous_standbys: str
    """The setting `synchronous_standby_names`; empty: a commit waits for no other server."""
    autovacuum: bool
    oldest: int
    """Transactions since the oldest that is not frozen; at two billion the server stops."""
    dead: tuple[str, int, int] | None
    """The table with the most dead rows, their number and that of its live rows."""
    offset: float
    """Seconds that its clock is ahead of this machine's."""
    pooled: bool
    """True if a pooler such as PgBouncer is between this program and the server."""


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a store in PostgreSQL."""

    server: Server
    standbys: list[Standby] | None
    """None: this role may not see them."""
    nodes: list[Node]
