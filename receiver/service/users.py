"""Users of the system, as the audit names them."""

from __future__ import annotations

import os
import pwd

#: Characters of a name that somebody gives himself.
_LONGEST = 64


def name_of(uid: int, by: str = "") -> str:
    """Returns the name for the audit: `receiver`, or `receiver for alice` if alice became one."""
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    return f"{user} for {by[:_LONGEST]}" if by and by != user else user


def sudo_user() -> str:
    """Returns who became the user of this process by sudo, or nothing."""
    return os.environ.get("SUDO_USER", "")


def caller() -> str:
    """Returns the name of whoever runs this process."""
    return name_of(os.getuid(), sudo_user())
