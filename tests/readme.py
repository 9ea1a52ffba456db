"""The first session of README.md, run for real on a terminal.

`python -m tests.readme` writes its output into README.md; a test compares the two.
"""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cli.program import on_terminal
from tests.harness import PATIENCE, PROGRAM

README = Path(__file__).parents[1] / "README.md"
COMMANDS = (
    'receiver simulate tilil inbound --set "message=game one two" --duplicate',
    "receiver simulate talkntalk delivered",
    "receiver events",
    "receiver events --json --limit 1",
)
_SESSION = re.compile(r"^```\n(\$ receiver init\n.*?)^```$", re.MULTILINE | re.DOTALL)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
#: What is new each time, and what stands for it in a comparison.
_NEW = (
    (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}(?:-[0-9a-f]{4}-[0-9a-f]{12})?", "ID"),
    (r"\b[0-9a-f]{64}\b", "SIGNATURE"),
    (r"(?<![\w-])[\w-]{43}(?![\w-])", "TOKEN"),
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?", "TIME"),
    (r"\b20\d{12}\b", "TIME"),
    (r"\b\d{16}\b", "NUMBER"),
    (r"in [\d.]+ ms", "in N ms"),
)


def written() -> str:
    """The session as it stands in README.md."""
    found = _SESSION.search(README.read_text("utf-8"))
    assert found, "README.md has no session"
    return found[1]


def run(folder: Path, port: int = 8080, admin: int = 8081) -> str:
    """Types the commands in `folder`; what a person sees, with the default ports."""
    shown = {"receiver init": on_terminal(folder, "init")}
    file = folder / "receiver.toml"
    text = file.read_text("utf-8").replace("8080", str(port)).replace("8081", str(admin))
    file.write_text(text, "utf-8")
    with serving(folder) as greeting:
        shown["receiver serve &"] = greeting
        for line in COMMANDS:
            shown[line] = on_terminal(folder, *shlex.split(line)[1:])
    session = "\n\n".join(f"$ {line}\n{plain(output)}" for line, output in shown.items())
    return re.sub(rf"(:|port=){port}\b", r"\g<1>8080", f"{session}\n")


def masked(session: str) -> str:
    """A session without what is new each time."""
    for pattern, name in _NEW:
        session = re.sub(pattern, name, session)
    return session


def main() -> None:
    """Writes the session into README.md."""
    with tempfile.TemporaryDirectory() as folder:
        session = run(Path(folder))
    text = README.read_text("utf-8").replace(written(), session)
    README.write_text(text, "utf-8")


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The service in the background, and what it says on the terminal when it listens."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, "serve"], cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    try:
        said = b""
        while b"\n" not in said:
            said += os.read(ours, 65536)  # raises when the service ends instead
        yield said.partition(b"\n")[0].decode()  # what it warns of may follow
    finally:
        process.terminate()
        status = process.wait(PATIENCE)
        os.close(ours)
    assert status == 0


def plain(output: str) -> str:
    """What a terminal shows, without colours and what nobody sees."""
    lines = _COLOURS.sub("", output).strip().splitlines()
    return "\n".join(line.rstrip() for line in lines)


if __name__ == "__main__":
    main()
