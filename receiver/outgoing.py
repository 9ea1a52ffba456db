"""Outgoing messages, when they may leave, and a provider's answer when it accepts one."""

from __future__ import annotations

from datetime import datetime, time, timedelta, tzinfo

import msgspec

from receiver.events import Status


class OutgoingMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message to send."""

    to: str
    """E.164 (`+254726770792`), or as a person wrote it where that is no number."""
    text: str
    sender: str | None = None
    """Short code or alphanumeric sender ID; None: the source's own (`send.sender`)."""
    service_id: str | None = None
    link_id: str | None = None
    """Of an on-demand message that this answers: good once, and for a day."""
    valid_for: int | None = None
    """Seconds in which it is worth delivering, for gateways that take that."""


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's answer for a message that it accepted."""

    message_id: str | None
    """None where it gives none."""
    further_ids: tuple[str, ...] = ()
    """Those of the further parts of a long text, where each part has a status of its own."""
    to: str | None = None
    status: Status = Status.QUEUED
    parts: int | None = None
    cost: str | None = None
    """As the provider writes it, in the account's currency or units."""
    balance: str | None = None
    """After this message, in the same."""
    note: str | None = None
    """The reason why it does not mean that the message is on its way."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all parts."""
        return () if self.message_id is None else (self.message_id, *self.further_ids)


class Within(msgspec.Struct, frozen=True):
    """The part of each day in which messages may leave, in minutes since midnight."""

    opens: int
    closes: int
    """Excluded. Before `opens`: on the next day."""

    def contains(self, minute: int) -> bool:
        """Returns True for a minute of the day in which messages may leave."""
        if self.opens < self.closes:
            return self.opens <= minute < self.closes
        return minute >= self.opens or minute < self.closes


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """When the messages of a campaign may leave, and how fast."""

    start_at: datetime
    """By the clock on the wall."""
    within: Within | None = None
    """Times of the source's zone; None: all day."""
    valid_for: int | None = None
    """Seconds after `start_at` in which a message is worth sending; None: always."""
    rate: int | None = None
    """People a minute; None: as many as the source takes."""

    def next_moment(self, now: datetime, zone: tzinfo) -> datetime:
        """Returns the first moment from now on at which a message may leave."""
        moment = max(now, self.start_at)
        local = moment.astimezone(zone)
        if self.within is None or self.within.contains(local.hour * 60 + local.minute):
            return moment
        opens = time(*divmod(self.within.opens, 60))
        first = datetime.combine(local.date(), opens, zone)
        if first < local:
            first = datetime.combine(local.date() + timedelta(days=1), opens, zone)
        return first.astimezone(moment.tzinfo)

    @property
    def expires_at(self) -> datetime | None:
        """The end of the time in which a message is worth sending; None: there is none."""
        return None if self.valid_for is None else self.start_at + timedelta(seconds=self.valid_for)
