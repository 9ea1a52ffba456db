"""The shipped dashboard and alerts: of metrics that there are, firing when they should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from receiver.service.cluster_metrics import of_cluster
from receiver.service.metrics import ServiceCollector
from tests.doctor.test_cluster import ALL
from tests.harness import opened

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "docs" / "deploy" / "alerts.yml"
DASHBOARD = json.loads((ROOT / "docs" / "deploy" / "grafana.json").read_text("utf-8"))
OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")
#: Of the process, from prometheus_client.
PROCESS = {
    "process_start_time_seconds",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
}
SOURCE = '{instance="sms:8081", job="sms-receiver", source="tilil"}'
#: Two receivers on one store, and what their alerts are told with.
RECEIVERS = [f'{{instance="{name}:8081", job="sms-receiver"}}' for name in ("a", "b")]
CLUSTER = '{job="sms-receiver"}'
SERVICE = '{instance="sms:8081", job="sms-receiver"}'

needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool (Debian's prometheus) is not installed"
)


@pytest.fixture
async def families(tmp_path: Path) -> dict[str, set[str]]:
    """Every series that /metrics can have, with its labels."""
    found: dict[str, set[str]] = {name: set() for name in PROCESS}
    async with opened(tmp_path) as service:
        for family in [*ServiceCollector(service).collect(), *of_cluster(ALL)]:
            labels: Any = family
            endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
            for ending in endings.get(family.type, [""]):
                found[family.name + ending] = {*labels._labelnames}
            if family.type == "histogram":
                found[f"{family.name}_bucket"].add("le")
    return found


def queries() -> Iterator[str]:
    """What the panels of the dashboard ask."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]


def expressions() -> list[str]:
    """What the rules ask."""
    text = ALERTS.read_text("utf-8")
    return re.findall(r"expr: (.*?)\n        (?:for|labels):", text, re.DOTALL)


def asked(expression: str) -> dict[str, set[str]]:
    """The series that an expression names, with the labels that it names beside them."""
    found = re.findall(r"((?:receiver|process)_\w+)(?:\{([^}]*)\})?", expression)
    grouped = {
        label.strip()
        for group in re.findall(r"by \(([^)]*)\)", expression)
        for label in group.split(",")
    }
    return {name: {*re.findall(r"(\w+)(?:=|!=)", labels)} | grouped for name, labels in found}


@pytest.mark.anyio
async def test_metrics_that_are_asked_for_exist(families: dict[str, set[str]]) -> None:
    """Dashboard and rules name series and labels that /metrics gives out."""
    every = [*queries(), *expressions()]
    assert len(expressions()) == len(re.findall("- alert:", ALERTS.read_text("utf-8")))
    for expression in every:
        for name, labels in asked(expression).items():
            assert name in families, expression
            assert labels <= families[name] | {"instance", "job"}, expression


@pytest.mark.anyio
async def test_the_dashboard_shows_everything(families: dict[str, set[str]]) -> None:
    """No metric is left out of it."""
    shown = {name for query in queries() for name in asked(query)}
    roots = {re.sub("_(bucket|sum|count)$", "", name) for name in families}
    assert roots == {re.sub("_(bucket|sum|count)$", "", name) for name in shown}


def test_the_dashboard_has_its_rows() -> None:
    """In the order of the way of a push; no two panels have the same id or place."""
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == [
        *("Now", "Intake", "Store", "Several receivers", "Handlers", "Sending", "Forwarding"),
        "Trouble",
    ]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(set(ids)) == len(DASHBOARD["panels"])


def test_alerts_are_described() -> None:
    """Each has its row in docs/operations.md, says what to do, and leads to a heading there."""
    text = ALERTS.read_text("utf-8")
    names = re.findall(r"- alert: (\w+)", text)
    assert names == re.findall(r"^\| `(Receiver\w+)` \|", OPERATIONS, re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", OPERATIONS, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in headings}
    for rule in text.split("- alert: ")[1:]:
        [runbook] = re.findall(r"runbook: docs/operations.md#(\S+)", rule)
        assert runbook in anchors, rule
        assert "summary: " in rule, rule
        assert "description: " in rule, rule


@needs_promtool
def test_prometheus_takes_the_rules() -> None:
    """`promtool check rules` finds nothing wrong."""
    promtool("check", "rules", str(ALERTS))


def case(name: str, series: dict[str, str], fires: dict[str, list[str]]) -> dict[str, Any]:
    """A case for promtool: series, a value a minute; by time the labels an alert fires with."""
    firing = f'ALERTS{{alertname="{name}", alertstate="firing", '
    return {
        "interval": "1m",
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'ALERTS{{alertstate="firing", alertname="{name}"}}',
                "eval_time": time,
                "exp_samples": [{"labels": firing + each[1:], "value": 1} for each in labels],
            }
            for time, labels in fires.items()
        ],
    }


def labelled(series: str, label: str, value: str) -> str:
    """Labels, with one more."""
    return series.replace("{", f'{{{label}="{value}", ')


@needs_promtool
def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    """Silent source, service gone, store that refuses, missing reports, low credit, full disk.

    Of several receivers: nobody leads, one is lost, configurations differ, a standby is away.
    """
    unavailable = SOURCE.replace("{", '{outcome="store_unavailable", ')
    warning, critical = '{severity="warning", ', '{severity="critical", '
    of_source = SOURCE.replace("{", warning)
    cases = [
        case(
            "ReceiverSourceSilent",
            {f"receiver_last_push_timestamp_seconds{SOURCE}": "0x600"},
            {"6h": [], "6h10m": [of_source]},
        ),
        case(
            "ReceiverDown",
            {f"up{SERVICE}": "1x10 0x20"},
            {"11m": [], "14m": [SERVICE.replace("{", critical)]},
        ),
        case(
            "ReceiverStoreTakesNothing",
            {
                f"receiver_pushes_total{unavailable}": "0x10 1x30",
                f"receiver_store_failing{SERVICE}": "0x40",
            },
            {"10m": [], "12m": ['{severity="critical", instance="sms:8081"}'], "20m": []},
        ),
        case(
            "ReceiverReportsMissing",
            {f"receiver_messages_unreported_ratio{SOURCE}": "0.1x30 0.3x100"},
            {"30m": [], "80m": [], "95m": [of_source]},
        ),
        case(
            "ReceiverBalanceLow",
            {f"receiver_balance{SOURCE}": "500-50x10"},
            {"8m": [], "9m": [of_source]},
        ),
        case(
            "ReceiverDiskNearlyFull",
            {f"receiver_disk_free_bytes{SERVICE}": "9000000000-10000000x600"},
            {"5m": [], "30m": [SERVICE.replace("{", critical)]},
        ),
        case(
            "ReceiverNoLeader",
            {f"receiver_leaders{each}": "1x5 0 1x3 0x10" for each in RECEIVERS},
            {"8m": [], "12m": [CLUSTER.replace("{", critical)]},
        ),
        case(
            "ReceiverLost",
            {f"receiver_nodes{labelled(each, 'state', 'lost')}": "0x5 1x10" for each in RECEIVERS},
            {"7m": [], "9m": [CLUSTER.replace("{", warning)]},
        ),
        case(
            "ReceiverConfigurationsDiffer",
            {f"receiver_configurations{each}": "1x5 2x60" for each in RECEIVERS},
            {"30m": [], "40m": [CLUSTER.replace("{", warning)]},
        ),
        case(
            "ReceiverNoStandby",
            {
                f"receiver_standbys{labelled(each, 'sync', sync)}": values
                for each in RECEIVERS
                for sync, values in (("sync", "1x5 0x5"), ("quorum", "0x10"), ("async", "1x10"))
            },
            {"5m": [], "8m": [CLUSTER.replace("{", critical)]},
        ),
    ]
    file = tmp_path / "test.yml"
    file.write_text(json.dumps({"rule_files": [str(ALERTS)], "tests": cases}))
    promtool("test", "rules", str(file))


def promtool(*arguments: str) -> None:
    """Runs it; what it finds wrong fails the test."""
    result = subprocess.run(
        ["promtool", *arguments], capture_output=True, encoding="utf-8", check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
