"""The list of opt-outs."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from receiver.config import StoreAddress
from receiver.handlers import Action, OptIn, OptOut
from receiver.store import HandlerActions
from tests.harness import NOW
from tests.store.rows import PERSON, intake, opened, opted_in, opted_out


@pytest.mark.anyio
async def test_opt_outs_are_noted_once_and_their_history_always(address: StoreAddress) -> None:
    """Opting out twice is once; each time is in the history."""
    async with opened(address) as store:
        assert await opted_out(store, OptOut(PERSON, "STOP"), NOW)
        assert not await opted_out(store, OptOut(PERSON, "operator"), NOW + timedelta(hours=1))
        (entry,) = await store.reader.opt_outs.find(PERSON)
        assert (entry.reason, entry.time) == ("STOP", NOW)
        assert await opted_in(store, OptIn(PERSON, "START"), NOW)
        assert not await opted_in(store, OptIn(PERSON, "START"), NOW)
        assert await store.reader.opt_outs.find() == []
        changes = await store.writer.run(
            lambda db: db.execute("SELECT change, reason FROM opt_out_history").fetchall()
        )
        assert changes == [("out", "STOP"), ("out", "operator"), ("in", "START"), ("in", "START")]


@pytest.mark.anyio
async def test_the_last_word_of_a_commit_counts(address: StoreAddress) -> None:
    """STOP and START that share a commit take effect in the order in which they came."""
    stop, start = OptOut(PERSON, "STOP"), OptIn(PERSON, "START")
    cases: list[list[Action]] = [[stop, start], [start, stop], [stop, start, stop, start]]
    async with opened(address) as store:
        for n, actions in enumerate(cases):
            rows = [
                intake(
                    store,
                    f"{n}-{m}",
                    handler_actions=[HandlerActions(handler="mine.rule", actions=(action,))],
                )
                for m, action in enumerate(actions)
            ]
            await asyncio.gather(*[store.take(row) for row in rows])
            assert bool(await store.reader.opt_outs.find()) is (actions[-1] is stop)
