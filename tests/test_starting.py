"""Plugins start before the first event and stop after the last."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from receiver.errors import PluginError
from receiver.plugin_host import hooks
from receiver.service.parts import open_service
from tests.cli.program import run, spawn
from tests.harness import Clock, inbound, opened, parts, serve, take, until, with_plugin, write

pytestmark = pytest.mark.anyio

#: Notes in a file beside the plugin what is called, so that the next process can be asked too.
NOTING = """
    import asyncio, threading, time
    from pathlib import Path
    from receiver.handlers import on_message

    def note(*words):
        with Path(__file__).with_name("notes").open("a") as file:
            print(*words, file=file)

    def setup(settings):
        return []

    @on_message()
    async def answer(event, context):
        note("handled", event.data.text, *context.state)
"""


def plugin(source: str) -> dict[str, Any]:
    """A configuration whose plugin is `NOTING` and this."""
    return with_plugin(dedent(NOTING) + dedent(source))


def notes(folder: Path) -> list[str]:
    """What was called, in its order."""
    file = folder / "plugins" / "notes"
    return file.read_text().splitlines() if file.exists() else []


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_start_and_stop_are_called_around_all_events(tmp_path: Path, kind: str) -> None:
    """Plain or async: first start, then the handlers, then stop, with the context of handlers."""
    raw = plugin(f"""
        {kind} start(context):
            context.state.append("after the start")
            note("started")

        {kind} stop(context):
            note("stopped", *context.state)
    """)
    async with opened(tmp_path, raw) as service:
        await take(service, inbound(1))
    assert notes(tmp_path) == [
        "started",
        "handled hello after the start",
        "stopped after the start",
    ]


async def test_hooks_run_on_the_loop_of_the_handlers(tmp_path: Path) -> None:
    """What a start opens on its event loop is good for the handlers and for stop."""
    raw = plugin("""
        @on_message()
        async def where(event, context):
            note(asyncio.get_running_loop() is context.state[0])

        def start(context):
            context.state[:] = [asyncio.get_running_loop()]

        def answer(event, context): pass

        async def stop(context):
            note(asyncio.get_running_loop() is context.state[0])
    """)
    async with opened(tmp_path, raw) as service:
        await take(service, inbound(1))
    assert notes(tmp_path) == ["True", "True"]


async def test_what_is_left_from_before_waits_for_the_start(tmp_path: Path) -> None:
    """Work found in the store is handled after the start, too."""
    raw = plugin("""
        def start(context):
            note("started")
    """)
    made = parts(tmp_path, raw)
    async with open_service(made, Clock(), work=False) as service:
        await take(service, inbound(1))
    assert notes(tmp_path) == []  # commands beside the service start no plugin
    async with opened(tmp_path, raw) as service:
        await asyncio.to_thread(until, lambda: len(notes(tmp_path)) == 2, "both notes")
    assert notes(tmp_path) == ["started", "handled hello"]


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("{}['key']", "KeyError: 'key'"),
        ("raise SystemExit(3)", "RuntimeError: it raised SystemExit(3)"),
        ("raise asyncio.CancelledError", "RuntimeError: it cancelled itself"),
    ],
)
async def test_a_start_that_raises_keeps_the_service_from_starting(
    tmp_path: Path, kind: str, body: str, error: str
) -> None:
    """It is told with plugin, file and line, and nothing stays open."""
    raw = plugin(f"{kind} start(context):\n    {body}\n\ndef stop(context):\n    note('stopped')\n")
    with pytest.raises(PluginError) as caught:
        async with opened(tmp_path, raw):
            pass
    file = tmp_path / "plugins" / "mine.py"
    assert str(caught.value) == f"plugins.mine: start failed: {file}:17: {error}"
    assert notes(tmp_path) == []  # what never started is not stopped
    async with opened(tmp_path, plugin("")):
        pass


@pytest.mark.parametrize(
    "body",
    [
        "async def start(context): await asyncio.sleep(600)",
        "def start(context):\n    while not GO.exists(): time.sleep(0.01)",
    ],
)
async def test_a_start_that_hangs_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    """After its time the service says so and ends, even where the hook blocks its loop."""
    monkeypatch.setattr(hooks, "START_TIMEOUT", 0.05)
    with pytest.raises(PluginError, match=r"mine\.py:17: TimeoutError: took longer than 0\.05 s"):
        async with opened(tmp_path, plugin(f"GO = Path(__file__).with_name('go')\n{body}")):
            pass
    (tmp_path / "plugins" / "go").touch()
    until(lambda: "handlers" not in {t.name for t in threading.enumerate()}, "the loop's end")


async def test_all_plugins_start_or_none(tmp_path: Path) -> None:
    """Those that had started before another failed are stopped again."""
    raw = plugin("def start(context): raise OSError('no route')")
    other = tmp_path / "plugins" / "other.py"
    other.parent.mkdir()
    other.write_text(dedent(NOTING) + "def stop(context): note('stopped')\n")
    raw["plugins"]["enabled"] = ["other", "mine"]
    with pytest.raises(PluginError, match=r"plugins\.mine: start failed: .*OSError: no route"):
        async with opened(tmp_path, raw):
            pass
    assert notes(tmp_path) == ["stopped"]


@pytest.mark.parametrize(
    "body",
    [
        "def stop(context): raise ValueError('no')",
        "async def stop(context): raise SystemExit(1)",
        "async def stop(context): await asyncio.sleep(600)",
    ],
)
async def test_a_stop_that_fails_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], body: str
) -> None:
    """It keeps neither the service from ending nor the other plugins from being stopped."""
    monkeypatch.setattr(hooks, "STOP_TIMEOUT", 0.05)
    raw = plugin(body)
    other = tmp_path / "plugins" / "other.py"
    other.parent.mkdir()
    other.write_text(dedent(NOTING) + "def stop(context): note('stopped')\n")
    raw["plugins"]["enabled"] = ["mine", "other"]
    async with opened(tmp_path, raw):
        pass
    assert notes(tmp_path) == ["stopped"]
    logged = capsys.readouterr().out
    assert "plugin not stopped" in logged
    assert f"plugins.mine: stop failed: {tmp_path / 'plugins' / 'mine.py'}:16: " in logged


async def test_plugins_can_change_places(tmp_path: Path) -> None:
    """New ones are started before old ones are stopped, each once, whatever ends later."""
    raw = plugin("""
        def start(context): note("started")
        def stop(context): note("stopped")
    """)
    async with opened(tmp_path, raw) as service:
        [old] = service.parts.plugins
        [new] = parts(tmp_path, raw).plugins
        await service.workers.plugins.start([new])
        await service.workers.plugins.stop([old])
        assert notes(tmp_path) == ["started", "started", "stopped"]
        await service.workers.plugins.stop([old])
    assert notes(tmp_path) == ["started", "started", "stopped", "stopped"]


async def test_what_cannot_take_its_place_changes_nothing(tmp_path: Path) -> None:
    """When one of the new plugins does not start, those before it stop, and the old ones stay."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "fine.py").write_text(
        dedent(NOTING) + "def start(c): note('new')\ndef stop(c): note('new gone')\n"
    )
    raw = plugin("def stop(context): note('old gone')")
    async with opened(tmp_path, raw) as service:
        again = plugin("def start(context): raise OSError('no route')")
        again["plugins"]["enabled"] = ["fine", "mine"]
        new = parts(tmp_path, again).plugins
        with pytest.raises(PluginError, match="no route"):
            await service.workers.plugins.start(new)
        assert notes(tmp_path) == ["new", "new gone"]
    assert notes(tmp_path) == ["new", "new gone", "old gone"]


def test_the_program_starts_and_stops_plugins(tmp_path: Path) -> None:
    """`receiver serve` calls start before it listens, and stop when it is told to end."""
    raw = plugin("""
        def start(context): note("started")
        def stop(context): note("stopped")
    """)
    with serve(tmp_path, raw) as running:
        assert notes(tmp_path) == ["started"]
        assert running.stop() == 0
    assert notes(tmp_path) == ["started", "stopped"]


def test_the_program_says_which_plugin_did_not_start(tmp_path: Path) -> None:
    """In one line, with the exit status of a failure; `receiver check` starts nothing."""
    write(tmp_path, plugin("def start(context): raise OSError('the ledger is away')"))
    assert run(tmp_path, "check").returncode == 0
    result = spawn(tmp_path, "serve")
    assert result.returncode == 1
    place = tmp_path / "plugins" / "mine.py"
    expected = f"plugins.mine: start failed: {place}:16: OSError: the ledger is away"
    assert f"receiver: {expected}\n" in result.stderr
