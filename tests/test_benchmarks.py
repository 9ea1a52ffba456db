"""What the benchmark stands on goes with the store as it is: `make bench` takes long to tell."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette

from benchmarks import console, contestants, counting, crowd, descriptions, growth, history, rivals
from benchmarks.asked import READS, WRITES
from benchmarks.contest import Contest, Turn
from receiver.store.people import StoredPeople
from tests import stored
from tests.harness import inbound

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("app", [rivals.constant, rivals.tutorial], ids=["constant", "tutorial"])
async def test_rivals_answer(
    tmp_path: Path, app: Starlette, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As this program does; the tutorial's has stored the push in the same table."""
    store = tmp_path / "tutorial.db"
    monkeypatch.setenv("TUTORIAL_STORE", str(store))
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://rival") as client,
    ):
        answer = await client.post("/hooks/tilil", content=inbound(7, "hello"))
    assert answer.status_code == 200
    assert answer.json()["result_code"] == 1
    if app is rivals.tutorial:
        assert rivals.stored_by_tutorial(store) == [("7", "254726770792")]


def test_neighbours_are_compared() -> None:
    """A ratio is the median of those of neighbouring turns, however the machine's pace changes."""
    paces = [1.0, 4.0, 2.0]
    contest = Contest(
        {
            "one": [turn(300 * pace, failures=1) for pace in paces],
            "other": [turn(600 * pace) for pace in [*paces[:2], 8.0]],
        }
    )
    assert contest.ratio("one", "other") == 0.5
    assert contest.ratio("other", "one", "p99_ms") == 1
    assert contest.medians() == {"one": turn(600, failures=3), "other": turn(2400)}


_OTHER_VERSION = """\
import sys, tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer

class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"another version")

with open(sys.argv[-1], "rb") as config:
    port = tomllib.load(config)["server"]["port"]
HTTPServer(("127.0.0.1", port), Answer).serve_forever()
"""


def test_another_version_is_measured_in_its_own_checkout(tmp_path: Path) -> None:
    """`--before` runs the program of that folder, also from inside of this one."""
    (tmp_path / "receiver").mkdir()
    (tmp_path / "receiver" / "__init__.py").touch()
    (tmp_path / "receiver" / "__main__.py").write_text(_OTHER_VERSION)
    with contestants.receiver(0, tmp_path, tree=tmp_path) as other:
        assert httpx2.get(other.url).text == "another version"


def test_described_gateways_do_the_same_work() -> None:
    """As the providers written by hand that they are compared with: the events are the same."""
    for _, written, described in descriptions.pairs():
        for kind in described.sample_kinds:
            one, other = (
                descriptions.taken(provider, descriptions.push(described, kind))
                for provider in (written, described)
            )
            assert (one.type, one.data, one.time) == (other.type, other.data, other.time)


def turn(rate: float, failures: int = 0) -> Turn:
    """A turn at so many requests a second."""
    return Turn(rate=rate, p50_ms=1, p99_ms=2, cpu_us=3, failures=failures)


def test_the_crowd_has_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The store of many events is one of this program; it is made once."""
    store = tmp_path / "crowd.db"
    crowd.make(store, 10)
    assert "10 of 10 events" in capsys.readouterr().err
    crowd.make(store, 10)
    assert capsys.readouterr().err == ""
    assert len(stored.keys(store)) == 10
    with closing(StoredPeople(store)) as people:
        [event] = people.history("+254700007919")
    assert event.data.external_id == "1"  # type: ignore[union-attr] # a message


@pytest.mark.commit
def test_years_are_in_the_store(tmp_path: Path) -> None:
    """What the benchmark asks for is there, is of this program, and everything is clocked."""
    path = tmp_path / "history.db"
    figures = history.make(path, growth.NEW)
    assert history.make(path, growth.NEW) == figures
    states = Counter(message.state for message in stored.messages(path))
    assert states == {"sent": 1975, "unknown": 5, "waiting": 10, "dead": 10}
    seventh = stored.read(path, lambda reader: reader.event_by_seq(figures.seq(7)))
    assert seventh is not None
    assert seventh.event.subject == figures.person(7)
    assert stored.counted(path) == [growth.NEW * 6 // 5]
    asked = console.measure(path, tmp_path)
    assert len(asked) > 20
    assert not [cost for cost in asked if cost.status != 200]
    costs = growth.measure(path, figures, tmp_path)
    assert {place.name for place in costs} == {*WRITES, *READS, "the service starts"}
    assert all(costs[growth.Place(name, on_writer=True)].statement for name in WRITES)
    assert all(costs[growth.Place(name, on_writer=False)].statement for name in READS)


def test_counting_is_measured(tmp_path: Path) -> None:
    """All that comes is counted, and it takes time."""
    assert counting.microseconds(tmp_path, 1000, 10) > 0
    store = tmp_path / "counting-10.db"
    counted = stored.counted(store, "keyword", "network")
    assert (sum(counted), len(counted)) == (1000, 24)
