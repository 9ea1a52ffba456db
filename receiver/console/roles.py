"""The roles of users and tokens. Each may do all that those before it may."""

from __future__ import annotations

from enum import IntEnum


class Role(IntEnum):
    """A role, by what it adds to the one before."""

    VIEWER = 1
    """Sees counts and lists, with masked numbers and without texts."""
    CARE = 2
    """Sees numbers and texts; sends, opts people out and in."""
    OPERATOR = 3
    """Retries, drops and replays work; forgets people; sees the audit."""
    ADMIN = 4
    """Manages users and tokens."""

    @property
    def word(self) -> str:
        """Its name in commands and pages."""
        return self.name.lower()


def role_of(word: str) -> Role | None:
    """Returns the role of this name; None if there is none."""
    return Role.__members__.get(word.upper()) if word.islower() else None
