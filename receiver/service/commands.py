"""The commands that go over the control socket, and their outcome."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from receiver.outgoing import OutgoingMessage
from receiver.store import Correction, PurgeRule

#: An id in the store: SQLite has 63 bits for it.
Id = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
#: The same, where 0 stands for the beginning.
Position = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class AddOptOut(msgspec.Struct, frozen=True, tag="opt_outs.add"):
    """Notes that a person must not be messaged: by a short code, about a service, or at all."""

    msisdn: str
    short_code: str | None = None
    service_id: str | None = None


class RemoveOptOut(msgspec.Struct, frozen=True, tag="opt_outs.remove"):
    """Notes that a person may be messaged again: by a short code, about a service, or at all."""

    msisdn: str
    short_code: str | None = None
    service_id: str | None = None


class RetryQuarantined(msgspec.Struct, frozen=True, tag="quarantine.retry"):
    """Takes requests out of the quarantine again: one, or (None) all."""

    id: Id | None = None


class RetryJobs(msgspec.Struct, frozen=True, tag="jobs.retry"):
    """Makes dead jobs due again: one, or (None) all."""

    id: Id | None = None


class SendMessage(OutgoingMessage, frozen=True, kw_only=True, tag="send"):
    """Sends a message through a source's API, as soon as its service runs."""

    source: str


class Reload(msgspec.Struct, frozen=True, tag="reload"):
    """Takes in what the configuration file says now."""


class CorrectBook(msgspec.Struct, frozen=True, kw_only=True, tag="subscribers.correct"):
    """Writes what a provider's list says into the subscription book; some hundred lines."""

    corrections: list[Correction]
    time: Annotated[datetime, msgspec.Meta(tz=True)]
    """The time of the list: what is newer in the book stays."""


class Replay(msgspec.Struct, frozen=True, kw_only=True, tag="replay"):
    """Does for stored events what handlers ask for today; see `receiver.service.replay`."""

    events: list[tuple[Id, int]]
    """Their sequence numbers, each with the `digest` of what is expected to be asked for."""
    again: bool = False


class PurgeStep(msgspec.Struct, frozen=True, kw_only=True, tag="purge"):
    """Deletes what is to go in the next batch; see `receiver.jobs.purge`."""

    rule: PurgeRule
    after: Position = 0
    """What the step before gave as `Outcome.position`."""
    gone: dict[str, int] = {}
    """By the steps before."""


class Forget(msgspec.Struct, frozen=True, tag="forget"):
    """Deletes all that is about a person."""

    msisdn: str
    force: bool = False
    """Also if they are subscribed to something."""


class NoteBackup(msgspec.Struct, frozen=True, kw_only=True, tag="backup"):
    """Notes that somebody has copied the store."""

    file: str
    events: int
    bytes: int


Change = (
    AddOptOut
    | RemoveOptOut
    | RetryQuarantined
    | RetryJobs
    | SendMessage
    | CorrectBook
    | Replay
    | Reload
    | PurgeStep
    | Forget
)
Command = Change | NoteBackup


class Order(msgspec.Struct, frozen=True):
    """A command, and who gives it."""

    command: Command
    by: str = ""
    """As the one who asks calls themselves, where the system knows no better."""


class Outcome(msgspec.Struct, frozen=True):
    """The outcome of a command: `changed` things, and a line about each that did not work."""

    changed: int = 0
    failures: list[str] = []
    message: int | None = None
    """The id of the message that was made."""
    counts: dict[str, int] = {}
    """Counts by kind, where there are several kinds of what was done."""
    position: int | None = None
    """The place where the next step begins; None: there is none."""
