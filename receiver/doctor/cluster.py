"""Checks a store in PostgreSQL: the server, its standbys, and the receivers that use it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime

from receiver.doctor.findings import Finding, Installation, ago, green, red, size, support, yellow
from receiver.store.engine.cluster import Cluster, Node, Server, Standby

#: The oldest supported version: psycopg's pipelines and `gen_random_uuid` work with it.
_OLDEST = 14
#: The last day on which a version gets security fixes (postgresql.org/support/versioning).
_ENDS_OF_LIFE = {
    14: date(2026, 11, 12),
    15: date(2027, 11, 11),
    16: date(2028, 11, 9),
    17: date(2029, 11, 8),
    18: date(2030, 11, 14),
}
#: Seconds between the clocks from which on they are looked at, or are wrong.
_APART, _FAR_APART = 1.0, 60.0
#: Dead rows of a table, more than its live ones, which autovacuum should have removed.
_MANY_DEAD = 50_000
#: Transactions that are not frozen: at two billion the server takes no writes any more.
_OLD = 1_000_000_000
#: Seconds, and bytes, that a standby is behind.
_LATE = 5.0
_FAR_BEHIND = 64 * 1024 * 1024


async def server(installation: Installation) -> list[Finding]:
    """Checks the server: its version, what a commit means to it, its clock and its upkeep."""
    return list(server_of((await _look(installation)).server, installation.clock()))


def server_of(found: Server, now: datetime) -> Iterator[Finding]:
    """Yields the findings about a server."""
    yield version_of(found.version, now.date())
    for name, on in (("fsync", found.fsync), ("full_page_writes", found.full_page_writes)):
        if not on:
            said = f"{name} is off: acknowledged messages are lost when the power fails"
            yield red(said, f"set {name} = on in postgresql.conf, then SELECT pg_reload_conf()")
    if found.pooled:
        yield yellow(
            "a pooler (PgBouncer) is between this program and the server: with pool_mode ="
            " transaction a receiver hears nothing of the others (LISTEN), and its sessions lose"
            " their settings",
            "name the server itself in store.url: a receiver has five to ten connections",
        )
    yield clock_of(found.offset)
    yield from upkeep_of(found)


def version_of(version: int, today: date) -> Finding:
    """Checks whether a version, such as 150018, is supported and gets security fixes."""
    major, minor = divmod(version, 10_000)
    name = f"PostgreSQL {major}.{minor}"
    if major < _OLDEST:
        return red(f"{name}: too old, {_OLDEST} is needed", "upgrade the server (pg_upgrade)")
    return support(name, _ENDS_OF_LIFE.get(major), today, "upgrade it (pg_upgrade)")


def clock_of(offset: float) -> Finding:
    """Checks the difference between this machine's clock and the server's."""
    ahead = "ahead of" if offset > 0 else "behind"
    said = f"its clock is {abs(offset):.1f} s {ahead} this machine's"
    do = "synchronise both clocks (chrony, systemd-timesyncd)"
    if abs(offset) > _FAR_APART:
        return red(f"{said}: times of events and of due work are by the machines' clocks", do)
    if abs(offset) > _APART:
        return yellow(said, do)
    return green(f"its clock and this machine's differ by {abs(offset):.1f} s")


def upkeep_of(found: Server) -> Iterator[Finding]:
    """Yields what keeps the server from removing rows that nobody needs."""
    if not found.autovacuum:
        said = "autovacuum is off: tables only grow, and at last the server takes no writes"
        yield red(said, "set autovacuum = on in postgresql.conf, then SELECT pg_reload_conf()")
    if found.oldest > _OLD:
        said = f"the oldest transaction that is not frozen is {found.oldest:,} back"
        yield red(said, "run VACUUM (FREEZE) on the database; at 2,000,000,000 it takes no writes")
    name, dead, live = found.dead or ("", 0, 0)
    if dead > max(_MANY_DEAD, live):
        yield yellow(
            f"the table {name} has {dead:,} dead rows and {live:,} live ones: vacuum does not come"
            " after, or something keeps them",
            "end transactions that are open for hours (pg_stat_activity), drop unused replication"
            f" slots (pg_replication_slots), then VACUUM {name}",
        )


async def replication(installation: Installation) -> list[Finding]:
    """Checks whether what is acknowledged is on another server, too."""
    return list(replication_of(await _look(installation)))


def replication_of(found: Cluster) -> Iterator[Finding]:
    """Yields the findings about the standbys."""
    names = found.server.synchronous_standbys
    if not names:
        yield yellow(
            "synchronous_standby_names is empty: a single server acknowledges alone, and what it"
            " acknowledged is lost with its disk",
            "add a synchronous standby (docs/scale-out.md, `A standby that has every message`)",
        )
    if found.standbys is None:
        do = "GRANT pg_read_all_stats to the role of store.url, to see standbys and their lag"
        yield yellow("this role may not see the standbys", do)
        return
    waited_for = [each for each in found.standbys if each.sync in ("sync", "quorum")]
    if names and not waited_for:
        yield red(
            f"no standby of synchronous_standby_names = '{names}' is connected: no commit ends,"
            " and pushes get 503",
            "start the standby again, or take it out of synchronous_standby_names and reload",
        )
    for standby in found.standbys:
        yield standby_of(standby)


def standby_of(standby: Standby) -> Finding:
    """Checks whether a standby keeps up."""
    said = (
        f"standby {standby.name or 'without a name'}: {standby.state}, {standby.sync},"
        f" {standby.lag:.1f} s and {size(standby.behind)} behind"
    )
    if standby.state != "streaming" or standby.lag > _LATE or standby.behind > _FAR_BEHIND:
        return yellow(said, "look at its log, its disk and the network between the servers")
    return green(said)


async def nodes(installation: Installation) -> list[Finding]:
    """Checks the receivers: who is alive, who leads, and that they agree."""
    return list(nodes_of((await _look(installation)).nodes, installation.clock()))


def nodes_of(found: list[Node], now: datetime) -> Iterator[Finding]:
    """Yields the findings about the receivers of a store."""
    services = [node for node in found if node.works]
    alive = [node for node in services if node.alive]
    if not alive:
        do = "start one: systemctl start receiver, or `receiver serve`"
        yield yellow("no receiver uses the store", do)
    for node in services:
        yield node_of(node, now)
    if alive and not any(node.leads for node in alive):
        do = "wait for 15 s; if it stays, read the logs of the receivers (journalctl -u receiver)"
        yield yellow("no receiver leads: nothing is sent, forwarded or purged meanwhile", do)
    for what, values in (
        ("versions", {node.version for node in alive}),
        ("configurations", {node.config for node in alive}),
    ):
        if len(values) > 1:
            do = "install the same one on every machine; `receiver reload` on each afterwards"
            yield yellow(f"the receivers have {len(values)} different {what}", do)


def node_of(node: Node, now: datetime) -> Finding:
    """Returns the finding about one receiver."""
    said = f"{node.name}: version {node.version}, started {ago(node.since, now)}"
    if not node.alive:
        do = "nothing: another receiver takes over its work; start it again if it should run"
        return yellow(f"{said}; its lease has run out", do)
    return green(f"{said}; leads" if node.leads else said)


async def _look(installation: Installation) -> Cluster:
    found = await installation.cluster()
    assert found is not None  # nobody asks of a store in a file
    return found
