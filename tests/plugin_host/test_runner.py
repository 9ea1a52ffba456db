"""Plugins' code runs beside the service, each plugin's beside that of the others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from receiver.events import Event
from receiver.handlers import MARK, Context, Reply, on_message
from receiver.plugin_host import plugin_loop, runner
from receiver.plugin_host.dispatch import BoundHandler
from receiver.plugin_host.hooks import StartedPlugins
from receiver.plugin_host.loader import Plugin
from receiver.plugin_host.runner import HandlerBlocks
from receiver.supervision.supervisor import Supervisor
from receiver.testing import message

pytestmark = pytest.mark.anyio

Function = Callable[..., Any]
SECONDS = 30.0


class House:
    """Plugins that are started, with what watches over them."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.plugins = StartedPlugins(supervisor)
        self._contexts: dict[str, Context[Any]] = {}

    async def start(self, name: str, start: Function) -> None:
        """Starts a plugin with this `start`."""
        context = self._context(name)
        plugin = Plugin(
            name=name, settings=None, state=None, handlers=(), context=context, start=start,
            file=Path(f"{name}.py"),
        )  # fmt: skip
        await self.plugins.start([plugin])

    async def ask(
        self, function: Function, plugin: str = "mine", *, seconds: float = SECONDS
    ) -> str:
        """The reply of a handler."""
        handler = getattr(function, MARK, None) or getattr(on_message()(function), MARK)
        bound = BoundHandler.of(plugin, handler, self._context(plugin))
        event: Event[Any] = message("hello")
        asked = await asyncio.wait_for(self.plugins.ask(bound, event, seconds=seconds), SECONDS)
        (reply,) = asked
        assert isinstance(reply, Reply)
        return reply.text

    def _context(self, plugin: str) -> Context[Any]:
        context = Context(plugin=plugin, settings=None, state=None)
        return self._contexts.setdefault(plugin, context)


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """A house where a loop is given up soon, though not because the machine is busy."""
    monkeypatch.setattr(runner, "WATCH_PAUSE", 0.01)
    monkeypatch.setattr(runner, "STANDSTILL", 0.3)
    monkeypatch.setattr(plugin_loop, "_GRACE", 0.05)
    monkeypatch.setattr(plugin_loop, "_CLOSE", 0.05)
    supervisor = Supervisor()
    made = House(supervisor)
    with capture_logs():
        yield made
        await made.plugins.close()
        await supervisor.close()


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Ends at last what hangs."""
    event = threading.Event()
    yield event
    event.set()


def where() -> str:
    """The name of the thread and the identity of the loop of whoever asks."""
    return f"{threading.current_thread().name} {id(asyncio.get_running_loop())}"


async def tells(event: object, context: object) -> str:
    """Says where it runs."""
    return where()


async def test_each_plugin_has_a_loop_of_its_own(house: House) -> None:
    """All handlers of one share it; `start` runs there, too; it is in a thread of its own."""
    started: list[str] = []

    async def start(context: object) -> None:
        started.append(where())

    await house.start("mine", start)
    ours = await house.ask(tells)
    assert ours == await house.ask(tells) == started[0]
    assert ours.startswith("plugin mine ")
    theirs = await house.ask(tells, "theirs")
    assert theirs.startswith("plugin theirs ")


async def hang_on(released: threading.Event) -> None:
    """Does not yield, as an `async def` must."""
    released.wait(60)


@pytest.mark.parametrize("nested", [False, True])
async def test_a_loop_that_is_blocked_is_replaced(
    house: House, released: threading.Event, *, nested: bool
) -> None:
    """The handler at fault fails for good and is named; what waits beside it goes on elsewhere.

    Also if it is a task of the handler's that blocks.
    """
    started: list[str] = []
    begun, tries = asyncio.Event(), []
    main = asyncio.get_running_loop()

    async def start(context: object) -> None:
        started.append(where())

    async def waits(event: object, context: object) -> str:
        tries.append(where())
        main.call_soon_threadsafe(begun.set)
        if len(tries) == 1:
            await asyncio.Event().wait()
        return where()

    async def blocks(event: object, context: object) -> None:
        await (asyncio.wait_for(hang_on(released), 60) if nested else hang_on(released))

    await house.start("mine", start)
    waiting = asyncio.create_task(house.ask(waits))
    await begun.wait()
    elsewhere = await house.ask(tells, "theirs")
    blocking = asyncio.create_task(house.ask(blocks))
    with pytest.raises(HandlerBlocks, match="expected `await`, or a plain `def`"):
        await blocking
    assert await waiting == tries[1] == started[1] != started[0]
    assert await house.ask(tells) == started[1]
    assert await house.ask(tells, "theirs") == elsewhere
    assert house.plugins.blocked.abandoned == {"mine.blocks": 1}
    assert house.supervisor.why is None


async def test_after_three_loops_the_service_ends(house: House, released: threading.Event) -> None:
    """Of all plugins together: each has left a thread that hangs."""

    async def blocks(event: object, context: object) -> None:
        released.wait(60)

    for plugin in ("mine", "theirs", "mine"):
        assert house.supervisor.why is None
        with pytest.raises(HandlerBlocks):
            await house.ask(blocks, plugin)
    why = "event loops abandoned: 3, the last one blocked by mine.blocks"
    assert house.supervisor.why == why


async def test_a_plugin_that_does_not_start_again_ends_the_service(
    house: House, released: threading.Event
) -> None:
    """Its handlers would miss what `start` makes."""
    starts: list[int] = []

    async def start(context: object) -> None:
        starts.append(1)
        if len(starts) > 1:
            raise OSError("no")

    async def blocks(event: object, context: object) -> None:
        released.wait(60)

    await house.start("mine", start)
    with pytest.raises(HandlerBlocks):
        await house.ask(blocks)
    await house.supervisor.over.wait()
    assert house.supervisor.why == "mine does not start on a new event loop: OSError: no"


async def test_a_task_that_blocks_is_named(house: House, released: threading.Event) -> None:
    """A plugin's own task is no handler's; those that waited beside it are called again."""

    async def start(context: object) -> None:
        if not released.is_set():
            tasks.append(asyncio.create_task(blocks(), name="refresh"))

    async def blocks() -> None:
        await go_on.wait()
        released.set()
        hung.wait(60)

    go_on, hung, tasks = asyncio.Event(), threading.Event(), list[asyncio.Task[None]]()
    await house.start("mine", start)

    async def sets_off(event: object, context: object) -> str:
        if not released.is_set():
            go_on.set()
            await asyncio.Event().wait()
        return "done"

    try:
        assert await house.ask(sets_off) == "done"
        assert house.plugins.blocked.abandoned == {"mine (refresh)": 1}
    finally:
        hung.set()


async def test_a_thread_that_ends_is_noticed(house: House) -> None:
    """The plugin has another loop then; what waited on the first is done there."""

    def end(self: object) -> None:
        patch.undo()  # the next one lives

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plugin_loop.PluginLoop, "_run", end)
        assert (await house.ask(tells)).startswith("plugin mine ")
    assert house.plugins.blocked.abandoned == {"mine": 1}


async def test_a_handler_that_stops_the_loop_is_answered(house: House) -> None:
    """The loop goes on turning."""

    async def stops(event: object, context: object) -> str:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0)
        return "stopped"

    for _ in range(3):
        assert await house.ask(stops) == "stopped"


async def test_a_handler_that_catches_everything_is_given_up(
    house: House, released: threading.Event
) -> None:
    """Neither its time limit nor the end of its plugin waits for it. Its thread stays."""
    threads: list[threading.Thread] = []

    async def stubborn(event: object, context: object) -> None:
        threads.append(threading.current_thread())
        while not released.is_set():
            try:  # noqa: SIM105 - it is what is tried here
                await asyncio.sleep(0.01)
            except:  # noqa: E722 - it is what is tried here
                pass

    with pytest.raises(TimeoutError, match=r"took longer than 0\.01 s, and cannot be ended"):
        await house.ask(stubborn, seconds=0.01)
    async with asyncio.timeout(SECONDS):
        await house.plugins.close()
    assert threads[0].is_alive()
    released.set()
    threads[0].join(SECONDS)
    assert not threads[0].is_alive()


async def test_hanging_threads_hold_up_their_own_plugin(
    house: House, released: threading.Event
) -> None:
    """Forty `def` handlers that hang leave the threads of other plugins free."""

    def hangs(event: object, context: object) -> None:
        released.wait(60)

    def answers(event: object, context: object) -> str:
        return "here"

    hanging = [asyncio.create_task(house.ask(hangs)) for _ in range(40)]
    await asyncio.sleep(0)
    assert await house.ask(answers, "theirs") == "here"
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)
