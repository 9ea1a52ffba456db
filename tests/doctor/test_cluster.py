"""What the doctor says about a store in PostgreSQL, at every border, and its metrics."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import msgspec
import pytest

from receiver.doctor import Finding, cluster
from receiver.service.cluster_metrics import of_cluster
from receiver.store.engine.cluster import Cluster, Node, Server, Standby
from tests.harness import NOW

SERVER = Server(
    version=150018,
    fsync=True,
    full_page_writes=True,
    synchronous_standbys="FIRST 1 (b)",
    autovacuum=True,
    oldest=1000,
    dead=("jobs", 10, 10),
    offset=0.01,
    pooled=False,
)
STANDBY = Standby(name="b", state="streaming", sync="sync", lag=0.001, behind=4096)
NODE = Node(
    name="one 1",
    version="1.0",
    works=True,
    config="a",
    alive=True,
    leads=True,
    since=NOW - timedelta(hours=3),
)
OTHER = msgspec.structs.replace(NODE, name="two 2", leads=False)
ALL = Cluster(server=SERVER, standbys=[STANDBY], nodes=[NODE, OTHER])


def worries(found: list[Finding]) -> list[tuple[str, str]]:
    """Level and words of what needs something done, which it says."""
    assert all((each.level == "green") == (not each.do) for each in found)
    return [(str(each.level), each.found) for each in found if each.level != "green"]


def test_nothing_is_to_do_where_all_is_well() -> None:
    """A supported server, a standby that keeps up, two receivers that agree."""
    assert worries([*cluster.server_of(SERVER, NOW)]) == []
    assert worries([*cluster.replication_of(ALL)]) == []
    found = [*cluster.nodes_of(ALL.nodes, NOW)]
    assert worries(found) == []
    assert found[0].found == "one 1: version 1.0, started 3 h ago; leads"


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({"fsync": False}, "red", "fsync is off"),
        ({"full_page_writes": False}, "red", "full_page_writes is off"),
        ({"pooled": True}, "yellow", "a pooler (PgBouncer)"),
        ({"offset": 1.5}, "yellow", "1.5 s ahead of this machine's"),
        ({"offset": -61.0}, "red", "61.0 s behind this machine's"),
        ({"autovacuum": False}, "red", "autovacuum is off"),
        ({"oldest": 1_000_000_001}, "red", "1,000,000,001 back"),
        ({"dead": ("jobs", 50_001, 50_000)}, "yellow", "the table jobs has 50,001 dead rows"),
        ({"version": 130001}, "red", "PostgreSQL 13.1: too old, 14 is needed"),
    ],
)
def test_a_server_is_judged(changes: dict[str, Any], level: str, words: str) -> None:
    """What loses messages is red, what should be looked at yellow."""
    server = msgspec.structs.replace(SERVER, **changes)
    [(found, said)] = worries([*cluster.server_of(server, NOW)])
    assert (found, words in said) == (level, True), said


def test_a_server_without_security_fixes_is_told() -> None:
    """From the day after its last one on; one that is newer than this program is not blamed."""
    assert cluster.version_of(150018, date(2027, 11, 11)).level == "green"
    assert cluster.version_of(150018, date(2027, 11, 12)).level == "yellow"
    assert cluster.version_of(990001, date(2027, 11, 12)).level == "green"


def test_a_server_that_acknowledges_alone_is_told() -> None:
    """Its disk is then the only one with what was acknowledged."""
    server = msgspec.structs.replace(SERVER, synchronous_standbys="")
    [(level, said)] = worries(
        [*cluster.replication_of(msgspec.structs.replace(ALL, server=server))]
    )
    assert level == "yellow"
    assert "a single server acknowledges alone" in said


def test_a_synchronous_standby_that_is_away_is_red() -> None:
    """No commit ends, so no push is taken; one that is only potential does not help."""
    for standbys in ([], [msgspec.structs.replace(STANDBY, sync="async")]):
        away = msgspec.structs.replace(ALL, standbys=standbys)
        [(level, said)] = worries([*cluster.replication_of(away)])
        assert level == "red"
        assert "'FIRST 1 (b)' is connected" in said


@pytest.mark.parametrize(
    "changes", [{"state": "catchup"}, {"lag": 5.1}, {"behind": 64 * 1024 * 1024 + 1}]
)
def test_a_standby_that_does_not_keep_up_is_told(changes: dict[str, Any]) -> None:
    """It takes long to be promoted, or cannot be."""
    standby = msgspec.structs.replace(STANDBY, **changes)
    assert cluster.standby_of(standby).level == "yellow"


def test_a_role_that_may_not_see_standbys_is_told_the_grant() -> None:
    """It cannot tell whether they are there."""
    [finding] = cluster.replication_of(msgspec.structs.replace(ALL, standbys=None))
    assert finding.level == "yellow"
    assert "GRANT pg_read_all_stats" in finding.do


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([], "no receiver uses the store"),
        ([msgspec.structs.replace(NODE, works=False)], "no receiver uses the store"),
        ([OTHER], "no receiver leads"),
        ([NODE, msgspec.structs.replace(OTHER, version="1.1")], "2 different versions"),
        ([NODE, msgspec.structs.replace(OTHER, config="b")], "2 different configurations"),
        ([NODE, msgspec.structs.replace(OTHER, alive=False, config="b")], "has run out"),
    ],
)
def test_receivers_that_disagree_or_ended_are_told(nodes: list[Node], words: str) -> None:
    """Each with what to do; a receiver that ended is not compared with the others."""
    [(level, said)] = worries([*cluster.nodes_of(nodes, NOW)])
    assert level == "yellow"
    assert words in said


def test_metrics_tell_receivers_and_standbys() -> None:
    """None of a store in a file, and none of standbys that this role may not see."""
    lost = msgspec.structs.replace(OTHER, alive=False)
    found = Cluster(server=SERVER, standbys=[STANDBY], nodes=[NODE, OTHER, lost])
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for metric in of_cluster(found)
        for sample in metric.samples
    }
    assert samples == {
        ("receiver_nodes", "alive"): 2,
        ("receiver_nodes", "lost"): 1,
        ("receiver_leaders",): 1,
        ("receiver_configurations",): 1,
        ("receiver_database_clock_offset_seconds",): 0.01,
        ("receiver_standbys", "sync"): 1,
        ("receiver_standbys", "quorum"): 0,
        ("receiver_standby_lag_seconds", "b"): 0.001,
        ("receiver_standby_behind_bytes", "b"): 4096,
    }
    unseen = msgspec.structs.replace(found, standbys=None)
    assert not [one for one in of_cluster(unseen) if "standby" in one.name]
    assert list(of_cluster(None)) == []
