"""Every statement outside of the engine is written in what PostgreSQL understands too.

The statements are those that `everything` has the program run; `test_plans.py` proves that none
of the source is missing among them. PostgreSQL's own grammar reads each of them. What it reads, but
means otherwise or nothing, is found in the tree.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pglast import ast, parse_sql
from pglast.enums import A_Expr_Kind
from pglast.parser import ParseError

from tests.store.statements import Ran

#: Functions that both have, with the numbers of arguments that mean the same.
_FUNCTIONS = {
    "count": {0, 1},
    "length": {1},
    "lower": {1},
    "max": {1},
    "min": {1},
    "replace": {3},
    "row_number": {0},
    "substr": {3},
    "sum": {1},
}
_TOKEN = re.compile(r"('(?:[^']|'')*')|\?(\d+)|(\?)|(?<!:):([a-z_]+)\b")
_COMPARISONS = frozenset({"=", "<>", "<", ">", "<=", ">="})
_HIDDEN = frozenset({"rowid", "oid", "_rowid_"})


def numbered(statement: str) -> str:
    """The statement with its parameters as PostgreSQL writes them."""
    names: dict[str, int] = {}
    count = 0

    def mark(found: re.Match[str]) -> str:
        nonlocal count
        text, number, plain, name = found.groups()
        if text is not None:
            return text
        if plain is not None:
            count += 1
            return f"${count}"
        return f"${number if number is not None else names.setdefault(name, len(names) + 1)}"

    return _TOKEN.sub(mark, statement)


def doubts(statement: str) -> list[str]:
    """Why a statement is not portable: PostgreSQL cannot read it, or takes it otherwise."""
    try:
        tree = parse_sql(numbered(statement))
    except ParseError as error:
        return [str(error)]
    nodes = list(_nodes(tree))
    return [doubt for node in nodes for doubt in _CHECKS.get(type(node), _nothing)(node)]


def _nodes(tree: Any) -> Iterator[Any]:
    """A tree and all that is in it."""
    if isinstance(tree, tuple):
        for each in tree:
            yield from _nodes(each)
    elif isinstance(tree, ast.Node):
        yield tree
        for name in tree:
            yield from _nodes(getattr(tree, name))


def _call(node: Any) -> Iterator[str]:
    name, arguments = node.funcname[-1].sval, node.args or ()
    if len(arguments) not in _FUNCTIONS.get(name, ()):
        yield f"{name}() of {len(arguments)} arguments"
    if name == "sum" and any(map(_is_truth, arguments)):
        yield "a sum of truths; count(CASE WHEN … THEN 1 END) counts them"


def _is_truth(node: Any) -> bool:
    if isinstance(node, ast.A_Expr):
        operator: Any = node
        return operator.name[-1].sval in _COMPARISONS
    return isinstance(node, ast.BoolExpr | ast.NullTest)


def _operator(node: Any) -> Iterator[str]:
    if node.kind in (A_Expr_Kind.AEXPR_LIKE, A_Expr_Kind.AEXPR_ILIKE):
        yield "LIKE: SQLite's does not tell case apart"


def _truths(node: Any) -> Iterator[str]:
    """Of a WHERE alone, or of what AND, OR and NOT join."""
    for each in getattr(node, "args", None) or (getattr(node, "whereClause", None),):
        if isinstance(each, ast.A_Const) and isinstance(each.val, ast.Integer | ast.Float):
            yield "a number as a truth"


def _null_test(node: Any) -> Iterator[str]:
    if isinstance(node.arg, ast.ParamRef):
        yield "a parameter compared with NULL: its type is not known"


def _query_in_from(node: Any) -> Iterator[str]:
    if node.alias is None:
        yield "a query without a name in FROM"


def _column(node: Any) -> Iterator[str]:
    if _HIDDEN.intersection(_names(node)):
        yield "a column that only SQLite has"


def _names(column: Any) -> list[str]:
    return [str(field.sval) for field in column.fields if isinstance(field, ast.String)]


def _conflict(node: Any) -> Iterator[str]:
    if node.infer is None:
        yield "ON CONFLICT without a target"
    values = tuple(target.val for target in node.targetList or ())
    for column in _nodes((*values, node.whereClause)):
        if isinstance(column, ast.ColumnRef) and len(_names(column)) == 1:
            yield f"{_names(column)[0]}: of the row that is there, or of `excluded`?"


def _collation(_: Any) -> Iterator[str]:
    yield "COLLATE: collations have other names there"


def _bits(_: Any) -> Iterator[str]:
    yield "x'': a string of bits there"


def _nothing(_: Any) -> Iterator[str]:
    yield from ()


_CHECKS: dict[type, Callable[[Any], Iterator[str]]] = {
    ast.A_Expr: _operator,
    ast.BitString: _bits,
    ast.BoolExpr: _truths,
    ast.CollateClause: _collation,
    ast.ColumnRef: _column,
    ast.DeleteStmt: _truths,
    ast.FuncCall: _call,
    ast.NullTest: _null_test,
    ast.OnConflictClause: _conflict,
    ast.RangeSubselect: _query_in_from,
    ast.SelectStmt: _truths,
    ast.UpdateStmt: _truths,
}


def is_portable_by_rule(ran: Ran) -> bool:
    """All statements but those that stand in the engine alone."""
    return any(not place.startswith("store.engine.") for place in ran.places)


@pytest.mark.commit
def test_every_statement_is_portable(ran: list[Ran]) -> None:
    """PostgreSQL understands it, and as SQLite does."""
    found = [
        f"{sorted(each.places)}: {', '.join(why)}\n    {each.text}"
        for each in ran
        if is_portable_by_rule(each) and (why := doubts(each.text))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 FROM t WHERE 1",
        "SELECT 1 FROM t WHERE a = 2 AND 1",
        "SELECT iif(a, 1, 2) FROM t",
        "SELECT sum(a = 1) FROM t",
        "SELECT min(a, b) FROM t",
        "SELECT 1 FROM t WHERE a IN ()",
        "SELECT 1 FROM t WHERE a = x''",
        "SELECT 1 FROM t WHERE a = ? COLLATE NOCASE",
        "SELECT json_extract(a, '$.b') FROM t",
        "SELECT 1 FROM t WHERE ? IS NULL OR a = ?",
        "SELECT 1 FROM t WHERE a LIKE 'b%'",
        "SELECT count(*) FROM (SELECT 1 FROM t)",
        "SELECT rowid FROM t",
        "SELECT a FROM t INDEXED BY u",
        "SELECT a FROM t CROSS JOIN u ON t.a = u.a",
        "INSERT OR REPLACE INTO t (a) VALUES (?)",
        "INSERT INTO t (a) VALUES (?) ON CONFLICT DO NOTHING",
        "INSERT INTO t (a) VALUES (?) ON CONFLICT (a) DO UPDATE SET b = 1 WHERE excluded.b > b",
        "UPDATE OR IGNORE t SET a = 1",
        "DELETE FROM t LIMIT 1",
    ],
)
def test_what_is_sqlites_own_is_found(statement: str) -> None:
    """Each has been in the store, or is like what was."""
    assert doubts(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 FROM t WHERE TRUE AND a = 'it''s :no ? mark' AND b = :b AND c = :b",
        "INSERT INTO t (a) VALUES (?) ON CONFLICT (a) DO UPDATE SET a = excluded.a WHERE t.b > 1",
        "SELECT count(CASE WHEN a = ?1 THEN 1 END) FROM t WHERE b = ?1",
    ],
)
def test_what_both_understand_passes(statement: str) -> None:
    """Parameters of each kind, and texts that look like them."""
    assert not doubts(statement)
