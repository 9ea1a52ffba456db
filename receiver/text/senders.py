"""Senders of messages as GSM networks take them: a number, or a name of a few letters."""

from __future__ import annotations

#: Digits of a number, and characters of a name (GSM 03.40, 9.1.2.5).
_LONGEST_NUMBER = 15
_LONGEST_NAME = 11


def sender_fault(sender: str) -> str | None:
    """Returns why no network takes a sender, or None: a name has 11 characters, a number 15."""
    bare = "".join(sender.removeprefix("+").split())
    is_number = bare.isdecimal() and bare.isascii()
    size, longest = (len(bare), _LONGEST_NUMBER) if is_number else (len(sender), _LONGEST_NAME)
    kind = "digits" if is_number else "characters"
    return f"{sender} has {size} {kind}; expected at most {longest}" if size > longest else None
