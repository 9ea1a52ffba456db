"""The one process that uses a store in SQLite."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from receiver.store.engine import Gone, Lane
from receiver.store.tx import Tx


class Alone:
    """Leads always; see `receiver.store.engine.Membership`."""

    slot = 0
    slots = 1

    def __init__(self) -> None:
        self.on_lanes: Callable[[Iterable[Lane]], object] = lambda _: None
        self.on_reload: Callable[[], object] = lambda: None

    def take_over(self, tx: Tx, now: int) -> int:
        """Makes a new owner; what earlier ones had claimed waits again: they have ended."""
        tx.execute("DELETE FROM owners")
        tx.execute("UPDATE jobs SET owner = NULL WHERE owner IS NOT NULL")
        query = "INSERT INTO owners (since) VALUES (?) RETURNING id"
        return int(tx.execute(query, (now,)).fetchone()[0])

    def uses(self, tx: Tx, digest: str) -> None:
        """Does nothing: there is no other receiver that may have another configuration."""

    def ask_reload(self, tx: Tx) -> None:
        """Does nothing."""

    def leads(self) -> bool:
        """Returns True."""
        return True

    def confirm(self, tx: Tx) -> bool:
        """Returns True."""
        return True

    def gone(self, tx: Tx) -> Sequence[Gone]:
        """Returns nothing: `take_over` has looked after all of them."""
        return ()

    def forget(self, tx: Tx, gone: Sequence[Gone]) -> None:
        """Does nothing."""

    def ended(self) -> str | None:
        """Returns None."""
        return None
