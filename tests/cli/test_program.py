"""The program as a whole: its commands, its exit status, what it says when it fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import typer.main

from receiver.cli import COMMANDS, application
from receiver.cli.exit_status import as_status
from receiver.errors import Failed, StoreError
from tests.cli.program import on_terminal, run, spawn, spawn_on_terminal
from tests.harness import PATIENCE, PROGRAM, inbound, serve


def test_help_names_every_command(tmp_path: Path) -> None:
    """`receiver --help` lists the commands with what they do."""
    shown = spawn(tmp_path, "--help", COLUMNS="200").stdout
    for name, summary in COMMANDS.items():
        assert f" {name} " in shown
        assert summary in shown


def test_without_a_command_help_is_shown(tmp_path: Path) -> None:
    """Nothing to do is wrong usage."""
    result = spawn(tmp_path)
    assert result.returncode == 2
    assert "Usage: receiver" in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_command_has_its_summary_and_options(name: str) -> None:
    """A command's own help begins with what the list says, and it takes --config."""
    group = cast("Any", typer.main.get_command(application([name])))
    command = group.commands[name]
    assert command.help.startswith(COMMANDS[name].partition(";")[0].rstrip("."))
    for part in getattr(command, "commands", {"": command}).values():
        assert part.help
        options = {option for parameter in part.params for option in parameter.opts}
        assert "--config" in options
        assert all(option.isascii() for option in options)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["init", "--config", "receiver.toml"],
        ["events"],
        ["subscribers", "--csv"],
        ["opt-outs"],
        ["quarantine", "1"],
        ["simulate", "tilil", "inbound"],
        ["explain", "GAME", "--to", "22915"],
        ["nonsense"],
    ],
    ids=" ".join,
)
def test_it_runs_alike_in_a_process_of_its_own(filled: Path, arguments: list[str]) -> None:
    """What the other tests call in their own process is what the program does."""
    inside, outside = run(filled, *arguments), spawn(filled, *arguments)
    assert outside.returncode == inside.returncode
    assert (outside.stdout, outside.stderr) == (inside.stdout, inside.stderr)


def test_it_shows_alike_on_a_terminal_of_its_own(filled: Path) -> None:
    """A table that is fitted to it, bold titles and all."""
    inside, outside = on_terminal(filled, "opt-outs"), spawn_on_terminal(filled, "opt-outs")
    assert outside == inside
    assert "\x1b[" in inside


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evnets"], "No such command 'evnets'"),
        (["events", "--nonsense"], "No such option: --nonsense"),
        (["events", "--limit", "many"], "Invalid value for '--limit'"),
        (["events", "--type", "sms"], "Invalid value for '--type'"),
        (["explain"], "Missing argument"),
        (["opt-outs", "ad", "+254712345678"], "unexpected extra argument"),
        (["jobs", "retry"], "expected an ID or --all"),
        (["jobs", "retry", "1", "--all"], "expected an ID or --all"),
        (["subscribers", "--json", "--csv"], "--json and --csv exclude each other"),
    ],
)
def test_wrong_usage_is_told_in_one_line(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    """Exit status 2, what is wrong, and where help is."""
    result = run(tmp_path, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    [line] = result.stderr.splitlines()
    assert line.startswith("receiver: ")
    assert message in line
    assert "--help`" in line


def test_a_missing_configuration_is_told(tmp_path: Path) -> None:
    """Without a file, or with one that is not there: what makes one."""
    for arguments, where in (
        (["events"], "receiver.toml or /etc/receiver/receiver.toml"),
        (["events", "--config", "other.toml"], "other.toml"),
    ):
        result = run(tmp_path, *arguments)
        expected = f"receiver: no configuration at {where}: make one with `receiver init`\n"
        assert (result.returncode, result.stderr) == (2, expected)


#: What no command needs before it runs.
HEAVY = ("uvicorn", "starlette", "httpx2", "jinja2", "prometheus_client", "pydantic")
#: What only those need that do what the service does.
OF_THE_SERVICE = ("receiver.service.parts", "receiver.service.server", "receiver.providers")


@pytest.mark.parametrize(
    ("arguments", "light"),
    [
        (["--help"], ("asyncio", "phonenumbers", "structlog")),
        (["--version"], ("asyncio", "phonenumbers", "structlog", "rich")),
        (["schema"], ("aiosqlite", "structlog")),
        (["events", "--json"], OF_THE_SERVICE),
        (["subscribers", "--json"], OF_THE_SERVICE),
        (["opt-outs", "--json"], OF_THE_SERVICE),
    ],
)
def test_a_command_loads_what_it_needs(
    filled: Path, arguments: list[str], light: tuple[str, ...]
) -> None:
    """Starting is quick because the server's libraries are loaded by what serves."""
    report = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr))"
    start = f"{report}; from receiver.cli import main; sys.argv = ['receiver', *{arguments}]"
    result = subprocess.run(
        [sys.executable, "-c", f"{start}; main()"],
        cwd=filled,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=True,
    )
    assert not set(result.stderr.split()) & {*HEAVY, *light}


#: What a service needs that sends, has an admin address, a template or the console.
OF_SOME_SERVICES = ("httpx2", "httpcore2", "prometheus_client", "jinja2", "psycopg", "argon2")


def test_the_service_loads_what_it_needs(tmp_path: Path) -> None:
    """A restart is quick because it waits for no library that this service does without."""
    report = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr))"
    program = (sys.executable, "-c", f"{report}; from receiver.cli import main; main()")
    with serve(tmp_path, program=program) as running:
        assert running.post(inbound(1, "GAME")).status == 200
        assert running.stop() == 0
        loaded = set(running.log.splitlines()[-1].split())
    assert "receiver.service.server" in loaded
    # Neither for tracebacks, nor for tables: a log has none.
    assert not loaded & {*OF_SOME_SERVICES, "rich", "pygments"}


def test_an_unexpected_error_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its message may hold anything and is not shown; how to see more is."""

    def break_down() -> None:
        raise KeyError("the-secret")

    monkeypatch.delenv("RECEIVER_DEBUG", raising=False)
    assert as_status(break_down) == 1
    told_ = capsys.readouterr().err
    assert told_.startswith("receiver: unexpected KeyError at test_program.py:")
    assert told_.endswith("; RECEIVER_DEBUG=1 shows more\n")
    assert "the-secret" not in told_
    monkeypatch.setenv("RECEIVER_DEBUG", "1")
    assert as_status(break_down) == 1
    assert "receiver: KeyError: 'the-secret'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (Failed("1: no", "2: neither"), 1, "receiver: 1: no\nreceiver: 2: neither\n"),
        (StoreError("evil\x1b[31m\nline"), 1, "receiver: evil\\x1b[31m\\nline\n"),
        (PermissionError(13, "Permission denied", "f"), 1, "receiver: f: Permission denied\n"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(32, "Broken pipe"), 1, ""),
    ],
)
def test_errors_have_their_status(
    capsys: pytest.CaptureFixture[str], error: BaseException, status: int, message: str
) -> None:
    """What the shell gets, and what a person reads; escapes of strangers are made visible."""

    def fail() -> None:
        raise error

    assert as_status(fail) == status
    assert capsys.readouterr().err == message


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    """`receiver schema | head -c 1` is quiet."""
    with subprocess.Popen(
        [*PROGRAM, "schema"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(PATIENCE) == 1


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    """Output that cannot be written is a failure, told in a line."""
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [*PROGRAM, "schema"], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert (result.returncode, result.stderr) == (1, b"receiver: No space left on device\n")


def test_a_terminal_without_the_characters_gets_numbers(filled: Path) -> None:
    """An encoding that lacks a character is no reason to fail."""
    result = spawn(filled, "explain", "Ünïcödé", "--to", "22915", PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stderr) == (0, "")
    assert "\\xdcN\\xcfC\\xd6D\\xc9" in result.stdout
