"""What the program is made with: no version that is known to have a hole."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: The first versions without a hole, or with what the store and the border rely on.
AT_LEAST = {
    "starlette": (1, 0, 1),  # multipart and range headers that cost quadratic time
    "h11": (0, 16),  # chunks whose ends were not looked at: request smuggling
    "aiosqlite": (0, 22),  # threads that outlived their connection
    "jinja2": (3, 1, 6),  # ways out of the sandbox
    "httptools": (0, 7, 1),  # llhttp that is strict about the ends of lines
}


def numbers(text: str) -> tuple[int, ...]:
    """A version as numbers."""
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


@pytest.mark.parametrize("name", AT_LEAST)
def test_versions_with_holes_are_not_allowed(name: str) -> None:
    """Neither by pyproject.toml, nor in the lock file, nor here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    bounds = dict(line.split(">=") for line in project["dependencies"])
    assert numbers(bounds[name]) >= AT_LEAST[name]
    for file in ("requirements.lock", "requirements-dev.lock"):
        [locked] = re.findall(rf"^{name}==(\S+)", (ROOT / file).read_text("utf-8"), re.MULTILINE)
        assert numbers(locked) >= AT_LEAST[name]
    assert numbers(version(name)) >= AT_LEAST[name]
