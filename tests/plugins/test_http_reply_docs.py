"""The programs of docs/http-reply.md do what the page says."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from plugins.http_reply import read
from receiver.errors import HandlerError
from receiver.handlers import Action, Network, OptOut, Secret, Target, asking
from receiver.testing import PERSON, message
from tests.harness import until
from tests.ports import free_port

PAGE = Path(__file__).parents[2] / "docs" / "http-reply.md"
OURS, ANOTHER = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLjSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"

#: How each is run, by the name of its file.
COMMANDS = {
    "answer.py": [sys.executable, "answer.py"],
    "answer.mjs": ["node", "answer.mjs"],
    "answer.php": ["php", "-S", "127.0.0.1:PORT", "answer.php"],
}


def program(name: str) -> str:
    """The block of the page that is this file."""
    blocks = re.findall(r"^```\w+\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    [found] = [block for block in blocks if re.search(rf"^(#|//) {name}$", block, re.MULTILINE)]
    return str(found)


@contextmanager
def running(folder: Path, name: str) -> Iterator[str]:
    """The program on a free port: its URL."""
    (folder / name).write_text(program(name), "utf-8")
    port = free_port()
    command = [word.replace("PORT", str(port)) for word in COMMANDS[name]]
    environment = {**os.environ, "WEBHOOK_SECRET": OURS, "PORT": str(port)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        until(lambda: process.poll() is not None or _listens(port), "listening")
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


async def answers(url: str, secrets: list[str], *texts: str) -> list[tuple[str | None, Any]]:
    """What the program answers to messages with these texts; the error of a refusal."""
    allow, named = [Network("127.0.0.1")], [Secret(secret) for secret in secrets]
    found: list[tuple[str | None, list[Action] | str]] = []
    async with asking(Target(name="it", url=url, allow=allow, secrets=named)) as asker:
        for text in texts:
            try:
                found.append(read(await asker.ask(message(text))))
            except HandlerError as error:
                found.append((None, str(error)))
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_program_of_the_page(tmp_path: Path, name: str) -> None:
    """It answers as the page says, while an old secret is still in use too; to nobody else."""
    interpreter = COMMANDS[name][0]
    if shutil.which(interpreter) is None:
        pytest.skip(f"{interpreter} is not installed")
    with running(tmp_path, name) as url:
        leave = OptOut(PERSON, "BYE")
        assert asyncio.run(answers(url, [ANOTHER, OURS], "hours?", "Bye!", "what")) == [
            ("Open Monday to Saturday, 8 to 18.", []),
            ("You will hear no more from us.", [leave]),
            (None, []),
        ]
        refused = [(None, "target it: 401 Unauthorized")]
        assert asyncio.run(answers(url, [ANOTHER], "hours")) == refused
        assert asyncio.run(answers(url, [], "hours")) == refused
