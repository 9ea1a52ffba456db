"""The two ends of a store's move to another engine; `receiver.store.moving` is the move."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

from receiver.store.tx import Tx

#: The types that columns have in every engine.
Kind = Literal["integer", "text", "bytes"]
#: Names of columns without those that the database computes, and their types.
Columns = dict[str, Kind]
#: Each table by its primary key; () for a table of one row. What is left out is of one engine or
#: of one process: the index of people, owners, nodes and leases.
TABLES: dict[str, tuple[str, ...]] = {
    "meta": ("key",),
    "events": ("seq",),
    "shared_requests": ("id",),
    "request_events": ("event", "request"),
    "jobs": ("id",),
    "campaigns": ("id",),
    "messages": ("id",),
    "message_ids": ("source", "key"),
    "reports": ("event",),
    "links": ("source", "link_id"),
    "subscriptions": ("source", "short_code", "service_id", "msisdn"),
    "subscription_history": ("id",),
    "opt_outs": ("msisdn", "short_code", "service_id"),
    "opt_out_history": ("id",),
    "flags": ("id",),
    "forward_attempts": ("id",),
    "quarantine": ("id",),
    "audit": ("id",),
    "rollups": ("source", "kind", "quarter", "keyword", "network", "service", "status"),
    "subscriber_counts": ("quarter", "source", "short_code", "service_id"),
    "subscriber_totals": ("source", "short_code", "service_id"),
    "rollup_cursors": (),
}
#: The table of the target that says how far the move is. A store that has it is not used.
PROGRESS = "moving"
CREATE_PROGRESS = f"CREATE TABLE {PROGRESS} (name TEXT PRIMARY KEY, state TEXT NOT NULL)"
#: Tables that a new store fills itself.
FILLED = ("meta", "rollup_cursors")


class MoveEnd(Protocol):
    """A store that nobody else uses."""

    @property
    def tx(self) -> Tx:
        """Runs statements. Outside of `transaction` each of them is one of its own."""

    def transaction(self) -> AbstractContextManager[object]:
        """Commits the statements run inside, or rolls them back if the block raises."""

    def columns(self, table: str) -> Columns:
        """Returns the columns of a table, in the order of the schema."""

    def highest(self, table: str) -> int:
        """Returns the highest id that a table has given; 0 for one without such ids."""


class MoveSource(MoveEnd, Protocol):
    """The store that is moved."""

    def fingerprint(self) -> str:
        """Returns a text that is another one after a receiver or command has used the store."""


class MoveTarget(MoveEnd, Protocol):
    """The store that it is moved to: nobody can use it until `finish`.

    Its triggers are off until then: what they count is moved, too.
    """

    def add(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Adds rows, in a transaction of the caller's."""

    def set_highest(self, table: str, id_: int) -> None:
        """Has a table give ids above this one."""

    def index(self) -> None:
        """Indexes the people of new events, in a transaction of the caller's."""

    def start_over(self) -> None:
        """Deletes all that was moved."""

    def finish(self) -> None:
        """Makes it a store that can be used, and has it on disk."""
