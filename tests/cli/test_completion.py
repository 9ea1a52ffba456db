"""A shell completes commands, words and options: what it asks the program, and what it is told."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.program import run, spawn
from tests.harness import PATIENCE, PROGRAM

#: How each shell hands over the line, and asks.
ASKED: dict[str, Callable[[str], dict[str, str]]] = {
    "bash": lambda line: {
        "COMP_WORDS": "\n".join(line.split(" ")),
        "COMP_CWORD": str(line.count(" ")),
    },
    "zsh": lambda line: {"_TYPER_COMPLETE_ARGS": line},
    "fish": lambda line: {
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    },
}
each_shell = pytest.mark.parametrize("shell", ASKED)


def completed(folder: Path, shell: str, line: str) -> str:
    """What the program tells a shell, of a line that is being typed."""
    result = run(folder, **ASKED[shell](line), _RECEIVER_COMPLETE=f"complete_{shell}")
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


@pytest.mark.parametrize(
    ("line", "offered", "others"),
    [
        ("receiver ev", ["events"], ["serve", "explain"]),
        ("receiver events --", ["--follow", "--limit", "--config"], ["--version", "--reason"]),
        ("receiver events --type ", ["message", "sms.message.received"], ["--follow"]),
        ("receiver opt-outs ", ["list", "history", "near-misses", "add"], ["events", "--json"]),
        ("receiver opt-outs --json --", ["--config"], ["history"]),
    ],
)
def test_what_may_follow_is_offered(
    tmp_path: Path, line: str, offered: list[str], others: list[str]
) -> None:
    """Commands, the words of a family, options and their values, of the command that is typed."""
    names = set(completed(tmp_path, "bash", line).splitlines())
    assert set(offered) <= names
    assert not set(others) & names


@each_shell
def test_each_shell_is_told(tmp_path: Path, shell: str) -> None:
    """In its own form, zsh and fish with what each word is for."""
    words = completed(tmp_path, shell, "receiver opt-outs ad")
    assert words.strip().startswith(
        {
            "bash": "add",
            "zsh": """_arguments '*: :(("add":"Opts a person out""",
            "fish": "add\tOpts a person out",
        }[shell]
    )


@each_shell
def test_each_shell_has_its_script(tmp_path: Path, shell: str) -> None:
    """It asks the program; a shell that is here understands it."""
    result = run(tmp_path, _RECEIVER_COMPLETE=f"source_{shell}")
    assert (result.returncode, result.stderr) == (0, "")
    assert run(tmp_path, "completion", shell).stdout == result.stdout
    assert f"_RECEIVER_COMPLETE=complete_{shell}" in result.stdout
    if program := shutil.which(shell):
        subprocess.run(
            [program, "-n"], input=result.stdout, text=True, check=True, timeout=PATIENCE
        )


def test_bash_completes(tmp_path: Path) -> None:
    """With its script: what Tab shows after `receiver opt-outs a`."""
    program = tmp_path / "receiver"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(PROGRAM)} "$@"\n')
    program.chmod(0o755)
    script = spawn(tmp_path, _RECEIVER_COMPLETE="source_bash").stdout
    typed = (
        f"{script}\nCOMP_WORDS=(receiver opt-outs a); COMP_CWORD=2\n"
        'complete -p receiver; _receiver_completion receiver; echo "${COMPREPLY[@]}"'
    )
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", typed],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert done.stdout == "complete -o default -F _receiver_completion receiver\nadd\n"


def test_one_command_is_loaded(tmp_path: Path) -> None:
    """That of the line: Tab is as quick as the command's help."""
    report = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr))"
    start = f"{report}; sys.argv = ['receiver']; from receiver.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", start],
        env={**os.environ, **ASKED["bash"]("receiver sch"), "_RECEIVER_COMPLETE": "complete_bash"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert done.stdout == "schema\n"
    loaded = set(done.stderr.split())
    assert not loaded & {"asyncio", "structlog", "phonenumbers", "receiver.cli.schema"}
