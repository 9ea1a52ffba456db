"""Replies: templates, and the values in them.

Nearly all are plain texts or name variables and nothing else; these need no template engine
(`engine`): loading it takes as long as loading all of this plugin, and compiling one of them half a
millisecond.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import cached_property
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from receiver.handlers import Reply

if TYPE_CHECKING:
    from .engine import Engine

#: Characters; a reply that comes out longer is a mistake in its template.
MAX_REPLY = 2000

#: The variables of a template. `fields` holds texts by name, `time` is when the message came. All
#: others are texts, empty where the message has none.
VARIABLES = ("msisdn", "text", "keyword", "rest", "network", "name", "fields", "time")
_TEXTS = VARIABLES[:6]

Values = dict[str, Any]
Render = Callable[[Values], str]


class ReplyFailed(ValueError):
    """A template gives no reply for this message."""


#: Characters of phones and word processors, and their equals in the GSM alphabet.
_QUOTES = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u02bc\u2032\u00b4\u0060", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        **dict.fromkeys("\u00a0\u2007\u2009\u202f", " "),
        "\u2026": "...",
        "\u2022": "-",
        "\u200b": "",
    }
)


def fold_quotes(text: str) -> str:
    """Replaces smart quotes, dashes, ellipses and no-break spaces by GSM characters."""
    return text.translate(_QUOTES)


class Templates:
    """Compiles templates; times in them are of this zone, or in UTC."""

    def __init__(self, zone: ZoneInfo | None) -> None:
        self._zone = zone

    @cached_property
    def _engine(self) -> Engine:
        from .engine import Engine  # noqa: PLC0415 - few rules need it

        return Engine(self._zone)

    def compile(self, source: str, groups: Collection[str] = ()) -> Reply | Render:
        """Compiles a template; returns a `Reply` if it is constant. `groups`: further variables.

        Raises ValueError with the template's fault and its line.
        """
        pieces = _VARIABLE.split(source)  # text, variable, text, variable, …, text
        if any("{" in text or "\r" in text for text in pieces[::2]):
            return self._engine.compile(source, [*VARIABLES, *groups])
        if len(pieces) == 1:
            return Reply(bounded(source))
        pattern = "".join(
            piece.replace("}", "}}") if n % 2 == 0 else f"{{{piece}}}"
            for n, piece in enumerate(pieces)
        )
        return lambda values: bounded(pattern.format_map(values))

    def unguarded_fields(self, source: str) -> list[str]:
        """Returns the `fields.…` without which a message gets no reply. `source` compiles."""
        return self._engine.unguarded_fields(source) if "fields" in source else []


def reason(error: Exception, template: str) -> str:
    """Returns a description of an error without its own message, which may hold a person's text."""
    if isinstance(error, ReplyFailed):
        return str(error)
    missing = re.fullmatch(r"'dict object' has no attribute '(\w+)'", str(error))
    if missing and missing[1] in template:
        return f"the message has no field {missing[1]}; default() would give one a value"
    return f"the template raised {type(error).__name__}"


_VARIABLE = re.compile(rf"\{{\{{[ \t\n]*({'|'.join(_TEXTS)})[ \t\n]*\}}\}}")


def bounded(text: str) -> str:
    """Returns a text that is short enough for a reply."""
    if len(text) > MAX_REPLY:
        raise ReplyFailed(f"the reply has more than {MAX_REPLY} characters")
    return text
