"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.floors import floors, imports, shown, table, tree

pytestmark = pytest.mark.commit

ROOT = Path(__file__).parent.parent
PACKAGE = sorted((ROOT / "receiver").rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


#: `noqa` with codes and a reason, or the same for mypy.
EXCEPTION = re.compile(
    r"# noqa: [A-Z]+\d+(, [A-Z]+\d+)* [-#] \w|# type: ignore\[[a-z-]+(, [a-z-]+)*\] [-#] \w"
)

SQL = re.compile(
    r"\b(import|from) (sqlite3|aiosqlite|tests\.store\.sql|tests\.store import sql)\b"
    r"|[\"'](SELECT|INSERT|UPDATE|DELETE FROM|PRAGMA|CREATE|DROP|ALTER) "
)

#: Files of the program with SQL, beside those of the store, and why.
SQL_ELSEWHERE = {
    "console/accounts.py": "has users, sessions and tokens in a file of their own",
    "console/accounts_file.py": "is that file",
}
#: Files of tests with SQL, beside those of the store, and why.
WITH_SQL = {
    "intake/test_bundles.py": "raises an error of SQLite's",
    "console/test_answers.py": "tries to write by what only reads, and locks the accounts",
    "stored.py": "has the few facts and changes that the program has no function for",
    "postgresql/databases.py": "makes and empties databases",
    "postgresql/servers.py": "asks and sets servers",
    "postgresql/test_connection.py": "runs statements that fail",
    "postgresql/test_traps.py": "makes what went wrong",
    "postgresql/test_database.py": "cancels what waits for a standby",
    "postgresql/test_versions.py": "is a version with other tables",
    "once.py": "copies a store that is migrated once",
    "battery/broken.py": "puts broken statements in place of the store's own",
    "service/test_counting.py": "raises an error of SQLite's",
}


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


def test_shipped_plugins_use_only_the_public_interface() -> None:
    """They prove that `receiver.handlers` is enough to write a plugin with."""
    for file in PLUGINS:
        assert {module for _, module in imports(file)} <= {"handlers"}, file


def test_sql_stands_in_the_store_alone() -> None:
    """Nobody else knows which database it is."""
    found = {
        str(file.relative_to(ROOT / "receiver"))
        for file in PACKAGE
        if ROOT / "receiver" / "store" not in file.parents and SQL.search(file.read_text("utf-8"))
    }
    assert found == SQL_ELSEWHERE.keys()


def test_tests_ask_the_store_by_its_own_readers() -> None:
    """By `tests.stored`: so they hold for another engine, and for other tables."""
    found = {
        str(file.relative_to(ROOT / "tests"))
        for file in TESTS
        if ROOT / "tests" / "store" not in file.parents and SQL.search(file.read_text("utf-8"))
    }
    assert found == WITH_SQL.keys()


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


def test_public_things_are_documented() -> None:
    """Modules, classes, methods and functions; in a sentence, not by their name again."""
    for file in PACKAGE + PLUGINS:
        for name, docstring in documented(file):
            assert docstring, f"{file}: {name} has no docstring"
            words = re.sub(r"\W", "", docstring).lower()
            assert words != re.sub(r"\W", "", name.rpartition(".")[2]).lower(), f"{file}: {name}"
            whole = docstring.rstrip().endswith((".", ":", "!", "`", "…", ")"))
            assert whole or "\n" in docstring, f"{file}: {name}"


def functions(file: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The functions of a module; tests are such functions, in no class."""
    body = tree(file).body
    assert not [each for each in body if isinstance(each, ast.ClassDef) and "Test" in each.name]
    return [each for each in body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_every_test_states_its_fact() -> None:
    """In one line that begins its docstring."""
    for file in TESTS:
        for test in functions(file):
            if test.name.startswith("test_"):
                fact = (ast.get_docstring(test) or "").split("\n")[0]
                assert fact.endswith((".", "?", "!")), f"{file.name}:{test.lineno}: {test.name}"


def test_facts_are_not_proven_twice_under_one_name() -> None:
    """A second test of the same name in a file would hide the first."""
    for file in TESTS:
        found = [test.name for test in functions(file)]
        assert len(found) == len(set(found)), file


def test_exceptions_from_rules_have_a_reason() -> None:
    """Each names the rule and says why it is not kept here."""
    for file in PACKAGE + PLUGINS + TESTS:
        text = file.read_text("utf-8")
        for found in re.finditer(r"# ?(?:noqa|type: ?ignore)\b.*", text):
            place = f"{file}:{text.count(chr(10), 0, found.start()) + 1}"
            assert EXCEPTION.match(found[0]) or file.name == "test_house.py", place
