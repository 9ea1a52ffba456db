"""Escapes control characters and invisible characters in texts of strangers.

Used for terminals, logs and lines of JSON. Control characters could move the cursor, forge a line
or retitle the window; bidirectional overrides and invisible characters could make a text look like
another one.
"""

from __future__ import annotations

import re

# All of them: C0, DEL, C1; soft hyphen; Arabic letter mark; zero-width space and directional
# marks; line and paragraph separators, overrides; word joiner and isolates; byte order mark;
# interlinear annotation; lone surrogates. Zero-width joiners stay: scripts and emoji need them.
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def escape(text: str) -> str:
    r"""Returns the text with `\n`, `\x1b` or `\u202e` in place of invisible characters."""
    return _INVISIBLE.sub(_escaped, text)


def escape_json(encoded: bytes) -> str:
    """Returns JSON with the same meaning, on one line and safe on a terminal."""
    return _INVISIBLE.sub(_json_escaped, encoded.decode())


def _escaped(match: re.Match[str]) -> str:
    char = match[0]
    code = ord(char)
    return _SHORT.get(char) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def _json_escaped(match: re.Match[str]) -> str:
    # JSON itself has escaped what is below U+0020.
    return f"\\u{ord(match[0]):04x}"
