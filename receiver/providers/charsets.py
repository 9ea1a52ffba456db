"""Finds out in what character set a gateway wrote a text."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable

#: Character sets that may be declared: those in which ASCII stands as it is. Others, such as
#: Python's own `idna`, take long to read.
_KNOWN = re.compile(r"utf-8|iso8859-\d+|cp\d+|koi8-\w|mac-?\w+|gb\w+|big5\w*|shift_ji\w+|euc_\w+")
#: Who declares one of these means windows-1252, as browsers read them.
_WESTERN = frozenset(("ascii", "iso8859-1", "cp1252"))

#: The note of an event whose text was read by a guess.
GUESSED = "read as windows-1252: it is no UTF-8 and names no character set"
BROKEN = "its text is broken UTF-8"


def reader(data: bytes, declared: str | None) -> tuple[Callable[[bytes], str], str | None]:
    """Returns what decodes these bytes, or parts of them, and a note if that is a guess."""
    charset = _python_name(declared) if declared else None
    if charset not in (None, "utf-8"):
        return lambda part: part.decode(charset, "replace"), None
    for decode in (bytes.decode, _decode_surrogates):
        try:
            decode(data)
        except UnicodeDecodeError:
            continue
        return decode, None
    text = data.decode("utf-8", "replace")
    if any(character > "\x7f" and character != "\ufffd" for character in text):
        # By chance nothing else looks like UTF-8: it is cut within a character.
        return lambda part: part.decode("utf-8", "replace"), BROKEN
    return lambda part: part.decode("cp1252", "replace"), GUESSED


def _python_name(declared: str) -> str | None:
    """Returns Python's name of a character set; None for one that is not known."""
    try:
        name = codecs.lookup(declared).name
    except (LookupError, ValueError):  # ValueError: a NUL in the name
        return None
    if name in _WESTERN:
        return "cp1252"
    return name if _KNOWN.fullmatch(name) else None


def _decode_surrogates(part: bytes) -> str:
    """Decodes UTF-8 in which emojis are two halves, as Java and Oracle write it."""
    text = part.decode("utf-8", "surrogatepass")
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
