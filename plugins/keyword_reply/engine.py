"""The template engine, for replies with more than variables in them: Jinja with our filters."""

from __future__ import annotations

import difflib
import re
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from zoneinfo import ZoneInfo

from jinja2 import TemplateSyntaxError, meta, nodes
from jinja2.filters import do_default
from jinja2.runtime import Undefined

from .sandbox import Sandbox, refused
from .templates import Render, ReplyFailed, Values, bounded

#: Thousands may be apart (1,500 and 1 500), with the currency in front (KES, Ksh.), as people
#: write amounts in East Africa also with `/=` or `/-` behind it.
_AMOUNT = re.compile(
    r"(?:(?:k?shs?|kes|ugx|tzs|gbp|usd|eur|[£$€])\.? ?)?"
    r"(?P<number>[+-]?(?:\d{1,15}|\d{1,3}(?:,\d{3}){1,4}|\d{1,3}(?: \d{3}){1,4})(?:\.\d{1,12})?)"
    r"(?: ?/[=-])?",
    re.IGNORECASE,
)
_MOST_PLACES = 6
_NO_TIME = "date is for a time or an ISO text of one; the value is neither"
#: Without widths such as %999d, which would make much out of little.
_STRFTIME = re.compile(r"(?:[^%]|%-?[A-Za-z%]){0,64}")

_REFUSED = {
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "import",
    nodes.Extends: "extends",
    nodes.Macro: "macro",
    nodes.Mul: "*",
    nodes.Pow: "**",
}


class Engine:
    """Compiles templates; times in them are of this zone, or in UTC."""

    def __init__(self, zone: ZoneInfo | None) -> None:
        self._zone = zone or UTC
        self._environment = Sandbox()
        filters = self._environment.filters
        filters["default"] = filters["d"] = _default
        filters["date"] = self._date
        filters["money"] = money

    def compile(self, source: str, known: list[str]) -> Render:
        """Compiles a template that names these variables. Raises ValueError."""
        try:
            tree = self._environment.parse(source)
            _check(tree, known)
            template = self._environment.from_string(tree)
        except TemplateSyntaxError as error:
            raise ValueError(f"line {error.lineno}: {error.message}") from None

        def render(values: Values) -> str:
            text = ""
            for piece in template.generate(
                {**values, "time": values["time"].astimezone(self._zone)}
            ):
                text = bounded(text + piece)
            return text

        return render

    def unguarded_fields(self, source: str) -> list[str]:
        """Returns the `fields.…` without which a message gets no reply. `source` compiles."""
        tree = self._environment.parse(source)
        guarded = {
            id(node.node) for node in tree.find_all(nodes.Filter) if node.name in ("default", "d")
        }
        tested = {
            _field(node.node)
            for node in tree.find_all(nodes.Test)
            if node.name in ("defined", "undefined")
        }
        used = {
            name
            for node in tree.find_all((nodes.Getattr, nodes.Getitem))
            if id(node) not in guarded and (name := _field(node))
        }
        return sorted(used - tested)

    def _date(self, value: object, pattern: str = "%Y-%m-%d") -> str:
        """Formats a moment, or a text in ISO 8601, by strftime."""
        if not isinstance(pattern, str) or not _STRFTIME.fullmatch(pattern):
            raise ReplyFailed("date takes a format such as %d.%m.%Y %H:%M")
        if isinstance(value, Undefined):
            str(value)  # raises for an undefined one
        if isinstance(value, str):
            value = _iso(value)
        if isinstance(value, datetime):
            zoned = value if value.tzinfo else value.replace(tzinfo=self._zone)
            return zoned.astimezone(self._zone).strftime(pattern)
        if isinstance(value, date):
            return value.strftime(pattern)
        raise ReplyFailed(_NO_TIME)


def money(value: object, currency: str = "", places: int = 2) -> str:
    """An amount with its currency, as in KES 1,234.50; half a cent is rounded up."""
    if isinstance(value, Undefined):
        str(value)  # raises for an undefined one
    written = _AMOUNT.fullmatch(str(value).strip())
    if isinstance(value, bool) or written is None:
        raise ReplyFailed("money is for an amount such as 1234.5 or 1,500/=; the value is none")
    if not isinstance(places, int) or not 0 <= places <= _MOST_PLACES:
        raise ReplyFailed(f"money takes 0 to {_MOST_PLACES} places")
    number = re.sub("[, ]", "", written["number"])
    amount = Decimal(number).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    return f"{currency} {amount:,}".lstrip()


def _default(value: object, default: str = "", *_: object) -> object:
    """As Jinja's, for empty texts too: a variable without a value is one."""
    return do_default(value, default, boolean=True)


def _check(tree: nodes.Template, known: list[str]) -> None:
    if (found := refused(tree)) is not None:
        raise ValueError(f"line {found[0]}: {found[1]} is not for replies")
    for node in tree.find_all(tuple(_REFUSED)):
        raise ValueError(f"line {node.lineno}: {_REFUSED[type(node)]} is not for replies")
    for name in sorted(meta.find_undeclared_variables(tree).difference(known)):
        close = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {close[0]}?" if close else "there are " + ", ".join(known)
        raise ValueError(f"unknown variable {name}; {hint}")


def _field(node: nodes.Node) -> str | None:
    """The name in `fields.NAME` or `fields["NAME"]`."""
    if not isinstance(node, nodes.Getattr | nodes.Getitem):
        return None
    if not isinstance(node.node, nodes.Name) or node.node.name != "fields":
        return None
    if isinstance(node, nodes.Getattr):
        return None if node.attr in ("get", "items", "keys", "values") else node.attr
    return str(node.arg.value) if isinstance(node.arg, nodes.Const) else None


def _iso(text: str) -> date:
    for read in (date.fromisoformat, datetime.fromisoformat):
        with suppress(ValueError):
            return read(text.strip())
    raise ReplyFailed(_NO_TIME)
