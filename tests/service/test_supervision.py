"""Every thread and task of the service has an owner that notices its end, and answers it."""

from __future__ import annotations

import ast
import asyncio
import io
import json
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from receiver.logs.writer import LogWriter
from receiver.service import server
from receiver.service.clock import SteadyClock
from receiver.service.parts import Service
from receiver.service.systemd import watched
from receiver.supervision import supervisor as supervision
from receiver.supervision.supervisor import Supervisor
from tests.cli.program import run
from tests.harness import PATIENCE, inbound, opened, serve, until_async, with_plugin
from tests.stored import sqlite_of

#: Seconds in which an end has to be noticed.
NOTICED = 5.0

PACKAGE = Path(__file__).parents[2] / "receiver"
#: Rooms whose code does not run in the service.
OUTSIDE = {"cli", "doctor", "fake", "testing"}
#: What begins a thread or task.
MAKERS = {
    "Runner", "Task", "TaskGroup", "Thread", "ThreadPoolExecutor", "Timer", "create_task",
    "ensure_future", "run_coroutine_threadsafe", "run_in_executor", "start_server",
    "start_unix_server", "to_thread",
}  # fmt: skip
#: Who begins one without the supervisor, and who notices its end instead.
OTHERS = {
    "console/prepared.py:Prepared.examined": "no part of the service: the page tells of every end",
    "console/prepared.py:Prepared.parts": "no part of the service: the page tells of every end",
    "http/protocol.py:LimitedProtocol._run_next": "a request: it answers 500 itself",
    "jobs/channel.py:open_lines": "awaited",
    "jobs/forward.py:Forwarder.load": "awaited",
    "net/asking.py:asking": "awaited",
    "logs/writer.py:LogWriter.begin": "watched",
    "plugin_host/answers.py:Answers.begin": "an answer: whoever waits is told of every end",
    "plugin_host/plugin_loop.py:PluginLoop.__init__": "looked at by its plugin's runner",
    "plugin_host/plugin_loop.py:PluginLoop._make_task": "tasks of plugins are theirs",
    "plugin_host/plugin_loop.py:PluginLoop._stop": "closes a loop that nobody uses any more",
    "plugin_host/plugin_loop.py:PluginLoop.close": "awaited",
    "plugin_host/plugin_loop.py:PluginLoop.run": "awaited, with a time limit",
    "plugin_host/runner.py:PluginRunner._thread": "awaited, with a time limit",
    "service/control.py:listening": "a command: it answers whatever fails",
    "service/metrics.py:ServiceCollector.refresh": "awaited",
    "service/parts.py:open_service": "the runner of jobs: it begins its tasks by the supervisor",
    "service/parts.py:warn": "awaited",
    "service/reload.py:reload": "awaited",
    "service/sending.py:Sending.adopt": "closes connections that nobody uses any more",
    "service/server.py:run": "the program itself, and what ends it in time",
    "store/engine/postgresql/membership.py:Membership.__init__": "watched",
    "store/engine/postgresql/reading.py:open_async": "awaited",
    "store/forgetting.py:PersonReader._searched": "awaited",
    "store/group_commit.py:Writer.__init__": "watched",
    "store/group_commit.py:Writer.close": "awaited",
    "supervision/supervisor.py:KeptTask._begin": "the supervisor",
    "supervision/supervisor.py:Supervisor.begin": "the supervisor",
}  # fmt: skip


def calls(names: set[str]) -> Iterator[tuple[str, ast.Call]]:
    """The calls of functions with these names in the service's code, and where they stand."""
    for file in sorted(PACKAGE.rglob("*.py")):
        place = file.relative_to(PACKAGE)
        if place.parts[0] in OUTSIDE:
            continue
        waiting: list[tuple[ast.AST, str]] = [(ast.parse(file.read_text("utf-8")), "")]
        while waiting:
            node, outer = waiting.pop()
            for child in ast.iter_child_nodes(node):
                inner = outer
                if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    inner = f"{outer}.{child.name}".lstrip(".")
                elif isinstance(child, ast.Call):
                    called = getattr(child.func, "attr", getattr(child.func, "id", ""))
                    if called in names:
                        yield f"{place}:{outer}", child
                waiting.append((child, inner))


def test_every_thread_and_task_has_an_owner() -> None:
    """The supervisor, or somebody that the table above names."""
    assert {place for place, _ in calls(MAKERS)} == set(OTHERS)


# Faults. Each ends something of a running service; what follows is said beside it.


Fault = Callable[[Service], Awaitable[object]]


def cancelled(name: str) -> Fault:
    """Ends a task that is kept."""

    async def end(service: Service) -> None:
        (kept,) = [each for each in service.supervisor.kept if each.name == name]
        kept._task.cancel()

    return end


async def fall(service: Service) -> None:
    """Ends the thread that writes."""

    def exit_(db: object) -> None:
        raise SystemExit("fallen")

    await asyncio.gather(service.store.writer.run(exit_), return_exceptions=True)


async def end_reader(service: Service) -> None:
    """Has the thread that reads look as one that has ended; a real one could not be closed."""
    sqlite_of(service.store.reader._connection)._thread = threading.Thread()


FAULTS: dict[str, tuple[Fault, str | None]] = {
    "look for work": (cancelled("look for work"), None),
    "queue of handle": (cancelled("queue of handle"), None),
    "retention": (cancelled("retention"), None),
    "keeping time": (cancelled("keeping time"), None),
    "counting for reports": (cancelled("counting for reports"), None),
    "supervisor": (cancelled("supervisor"), None),
    "watch of mine": (cancelled("watch of mine"), None),
    "the store's writer": (fall, "the store's writer has ended: SystemExit: fallen"),
    "the store's reader": (end_reader, "the store's reader has ended"),
}
#: Those that have tests of their own below.
ELSEWHERE = {
    *("log", "name", "signs of life", "bringing numbers along"),
    *("the store's lease", "connection to NATS"),
}

PLUGIN = """
from receiver.handlers import on_message

async def start(context):
    pass

@on_message()
async def answer(event, context):
    return "karibu"
"""


@asynccontextmanager
async def whole(folder: Path) -> AsyncIterator[Service]:
    """A service as it runs in production, without its sockets."""
    async with opened(folder, with_plugin(PLUGIN), SteadyClock()) as service:
        yield service


def test_each_name_has_a_fault() -> None:
    """Whatever the supervisor keeps or watches is ended by a test."""
    named = {
        ast.unparse(call.args[0])
        .strip("'\"f")
        .replace("{self._plugin}", "mine")
        .replace("{queue.kind}", "handle")
        for _, call in calls({"keep", "watch"})
    }
    assert named == {*FAULTS, *ELSEWHERE}


@pytest.mark.anyio
@pytest.mark.parametrize("name", FAULTS)
async def test_an_end_is_noticed(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within five seconds it is restarted, or the service ends and is ready no more."""
    fault, why = FAULTS[name]
    async with whole(tmp_path) as service:
        supervisor, reader = service.supervisor, sqlite_of(service.store.reader._connection)
        monkeypatch.setattr(reader, "_thread", reader._thread)

        async def noticed() -> bool:
            return bool(supervisor.restarts[name]) or supervisor.over.is_set()

        with capture_logs() as lines:
            await fault(service)
            await until_async(noticed, "noticed", NOTICED)
        assert supervisor.why == why
        assert supervisor.restarts[name] == (why is None)
        event = "restarted" if why is None else "the service ends, to be restarted"
        assert event in [line["event"] for line in lines]
        monkeypatch.undo()
        readiness = await service.check()
        assert readiness == (None if why is None else "the service ends, to be restarted")


@pytest.mark.anyio
async def test_the_log_is_written_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waited when its thread ended is written by the next one."""
    monkeypatch.setattr(supervision, "PAUSE", 0.01)
    stream, supervisor = io.StringIO(), Supervisor()
    writer = LogWriter(stream, lambda sentence, **fields: f"{sentence}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LogWriter, "_run", lambda self: None)
        context = writer.in_background()
        context.__enter__()
    writer.write("waits\n")
    with capture_logs():
        supervisor.watch("log", writer.ended, restart=writer.begin)

        async def written() -> bool:
            return stream.getvalue() == "waits\n"

        await until_async(written, "written", NOTICED)
        await supervisor.close()
    assert supervisor.restarts["log"] == 1
    context.__exit__(None, None, None)


@pytest.mark.anyio
@pytest.mark.parametrize("ends", ["return", "exception"])
async def test_the_service_ends_with_its_sockets(ends: str) -> None:
    """However the task of one ends; what ends the process in time begins to count."""

    class Ending:
        """A server that ends by itself."""

        should_exit = False

        async def serve(self, sockets: list[socket.socket]) -> None:
            """Ends."""
            if ends == "exception":
                raise OSError("no files left")

    supervisor = Supervisor()
    ended: list[str] = []
    listeners: dict[str, Any] = {"public address": (Ending(), None)}
    with capture_logs():
        async with asyncio.timeout(NOTICED):
            await server._serve_until_over(supervisor, listeners, lambda: ended.append("begun"))
    how = "it returned" if ends == "return" else "OSError: no files left"
    assert supervisor.why == f"public address has ended: {how}"
    assert ended == ["begun"]


@pytest.mark.anyio
async def test_signs_of_life_are_restarted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They end with the service, not with their task."""
    monkeypatch.setattr(supervision, "PAUSE", 0.01)
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    supervisor = Supervisor()

    async def restarted() -> int:
        return supervisor.restarts["signs of life"]

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)  # noqa: FBT003 - its own signature
        loop = asyncio.get_running_loop()
        with capture_logs():
            async with asyncio.timeout(NOTICED), watched(supervisor):
                while await loop.sock_recv(systemd, 100) != b"WATCHDOG=1":
                    pass
                (kept,) = supervisor.kept
                kept._task.cancel()
                await until_async(restarted, "restarted", NOTICED)
                with suppress(BlockingIOError):  # those from before
                    while systemd.recv(100):
                        pass
                assert await loop.sock_recv(systemd, 100) == b"WATCHDOG=1"


HANGING = """
from receiver.handlers import on_message
from receiver.service import server
from receiver.store.group_commit import Writer

async def never(self):
    import asyncio
    await asyncio.Event().wait()

server.STOP_WITHIN = 0.5
Writer.close = never

@on_message()
def answer(event, context):
    return "karibu"
"""


def test_the_end_has_a_limit(tmp_path: Path) -> None:
    """Whatever hangs, the process ends, with a line that names the threads, and as a failure."""
    with serve(tmp_path, with_plugin(HANGING)) as service:
        assert service.post(inbound(1)).status == 200
        assert service.stop() == 1
        last = json.loads(service.log.splitlines()[-1])
    assert (last["event"], last["level"], last["seconds"]) == ("not ended in time", "critical", 0.5)
    assert "store-writer" in last["threads"]


BLOCKING = """
import time
from receiver.handlers import on_message
from receiver.plugin_host import runner

runner.WATCH_PAUSE = 0.05
runner.STANDSTILL = 0.3

@on_message()
async def answer(event, context):
    if event.data.text == "BLOCK":
        while True:
            time.sleep(60)
    return "karibu"
"""


def test_handlers_that_block_have_the_service_started_anew(tmp_path: Path) -> None:
    """After the third, each of them named; their events are dead letters, others go on."""
    raw = with_plugin(BLOCKING)
    raw["sources"]["tilil"]["reply_within"] = 0.1
    with serve(tmp_path, raw) as service:
        for n in range(3):
            assert service.post(inbound(n, "BLOCK", mobile=f"25471100000{n}")).status == 200
        assert service.process.wait(PATIENCE) == 1
        *_, last = service.log.splitlines()
    why = "event loops abandoned: 3, the last one blocked by mine.answer"
    assert last == f"receiver: {why}; the service must be restarted"
    printed = run(tmp_path, "jobs", "--state", "dead", "--json").stdout
    dead = [json.loads(line) for line in printed.splitlines()]
    assert [job["error"].split(";")[0] for job in dead] == [
        "kept the event loop of its plugin from turning"
    ] * 3


STUBBORN = """
import asyncio
from receiver.handlers import on_message

@on_message()
async def answer(event, context):
    while True:
        try:
            await asyncio.sleep(3600)
        except:
            pass
"""


@pytest.mark.slow
def test_a_handler_that_catches_everything_jams_no_end(tmp_path: Path) -> None:
    """Neither the stop of the service nor the end of the process, which collects what is left."""
    with serve(tmp_path, with_plugin(STUBBORN)) as service:
        assert service.post(inbound(1)).status == 200
        assert service.stop(20) == 0
