"""What the program is made with: as docs/dependencies.md has it, and without known holes."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import pytest

from tests.floors import tree

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PAGE = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
#: What is installed with the program, and what only whoever develops it runs.
PROGRAM, DEVELOPMENT = ("receiver/", "plugins/"), ("tests/", "benchmarks/", "hatch_build.py")
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
    bounds = dict(line.split(">=") for line in PYPROJECT["project"]["dependencies"])
    assert numbers(bounds[name]) >= AT_LEAST[name]
    for file in ("requirements.lock", "requirements-dev.lock", "requirements-lowest.lock"):
        [locked] = re.findall(rf"^{name}==(\S+)", (ROOT / file).read_text("utf-8"), re.MULTILINE)
        assert numbers(locked) >= AT_LEAST[name]
    assert numbers(version(name)) >= AT_LEAST[name]


def declared(group: list[Any]) -> list[str]:
    """The packages that a list of pyproject.toml asks for, those of its groups included."""
    found: list[str] = []
    for each in group:
        if isinstance(each, dict):
            found += declared(PYPROJECT["dependency-groups"][each["include-group"]])
        else:
            found.append(re.split(r"[<>=!~\[; ]", each)[0])
    return found


NEEDED = declared(PYPROJECT["project"]["dependencies"])
EXTRAS = [
    name
    for extra in PYPROJECT["project"]["optional-dependencies"].values()
    for name in declared(extra)
]
TOOLS = declared(PYPROJECT["dependency-groups"]["dev"])


def modules(place: str) -> Iterator[str]:
    """The topmost names that the files of a folder import, or a file, anywhere in it."""
    files = sorted((ROOT / place).rglob("*.py")) if place.endswith("/") else [ROOT / place]
    for file in files:
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.partition(".")[0]


@cache
def imported(place: str) -> set[str]:
    """The packages of others that a folder or file imports, as an index calls them."""
    ours = {"receiver", "plugins", "tests", "benchmarks"}
    found = set(modules(place)) - sys.stdlib_module_names - ours
    packages = packages_distributions()
    unknown = found - packages.keys()
    assert not unknown, f"{place} imports what is not installed: {unknown}"
    return {re.sub(r"[-_.]+", "-", packages[name][0]).lower() for name in found}


def described(heading: str) -> dict[str, tuple[str, str]]:
    """The table below a heading of the page: package, where it is imported, what it is for."""
    below = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^\| `([^|]+)` \| ([^|]+) \| ([^|]+) \|$", below, re.MULTILINE)
    return {name: (places, reason) for name, places, reason in found}


@pytest.mark.parametrize(
    ("heading", "names", "places"),
    [
        ("The program", NEEDED, PROGRAM),
        ("Extras", EXTRAS, PROGRAM),
        ("Development", TOOLS, DEVELOPMENT),
    ],
)
def test_the_page_tells_what_is(heading: str, names: list[str], places: tuple[str, ...]) -> None:
    """What each package is for, and where it is imported, if anywhere."""
    table = described(heading)
    assert list(table) == sorted(set(names))
    for name, (where, _reason) in table.items():
        found = [f"`{place}`" for place in places if name in imported(place)]
        assert where == (", ".join(found) or "nowhere"), name


@pytest.mark.parametrize("place", [*PROGRAM, *DEVELOPMENT])
def test_what_is_imported_is_declared(place: str) -> None:
    """Nothing is used that only comes along with something else."""
    assert imported(place) <= {*NEEDED, *EXTRAS, *(TOOLS if place in DEVELOPMENT else ())}
