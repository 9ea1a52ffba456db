"""Whose work waits in the store while that of others is in memory."""

from __future__ import annotations

#: People who are remembered; where there are more, it may be anybody's.
MOST_LEFT = 50_000


class Effect:
    """People whose work was left in the store: what comes of them must not overtake it.

    Looks into the store are counted: what was left before one began, it finds.
    """

    def __init__(self) -> None:
        self._looks = 0
        self._people: dict[str, int] = {}
        """With the number of the look that had begun when work of theirs was last left."""
        self._everybody: int | None = None
        """The same number where it is not known who, or there are too many to remember."""

    def __contains__(self, person: str | None) -> bool:
        return self._everybody is not None or person in self._people

    def add(self, person: str | None) -> None:
        """Work of a person is left in the store. That about nobody has no order."""
        if person is None:
            return
        self._people[person] = self._looks
        if len(self._people) > MOST_LEFT:
            self.add_everybody()

    def add_everybody(self) -> None:
        """Work is left in the store, of anybody."""
        self._people.clear()
        self._everybody = self._looks

    def look(self) -> int:
        """A look begins; its number."""
        self._looks += 1
        return self._looks

    def found_all(self, look: int) -> None:
        """All that was in the store when this look began has its place in a lane."""
        self._people = {who: number for who, number in self._people.items() if number >= look}
        if self._everybody is not None and self._everybody < look:
            self._everybody = None
