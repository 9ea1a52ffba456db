"""Makes the metrics of a store that several receivers use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import Metric

from receiver.service.families import gauge, one, value
from receiver.store.engine.cluster import Cluster

#: Also told if there are none, since no commit ends then.
_NONE = {"sync": 0, "quorum": 0}
_ALIVE = {True: "alive", False: "lost"}


def of_cluster(found: Cluster | None) -> Iterator[Metric]:
    """Yields the metrics; none of a store in a file, or of a server that cannot be asked."""
    if found is None:
        return
    services = [node for node in found.nodes if node.works]
    counts = Counter(_ALIVE[node.alive] for node in services)
    yield gauge(
        "receiver_nodes",
        "Receivers of the store: alive, or lost if their lease has run out.",
        ("state",),
        one({state: counts[state] for state in _ALIVE.values()}),
    )
    yield value(
        "receiver_leaders",
        "1 while a receiver holds the lease of the background work, else 0.",
        any(node.leads and node.alive for node in services),
    )
    yield value(
        "receiver_configurations",
        "Different configurations of the receivers that are alive; 1 if they agree.",
        len({node.config for node in services if node.alive}),
    )
    yield value(
        "receiver_database_clock_offset_seconds",
        "Seconds that the database's clock is ahead of this machine's.",
        found.server.offset,
    )
    if found.standbys is None:
        return
    yield gauge(
        "receiver_standbys",
        "Standbys of the database; commits wait for those that are sync or quorum.",
        ("sync",),
        one({**_NONE, **Counter(standby.sync for standby in found.standbys)}),
    )
    yield gauge(
        "receiver_standby_lag_seconds",
        "Seconds until a standby's disk has what is committed.",
        ("standby",),
        one({standby.name: standby.lag for standby in found.standbys}),
    )
    yield gauge(
        "receiver_standby_behind_bytes",
        "Bytes of the log that are not on a standby's disk yet.",
        ("standby",),
        one({standby.name: standby.behind for standby in found.standbys}),
    )
