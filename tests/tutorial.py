"""Pages of docs/, done as a newcomer would do it: files written, commands typed, in their order.

`python -m tests.tutorial` writes what the commands show into the pages; a test compares the two.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from tests.cli.program import on_terminal
from tests.harness import PATIENCE
from tests.readme import masked as masked_session
from tests.readme import plain, serving

DOCS = Path(__file__).parents[1] / "docs"
TUTORIAL = DOCS / "tutorial.md"
#: The pages that are walked through.
PAGES = (TUTORIAL, DOCS / "adding-a-gateway.md")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: Of the terminal, in characters.
_WIDTH = 120


class Walk:
    """A newcomer in a folder of their own, with the service on other ports than the defaults."""

    def __init__(self, folder: Path, port: int, admin: int) -> None:
        self.folder = folder
        self.port = port
        self.admin = admin
        self._server = f'\n[server]\nport = {port}\nadmin = "127.0.0.1:{admin}"\n'
        self._service = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._service.close()

    def write(self, language: str, block: str) -> None:
        """Writes a file, which the first line of its block names."""
        name = block.partition("\n")[0].removeprefix("# ")
        more = self._server if name == "receiver.toml" else ""
        (self.folder / name).write_text(block + more, "utf-8")

    def type(self, line: str) -> str:
        """What a command shows, without colours, with the default ports and a folder of anybody."""
        command, *arguments = shlex.split(line)
        shown = plain(self._run(command, arguments))
        for port, default in ((self.port, 8080), (self.admin, 8081)):
            shown = re.sub(rf"(:|port=){port}\b", rf"\g<1>{default}", shown)
        return shown.replace(str(self.folder), f"/home/you/{self.folder.name}")

    def _run(self, command: str, arguments: list[str]) -> str:
        if command == "cd":
            self.folder /= arguments[0]
            return ""
        if (command, arguments) == ("receiver", ["serve"]):
            self._service.close()  # Ctrl-C in the first terminal
            return self._service.enter_context(serving(self.folder))
        if command == "receiver":
            shown = on_terminal(self.folder, *arguments, width=_WIDTH)
            if arguments[0] == "init":
                self._move()
            return shown
        program = [sys.executable, "-m", "pytest"] if command == "pytest" else [command]
        run = subprocess.run(
            [*program, *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout

    def _move(self) -> None:
        """Moves the service of a new configuration to our ports."""
        file = self.folder / "receiver.toml"
        text = file.read_text("utf-8")
        text = text.replace("8080", str(self.port)).replace("8081", str(self.admin))
        file.write_text(text, "utf-8")


def blocks(page: str) -> Iterator[tuple[str, str]]:
    """Language and content of every code block of a page."""
    for found in _BLOCK.finditer(page):
        yield found[1], found[2]


def walk(page: str, folder: Path, port: int = 8080, admin: int = 8081) -> str:
    """Does what a page says; the page again, with what its commands show now."""
    with Walk(folder, port, admin) as newcomer:

        def done(block: re.Match[str]) -> str:
            language, content = block[1], block[2]
            if language != "console":
                newcomer.write(language, content)
                return block[0]
            lines = [line for line in content.splitlines() if line.startswith("$ ")]
            shown = [f"{line}\n{newcomer.type(line[2:])}".rstrip() for line in lines]
            return "\n".join(["```console", *shown, "```"])

        return _BLOCK.sub(done, page)


def masked(page: str) -> str:
    """A page without what is new each time."""
    page = re.sub(r"passed in [\d.]+s", "passed in N s", masked_session(page))
    return re.sub(r" {2,}|─+|-{3,}", "  ", page)  # columns are as wide as what is in them


def main() -> None:
    """Writes what the commands show into the pages."""
    for page in PAGES:
        with tempfile.TemporaryDirectory() as folder:
            page.write_text(walk(page.read_text("utf-8"), Path(folder)), "utf-8")


if __name__ == "__main__":
    main()
