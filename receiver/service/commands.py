"""The commands that the service carries out for a person, as the control socket has them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from receiver.outgoing import OutgoingMessage, Schedule
from receiver.store import Correction, PurgeRule
from receiver.store.campaigns import Person

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


class RunJob(msgspec.Struct, frozen=True, tag="jobs.run"):
    """Makes a job due now, whether it waits for a later time or is dead."""

    id: Id


class DropJob(msgspec.Struct, frozen=True, tag="jobs.drop"):
    """Gives a job up: deletes it."""

    id: Id


class ForwardAgain(msgspec.Struct, frozen=True, tag="jobs.forward-again"):
    """Posts an event once more to the targets that it was posted to: one, or (None) all."""

    seq: Id
    target: str | None = None


class SendMessage(OutgoingMessage, frozen=True, kw_only=True, tag="send"):
    """Sends a message through a source's API, as soon as its service runs."""

    source: str


class DraftCampaign(msgspec.Struct, frozen=True, kw_only=True, tag="campaigns.draft"):
    """Makes a campaign that has nobody in it yet and sends nothing."""

    source: str
    schedule: Schedule


class AddPeople(msgspec.Struct, frozen=True, kw_only=True, tag="campaigns.add"):
    """Adds some hundred people to the draft of a campaign; whoever is in it already is left out."""

    campaign: Id
    people: Annotated[list[Person], msgspec.Meta(max_length=500)]
    sender: str | None = None
    service_id: str | None = None


class ChangeCampaign(msgspec.Struct, frozen=True, kw_only=True, tag="campaigns.change"):
    """Starts a draft; pauses, resumes or cancels a campaign."""

    campaign: Id
    act: Literal["start", "pause", "resume", "cancel"]


class Reload(msgspec.Struct, frozen=True, tag="reload"):
    """Reads the configuration file again."""


class CorrectBook(msgspec.Struct, frozen=True, kw_only=True, tag="subscribers.correct"):
    """Corrects some hundred lines of the subscription book by a provider's list."""

    corrections: list[Correction]
    time: Annotated[datetime, msgspec.Meta(tz=True)]
    """When the list was made: newer lines of the book stay."""


class Replay(msgspec.Struct, frozen=True, kw_only=True, tag="replay"):
    """Does for stored events what today's handlers ask for; see `receiver.service.replay`."""

    events: list[tuple[Id, int]]
    """Sequence numbers, each with the `digest` of what the handlers are expected to ask for."""
    again: bool = False


class PurgeStep(msgspec.Struct, frozen=True, kw_only=True, tag="purge"):
    """Deletes the next batch of a rule; see `receiver.jobs.purge`."""

    rule: PurgeRule
    after: Position = 0
    """`Outcome.position` of the step before."""
    gone: dict[str, int] = {}
    """Deleted by the steps before, by kind."""


class Forget(msgspec.Struct, frozen=True, tag="forget"):
    """Deletes all data about a person."""

    msisdn: str
    force: bool = False
    """Also a person with an active subscription."""


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
    | RunJob
    | DropJob
    | ForwardAgain
    | SendMessage
    | DraftCampaign
    | AddPeople
    | ChangeCampaign
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
    """The user as the client says, for example behind sudo."""


class Outcome(msgspec.Struct, frozen=True):
    """The result of a command: how many things it changed, and a line for each failure."""

    changed: int = 0
    failures: list[str] = []
    uncertain: bool = False
    """It ended by an error: nobody knows how much of it was done."""
    message: int | None = None
    """The id of the message that was stored."""
    campaign: int | None = None
    """The id of the campaign that was made."""
    counts: dict[str, int] = {}
    """How many things of each kind were done."""
    position: int | None = None
    """The position where the next step begins; None: this was the last."""
