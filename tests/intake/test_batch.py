"""What is stored of pushes that came together."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.intake import batch
from receiver.intake.batch import Arrival
from receiver.logs.requests import unlogged_entry
from receiver.store import StoredPush
from tests.harness import inbound, opened, push_of, settings
from tests.providers.pushes import parse

pytestmark = pytest.mark.anyio


async def test_each_step_is_for_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are given ids before the first is asked about, and so on; the log gets the time."""
    steps: list[str] = []
    for name in ("identify", "ask", "judge", "record"):
        monkeypatch.setattr(Arrival, name, noted(getattr(Arrival, name), name, steps))
    async with opened(tmp_path, settings()) as service:
        endpoint = service.intake.endpoints["tilil"]
        came = []
        for n in range(3):
            push, entry = push_of(inbound(n, "hi")), unlogged_entry()
            parsed = parse(endpoint.provider, push)
            plain = endpoint.provider.acknowledge(push, parsed, "")
            came.append(Arrival(endpoint, push, parsed, plain, entry))
        made = batch.records(came, service.store.ids, service.workers.guard)
    assert steps == ["identify"] * 3 + ["ask"] * 3 + ["judge"] * 3 + ["record"] * 3
    rows = [each.row for each in made if isinstance(each, StoredPush)]
    assert [row.key for row in rows] == ["message:0", "message:1", "message:2"]
    assert sorted({row.seq for row in rows}) == [row.seq for row in rows]
    assert all(arrival.entry.planned > 0 for arrival in came)


def noted(step: object, name: str, steps: list[str]) -> object:
    """The step, which notes that it was taken."""

    def take(arrival: Arrival, *others: object) -> object:
        steps.append(name)
        return step(arrival, *others)  # type: ignore[operator] # a function

    return take
