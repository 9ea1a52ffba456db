"""Outgoing messages, and a provider's answer when it accepts one."""

from __future__ import annotations

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
