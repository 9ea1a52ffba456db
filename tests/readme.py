"""The first session of README.md, run for real on a terminal.

`python -m tests.readme` writes its output into README.md; a test compares the two.
"""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
COMMANDS = (
    "receiver init",
    "receiver serve &",
    'receiver simulate tilil inbound --set "message=game one two" --duplicate',
    "receiver simulate talkntalk delivered",
    "receiver events",
    "receiver events --json --limit 1",
)
#: Columns of the terminal.
_WIDTH = 130
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def written() -> str:
    """The session as it stands in README.md."""
    found = re.search(
        r"^```\n(\$ receiver init\n.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL
    )
    assert found, "README.md has no session"
    return found[1]


def run(folder: Path, port: int = 8080, admin: int = 8081) -> str:
    """Types the commands in `folder`; what a person sees, with the ports as they are by default."""
    shown = []
    with _terminal() as (terminal, screen):
        service: subprocess.Popen[bytes] | None = None
        for line in COMMANDS:
            arguments = shlex.split(line.removesuffix("&"))
            process = _start(arguments, folder, terminal)
            if line.endswith("&"):
                service = process
                output = _read(screen, until="listening")
            else:
                assert process.wait(30) == 0, f"{line}: {_read(screen)}"
                output = _read(screen)
            shown.append(f"$ {line}\n{output.strip()}\n")
            if line == "receiver init":
                file = folder / "receiver.toml"
                text = file.read_text().replace("8080", str(port)).replace("8081", str(admin))
                file.write_text(text)
        assert service is not None
        service.terminate()
        assert service.wait(30) == 0
    return "\n".join(shown).replace(f":{port}/", ":8080/").replace(f"port={port}", "port=8080")


def masked(session: str) -> str:
    """A session without what is new each time: tokens, ids, times, signatures."""
    for pattern, name in (
        (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}(?:-[0-9a-f]{4}-[0-9a-f]{12})?", "ID"),
        (r"\b[0-9a-f]{64}\b", "SIGNATURE"),
        (r"(?<![\w-])[\w-]{43}(?![\w-])", "TOKEN"),
        (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?", "TIME"),
        (r"\b20\d{12}\b", "TIME"),
        (r"\b\d{16}\b", "NUMBER"),
        (r"in [\d.]+ ms", "in N ms"),
    ):
        session = re.sub(pattern, name, session, flags=re.MULTILINE)
    return session


@contextmanager
def _terminal() -> Iterator[tuple[int, int]]:
    screen, terminal = pty.openpty()
    os.set_blocking(screen, False)
    try:
        yield terminal, screen
    finally:
        os.close(screen)
        os.close(terminal)


def _start(arguments: list[str], folder: Path, terminal: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "COLUMNS": str(_WIDTH), "TERM": "xterm"},
    )


def _read(screen: int, until: str = "") -> str:
    """What the terminal shows, as soon as that is in it."""
    text, deadline = b"", time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            text += os.read(screen, 65536)
        except BlockingIOError:
            if until.encode() in text:
                break
            time.sleep(0.01)
    plain = _COLOURS.sub("", text.decode()).splitlines()
    return "\n".join(line.rstrip() for line in plain)


def main() -> None:
    """Writes the session into README.md."""
    with tempfile.TemporaryDirectory() as folder:
        session = run(Path(folder))
    README.write_text(README.read_text().replace(written(), session))


if __name__ == "__main__":
    main()
