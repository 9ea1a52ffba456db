"""The process ends at every step of a job's life: nothing is lost, and nobody gets anything twice.

A step is a commit. Each is tried twice: the process ends just before it, and just after it, when
nobody has been told of it yet. What had been begun at a provider goes on there.
"""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from receiver import fake, jobs
from receiver.errors import StoreUnavailable
from receiver.fake import Fake, Options
from receiver.jobs import handle, runner
from receiver.service.parts import Service
from receiver.store import Store, StoredPush
from receiver.store.commits import Commits
from tests import stored
from tests.harness import Clock, inbound, opened, take, with_plugin
from tests.listening import Listener, listening

ANN, BEN = "254711000111", "+254711000222"

#: Asks for a reply, which is late, for a message that is asked about, and for an end there.
ASKS = f"""
from receiver.handlers import Send, Unsubscribe, on_message

@on_message()
async def asks(event, context):
    ended = Unsubscribe(msisdn=event.data.from_, service_id="44", at_provider=True)
    return ["reply", Send(source="rayprotech", to="{BEN}", text="news"), ended]
"""
#: Changes that are not part of a life in which nothing fails, and where they are held to.
ELSEWHERE = {
    "add": "jobs/test_purge.py",
    "bury": "jobs/test_forward.py",
    "claimed_for": "postgresql/test_database.py",
    "drop": "jobs/test_purge.py",
    "fail": "jobs/test_handle.py",
    "failed": "jobs/test_forward.py",
    "hurry_lane": "jobs/test_forward.py",
    "kill": "jobs/test_send.py",
    "mark_link": "store/test_messages.py",
    "opt_out": "jobs/test_send.py",
    "pause_lane": "jobs/test_campaign.py",
    "put_off": "jobs/test_send.py",
    "refuse_all": "jobs/test_campaign.py",
    "give_back": "jobs/test_runner.py",
    "split": "jobs/test_send.py",
    "trust_clock": "jobs/test_purge.py",
}


def name_of(work: Any) -> str:
    """The name of a change that waits for its commit."""
    if isinstance(work, StoredPush):
        return "take"
    return str(getattr(getattr(work, "together", work), "__name__", "other"))


class Crash(BaseException):
    """The process ends here."""


class Steps(msgspec.Struct, kw_only=True):
    """Counts commits, and ends the writer at one of them."""

    last: int = -1
    """The step at which it ends; -1: never."""
    told: bool = False
    """After the commit, instead of before it."""
    done: list[str] = []

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Has all stores that are opened from now on go by this."""
        store, run = Commits._store, Store.run

        def counted(commits: Commits, work: list[Any]) -> Any:
            names = list(map(name_of, work))
            at_end = len(self.done) == self.last
            self.done.append(" ".join(names))
            if at_end and not self.told:
                raise Crash
            results = store(commits, work)
            if at_end:
                raise Crash
            return results

        async def named(self: Store, change: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            def step(db: Any) -> Any:
                return change(db, *args, **kwargs)

            step.__name__ = change.__name__
            return await self.writer.run(step)

        assert run is Store.run
        monkeypatch.setattr(Commits, "_store", counted)
        monkeypatch.setattr(Store, "run", named)
        monkeypatch.setattr(runner, "LOOK", 0.02)
        monkeypatch.setattr(runner, "GRACE", 0.05)
        monkeypatch.setattr(runner, "STORE_PAUSE", 0.01)
        monkeypatch.setattr(handle, "_GRACE", 0.05)


def configuration(providers: Fake, crm: Listener) -> dict[str, Any]:
    """Messages of Tilil are forwarded and answered late; rayprotech is asked what became."""
    raw = with_plugin(ASKS, "forward")
    target = {"name": "crm", "url": crm.url, "allow": ["127.0.0.0/8"]}
    raw["plugins"]["forward"] = {"targets": [{**target, "types": ["sms.message.received"]}]}
    for name in ("tilil", "rayprotech"):
        send = {"api_key": "key", "sender": "SHOP", "url": providers.urls[name]}
        raw["sources"].setdefault(name, {"provider": name})["send"] = send
    raw["sources"]["tilil"]["reply_within"] = 0.001
    return raw


async def live(folder: Path, raw: dict[str, Any], clock: Clock) -> bool:
    """Takes a push and goes on until all is done; False if the process has ended before."""
    try:
        async with opened(folder, raw, clock) as service:
            await take(service, inbound(1, "hello", mobile=ANN))
            for _ in range(1500):
                if service.store.writer.ended():
                    return False
                if not undecided(service):
                    return True
                clock.move(seconds=5)
                await asyncio.sleep(0.01)
            raise AssertionError(f"still to be done: {undecided(service)}")
    except StoreUnavailable:
        return False


def undecided(service: Service) -> list[Any]:
    """What is still to be done."""
    path = service.store.address
    return [*stored.undecided(path), *stored.jobs(path, state="dead")]


def check(folder: Path, providers: Fake, crm: Listener) -> None:
    """All of it has been done, and what must not be done twice was done once at most."""
    messages = stored.messages(folder / "receiver.db")
    rows = sorted((message.text, message.state) for message in messages)
    answer = stored.event(folder / "receiver.db", 1).answer
    told = ["reply"] if b'"reply"' in answer else []  # in time for the answer
    assert [*(text for text, _ in rows), *told] == ["news", "reply"]
    for text, state in rows:
        count = sum(sent.text == text for sent in providers.sent)
        assert (state, count) in {("sent", 1), ("unknown", 0), ("unknown", 1)}, (text, state, count)
    assert {(each.to, each.option) for each in providers.managed} == {(ANN, "deactivation")}
    assert len({pushed.id for pushed in crm.taken}) == 1


async def whole_life(folder: Path, steps: Steps) -> bool:
    """A life, and after its end another one that does the rest; whether there was an end."""
    at_once = Options(sent_after=0.0, delivered_after=0.0, jitter=0.0, seed=1)
    async with fake.running(at_once) as providers, listening() as crm:
        raw, clock = configuration(providers, crm), Clock()
        ended = not await live(folder, raw, clock)
        steps.last = -1
        if ended:
            assert await live(folder, raw, clock)
        check(folder, providers, crm)
    return ended


def changes() -> set[str]:
    """The changes of the store that background work makes, by the code of `receiver.jobs`."""
    found = set()
    for file in Path(jobs.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            called = node.args[0] if node.args else None
            if node.func.attr in ("run", "commit", "join") and isinstance(
                called, ast.Attribute | ast.Name
            ):
                name = called.attr if isinstance(called, ast.Attribute) else called.id
                found.add(name)
    return found - {"change"}


@pytest.mark.anyio
async def test_the_steps_are_all_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every change that the code of background work makes is a step, or is named with its test."""
    steps = Steps()
    steps.patch(monkeypatch)
    assert not await whole_life(tmp_path / "one", steps)
    made = {name for names in steps.done for name in names.split()}
    assert changes() - made == ELSEWHERE.keys()
    assert {"take", "claim", "begin", "settle", "finish", "end", "end_deactivation"} <= made


@pytest.mark.commit
@pytest.mark.anyio
@pytest.mark.parametrize(
    ("first", "each"), [(5, 9), pytest.param(0, 1, marks=pytest.mark.slow)], ids=["some", "all"]
)
async def test_the_process_ends_at_every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int, each: int
) -> None:
    """Whatever was committed last: all is done in the end, and no message is sent twice."""
    steps = Steps()
    steps.patch(monkeypatch)
    for told in (False, True):
        number, ended = first, True
        while ended:
            steps.last, steps.told, steps.done = number, told, []
            ended = await whole_life(tmp_path / f"{number}-{told}", steps)
            number += each
        assert number > first + each
