"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.floors import floors, imports, shown, table

ROOT = Path(__file__).parent.parent
PACKAGE = sorted((ROOT / "receiver").rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def names(files: list[Path]) -> list[str]:
    """The files as they are called from the root."""
    return [str(file.relative_to(ROOT)) for file in files]


#: `noqa` with codes and a reason, or the same for mypy.
EXCEPTION = re.compile(
    r"# noqa: [A-Z]+\d+(, [A-Z]+\d+)* [-#] \w|# type: ignore\[[a-z-]+(, [a-z-]+)*\] [-#] \w"
)

each_module = pytest.mark.parametrize("file", PACKAGE, ids=names(PACKAGE))
each_test_file = pytest.mark.parametrize("file", TESTS, ids=names(TESTS))


def tree(file: Path) -> ast.Module:
    """A file, parsed."""
    return ast.parse(file.read_text("utf-8"))


# Floors


def test_the_table_of_floors_is_that_of_the_code() -> None:
    """`python -m tests.floors` writes it; a room imports only from floors below, so no circle."""
    assert shown() == table()


def test_the_house_stays_small() -> None:
    """Few modules beside packages, few rooms, few floors: a stranger can keep them in mind."""
    found = floors()
    assert len([name for name in found if name.endswith(".py")]) <= 8
    assert len(found) <= 30
    assert max(found.values()) < 10


@pytest.mark.parametrize("file", PLUGINS, ids=names(PLUGINS))
def test_shipped_plugins_use_only_the_public_interface(file: Path) -> None:
    """They prove that `receiver.handlers` is enough to write a plugin with."""
    assert {module for _, module in imports(file)} <= {"handlers"}


@each_module
def test_sql_stands_in_the_store_alone(file: Path) -> None:
    """Nobody else knows which database it is."""
    if "store" in file.relative_to(ROOT / "receiver").parts:
        return
    text = file.read_text("utf-8")
    assert not re.search(r"\b(import (sqlite3|aiosqlite)|from (sqlite3|aiosqlite))\b", text)
    assert not re.search(r'"(SELECT|INSERT INTO|UPDATE|DELETE FROM|PRAGMA) ', text)


# Words


def documented(file: Path) -> Iterator[tuple[str, str | None]]:
    """Every public thing that a file defines, and its docstring."""
    module = tree(file)
    yield file.name, ast.get_docstring(module)
    outer: list[tuple[str, ast.Module | ast.ClassDef]] = [("", module)]
    while outer:
        prefix, parent = outer.pop()
        for node in parent.body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if node.name.startswith("_"):
                continue
            yield f"{prefix}{node.name}", ast.get_docstring(node)
            if isinstance(node, ast.ClassDef):
                outer.append((f"{prefix}{node.name}.", node))


@pytest.mark.parametrize("file", PACKAGE + PLUGINS, ids=names(PACKAGE + PLUGINS))
def test_public_things_are_documented(file: Path) -> None:
    """Modules, classes, methods and functions; in a sentence, not by their name again."""
    for name, docstring in documented(file):
        assert docstring, f"{file}: {name} has no docstring"
        words = re.sub(r"\W", "", docstring).lower()
        assert words != re.sub(r"\W", "", name.rpartition(".")[2]).lower()
        assert docstring.rstrip().endswith((".", ":", "!", "`", "…", ")")) or "\n" in docstring


@each_test_file
def test_every_test_states_its_fact(file: Path) -> None:
    """In one line that begins its docstring."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
            "test_"
        ):
            fact = (ast.get_docstring(node) or "").split("\n")[0]
            assert fact.endswith((".", "?", "!")), f"{file.name}:{node.lineno}: {node.name}"


def test_facts_are_not_proven_twice_under_one_name() -> None:
    """A second test of the same name in a file would hide the first."""
    for file in TESTS:
        found = [
            node.name
            for node in tree(file).body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        assert len(found) == len(set(found)), file


@pytest.mark.parametrize("file", PACKAGE + PLUGINS + TESTS, ids=names(PACKAGE + PLUGINS + TESTS))
def test_exceptions_from_rules_have_a_reason(file: Path) -> None:
    """Each names the rule and says why it is not kept here."""
    for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
        for comment in re.findall(r"# ?(?:noqa|type: ?ignore)\b.*", line):
            assert EXCEPTION.match(comment) or file.name == "test_house.py", f"{file}:{number}"
