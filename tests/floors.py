"""The floors of the house: who may import whom, made from the imports of the code.

`python -m tests.floors` writes the table into docs/architecture.md, and a test compares them.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "receiver"
PAGE = ROOT / "docs" / "architecture.md"
_TABLE = re.compile(r"^\| floor \| rooms \|\n(?:\|.*\n)+", re.MULTILINE)


def room(module: str) -> str | None:
    """The room of a module below `receiver`: a file, or a folder with all that is in it."""
    top = module.partition(".")[0]
    if (PACKAGE / top).is_dir():
        return f"{top}/"
    is_room = top not in ("__init__", "__main__") and (PACKAGE / f"{top}.py").is_file()
    return f"{top}.py" if is_room else None


@cache
def tree(file: Path) -> ast.Module:
    """A file, parsed."""
    return ast.parse(file.read_text("utf-8"))


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """Line and name of each module below `receiver` that a file imports, anywhere in it."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from (
                (node.lineno, alias.name.partition(".")[2])
                for alias in node.names
                if alias.name.partition(".")[0] == "receiver"
            )
        elif isinstance(node, ast.ImportFrom):
            # A plugin that is a folder does not know what its modules are called.
            if node.level == 1 and file.parent.parent == ROOT / "plugins":
                continue
            assert node.level == 0, "relative import"
            package, _, module = (node.module or "").partition(".")
            if package == "receiver":
                yield from ((node.lineno, module or alias.name) for alias in node.names)


def rooms() -> dict[str, set[str]]:
    """Each room, and those that it imports."""
    needs: defaultdict[str, set[str]] = defaultdict(set)
    for file in sorted(PACKAGE.rglob("*.py")):
        own = room(".".join(file.relative_to(PACKAGE).with_suffix("").parts))
        if own is not None:
            others = {room(module) for _, module in imports(file)} - {own, None}
            needs[own] |= {other for other in others if other is not None}
    return dict(needs)


@cache
def floors() -> dict[str, int]:
    """The floor of each room: one above the highest that it imports. Fails for a circle."""
    needs, found = rooms(), dict[str, int]()

    def floor(name: str, above: tuple[str, ...]) -> int:
        assert name not in above, f"a circle of imports: {' → '.join([*above, name])}"
        if name not in found:
            below = [floor(other, (*above, name)) for other in sorted(needs[name])]
            found[name] = 1 + max(below, default=-1)
        return found[name]

    for name in needs:
        floor(name, ())
    return found


def table() -> str:
    """The floors as docs/architecture.md shows them, the highest first."""
    by_floor: defaultdict[int, list[str]] = defaultdict(list)
    for name, number in floors().items():
        by_floor[number].append(f"`{name}`")
    lines = [f"| {number} | {', '.join(sorted(by_floor[number]))} |" for number in sorted(by_floor)]
    return "\n".join(["| floor | rooms |", "|---|---|", *reversed(lines)]) + "\n"


def shown() -> str:
    """The table that is there."""
    found = _TABLE.search(PAGE.read_text("utf-8"))
    assert found, f"{PAGE} has no table of floors"
    return found[0]


if __name__ == "__main__":
    PAGE.write_text(PAGE.read_text("utf-8").replace(shown(), table()), "utf-8")
