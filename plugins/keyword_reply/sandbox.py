"""The environment of templates: what they can do takes little time, whatever a person wrote.

Jinja's sandbox keeps a template from the program. This one also keeps a person's text from being
read as a format (`%999999999d`), as a width or as markup, and from growing without limit.
"""

from __future__ import annotations

from datetime import date, time
from typing import Any

from jinja2 import StrictUndefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.filters import do_round
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

#: Filters that read a text as a format, a name or markup, or fill it up to a width.
REFUSED_FILTERS = frozenset(
    {
        *("attr", "batch", "center", "format", "groupby", "indent", "pprint", "slice"),
        *("striptags", "tojson", "urlize", "wordwrap", "xmlattr"),
    }
)
#: The methods that texts have in templates.
TEXT_METHODS = frozenset(
    {
        *("capitalize", "casefold", "count", "endswith", "find", "index", "isalnum", "isalpha"),
        *("isascii", "isdecimal", "isdigit", "islower", "isnumeric", "isspace", "istitle"),
        *("isupper", "lower", "lstrip", "partition", "removeprefix", "removesuffix", "replace"),
        *("rfind", "rindex", "rpartition", "rsplit", "rstrip", "split", "splitlines"),
        *("startswith", "strip", "swapcase", "title", "upper"),
    }
)
#: Methods of times that read a format; the filter `date` is for that.
_FORMATTING = frozenset({"strftime", "strptime"})
#: The methods that a template is refused for before it runs.
_LONG_METHODS = frozenset(
    {
        *(name for name in dir(str) if not name.startswith("_") and name not in TEXT_METHODS),
        *_FORMATTING,
    }
)
#: Characters of the longest text that a template makes on its way to a reply.
_MOST = 100_000
_MOST_PLACES = 15


class Sandbox(ImmutableSandboxedEnvironment):
    """Templates without globals, and without filters and methods that can take long."""

    intercepted_binops = frozenset({"%"})

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)
        self.globals.clear()  # range and the like: loops are as short as the text
        for name in REFUSED_FILTERS:
            self.filters.pop(name, None)
        self.filters["replace"] = _replaced
        self.filters["join"] = _joined
        self.filters["round"] = _rounded

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Returns True for attributes that take little time with any text."""
        if isinstance(obj, str):
            return attr in TEXT_METHODS
        if isinstance(obj, int | float) or (isinstance(obj, date | time) and attr in _FORMATTING):
            return False
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """Returns None: no text is a format, so that `rest['format']` is as unsafe as `center`."""

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Computes `left % right` of numbers. Of a text that would be a format."""
        if isinstance(left, str | bytes):
            raise SecurityError("% is for numbers")
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls a function or method; `replace` of a text is bounded."""
        owner = getattr(obj, "__self__", None)
        if isinstance(owner, str) and getattr(obj, "__name__", "") == "replace":
            return _replaced(owner, *args, **kwargs)
        return super().call(context, obj, *args, **kwargs)


def refused(tree: nodes.Template) -> tuple[int, str] | None:
    """Returns the line and the name of the first filter or method that is not offered."""
    for node in tree.find_all((nodes.Filter, nodes.Getattr)):
        if isinstance(node, nodes.Filter) and node.name in REFUSED_FILTERS:
            return node.lineno, node.name
        if isinstance(node, nodes.Getattr) and node.attr in _LONG_METHODS:
            return node.lineno, f".{node.attr}"
    return None


def _replaced(text: object, old: str, new: str, count: int | None = None) -> str:
    """As Jinja's `replace`, for results that are not too long."""
    text, old, new = str(text), str(old), str(new)
    times = text.count(old) if count is None or count < 0 else min(count, text.count(old))
    _bounded(len(text) + times * len(new))
    return text.replace(old, new, times)


def _joined(values: Any, d: str = "") -> str:
    """As Jinja's `join`, for results that are not too long."""
    texts = [str(value) for value in values]
    _bounded(sum(map(len, texts)) + len(texts) * len(str(d)))
    return str(d).join(texts)


def _rounded(value: float, precision: int = 0, method: Any = "common") -> float:
    """As Jinja's `round`, for a few places."""
    if not isinstance(precision, int) or abs(precision) > _MOST_PLACES:
        raise SecurityError("round takes few places")
    rounded: float = do_round(value, precision, method)
    return rounded


def _bounded(size: int) -> None:
    if size > _MOST:
        raise SecurityError("the text becomes too long")
