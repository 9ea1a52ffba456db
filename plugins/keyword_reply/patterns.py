"""Regular expressions by RE2: the time grows linearly with any message's length.

Python's own engine can take years over thirty characters. RE2 is imported where a rule needs it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

#: Bytes that the automaton of all patterns together may take, beyond RE2's own 8 MB.
_MEMORY = 64 << 20


class Pattern(msgspec.Struct, frozen=True):
    """A pattern that has been read."""

    compiled: Any
    groups: tuple[str, ...]
    """The names of its groups."""

    def fits(self, text: str) -> bool:
        """Returns True if it is found in a text."""
        return self.compiled.search(_encodable(text)) is not None

    def values(self, text: str) -> dict[str, str]:
        """Returns its named groups in a text that fits; empty for a group that takes no part."""
        found = self.compiled.search(_encodable(text))
        return {name: found[name] or "" for name in self.groups}


def read(pattern: str) -> Pattern:
    """Reads a pattern. Raises ValueError with its fault."""
    import re2  # type: ignore[import-untyped] # noqa: PLC0415 - only where rules need it

    try:
        compiled = re2.compile(pattern, _options(re2))
    except re2.error as error:
        [what] = error.args
        why = what.decode(errors="replace") if isinstance(what, bytes) else what
        raise ValueError(f"{why} (in RE2's syntax)") from None
    except UnicodeEncodeError:
        raise ValueError("not a text that can be encoded") from None
    return Pattern(compiled, tuple(compiled.groupindex))


class Patterns:
    """Several patterns that are searched in one pass."""

    def __init__(self, patterns: Iterable[str]) -> None:
        import re2  # noqa: PLC0415 - only where rules need it

        options = _options(re2)
        options.never_capture = True
        options.max_mem = _MEMORY
        self._set = re2.Set.SearchSet(options)
        for pattern in patterns:
            self._set.Add(pattern)
        self._set.Compile()

    def fitting(self, text: str) -> list[int]:
        """Returns the patterns that are found in the text, in their order."""
        return sorted(self._set.Match(text.encode("utf-8", "replace")) or ())


def _options(re2: Any) -> Any:
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    return options


def _encodable(text: str) -> str:
    """Replaces lone surrogates, since RE2 works on UTF-8."""
    return text.encode("utf-8", "replace").decode()
