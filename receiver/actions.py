"""The actions that a handler can ask for. The store and the outbox carry them out, once.

Handlers import these from `receiver.handlers`.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from receiver.outgoing import OutgoingMessage, Schedule


class Reply(msgspec.Struct, frozen=True, tag="reply"):
    """Answers the person the event is about.

    It goes into the HTTP answer if the provider takes one there and it is ready in time, otherwise
    through the provider's send API; never both. The first reply to an event counts. An empty text
    is a reply too: no later handler can answer then.
    """

    text: str
    even_if_opted_out: bool = False
    """True sends it in spite of an opt-out: only for the confirmation of one."""
    if_changed: bool = False
    """True sends it only if the handler's other actions change a subscription, an opt-out or an
    opt-in; otherwise there is no reply. This is decided in the commit, so of two STOPs that come
    together one is confirmed."""
    rule: str = ""
    """The rule of the plugin that it comes from, for people: `rules[3] GAME`. It is kept with the
    event."""


SILENCE = Reply("")
"""The reply that answers nothing, and prevents any later reply."""


#: People of one `Send`: they are stored with the event's other effects, and pushes wait meanwhile.
MOST_PEOPLE = 500
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Send(OutgoingMessage, frozen=True, kw_only=True, tag="send"):
    """Sends a message to any number through a source's API.

    To several people, at a time, or with `valid_for` it is a campaign.
    """

    source: str | None = None
    """None: the source of the event."""
    others: tuple[str, ...] = ()
    """Further people who get it, each once."""
    at: datetime | None = None
    """Not before this time, by the clock on the wall; it has a time zone."""

    def __post_init__(self) -> None:
        """Raises ValueError for what cannot be a campaign."""
        if len(self.others) >= MOST_PEOPLE:
            got = len(self.others) + 1
            raise ValueError(f"Send takes at most {MOST_PEOPLE} people, got {got}; return several")
        if self.at is not None and self.at.tzinfo is None:
            raise ValueError("Send.at needs a time zone, such as datetime.now(UTC) has")
        if self.at is not None or self.valid_for is not None:
            Schedule(start_at=self.at or _EPOCH, valid_for=self.valid_for)
        if self.is_campaign and self.link_id is not None:
            raise ValueError("Send.link_id is good for one message, now: not with others or at")

    @property
    def is_campaign(self) -> bool:
        """True unless it is one message, as soon as possible."""
        return bool(self.others) or self.at is not None or self.valid_for is not None


class Subscribe(msgspec.Struct, frozen=True, kw_only=True, tag="subscribe"):
    """Writes into the subscription book that a person is a subscriber."""

    msisdn: str
    short_code: str | None = None
    service_id: str | None = None
    keyword: str | None = None
    subscriber_ref: str | None = None
    network: str | None = None


class Unsubscribe(msgspec.Struct, frozen=True, kw_only=True, tag="unsubscribe"):
    """Writes into the subscription book that a person is no subscriber any more."""

    msisdn: str
    short_code: str | None = None
    service_id: str | None = None
    keyword: str | None = None
    subscriber_ref: str | None = None
    network: str | None = None
    source: str | None = None
    """The source of the subscription; None: the source of the event."""
    at_provider: bool = False
    """True tells the provider too, if it manages subscriptions."""


class OptOut(msgspec.Struct, frozen=True, tag="opt_out"):
    """Opts a person out of messages: from a short code, about a service, or of all."""

    msisdn: str
    reason: str = ""
    """The reason, for people to read: `STOP`, `network`."""
    short_code: str | None = None
    """Limits it to messages from this short code or number of ours."""
    service_id: str | None = None
    """Limits it to messages about this service."""


class OptIn(msgspec.Struct, frozen=True, tag="opt_in"):
    """Opts a person in again: lifts the opt-outs that forbid these messages."""

    msisdn: str
    reason: str = ""
    """The reason, for people to read: `START`."""
    short_code: str | None = None
    service_id: str | None = None


class Forward(msgspec.Struct, frozen=True, kw_only=True, tag="forward"):
    """Posts the event as CloudEvents JSON to another system."""

    url: str | None = None
    """An address on the internet; requests to it are not signed."""
    target: str | None = None
    """The name of a plugin's `Target` or `Stream`, instead of an address."""

    def __post_init__(self) -> None:
        """Raises ValueError unless exactly one of address and target is given."""
        if (self.url is None) == (self.target is None):
            raise ValueError("Forward needs a url or a target, and not both")


class Flag(msgspec.Struct, frozen=True, tag="flag"):
    """Puts the event on the list for an operator to look at."""

    reason: str


Action = Reply | Send | Subscribe | Unsubscribe | OptOut | OptIn | Forward | Flag
"""An action that a handler can ask for."""
ACTIONS = (Reply, Send, Subscribe, Unsubscribe, OptOut, OptIn, Forward, Flag)


def actions(result: object) -> tuple[Action, ...]:
    """Returns the actions in a handler's return value: None, a text, an action or a list of those.

    Raises TypeError for anything else.
    """
    if result is None:
        return ()
    if isinstance(result, str):
        return (Reply(result),)
    if isinstance(result, ACTIONS):
        return (result,)
    if isinstance(result, list | tuple):
        return tuple(action for item in result for action in actions(item))
    expected = "None, a text, an action or a list of those"
    raise TypeError(f"a handler returns {expected}; this one returned {type(result).__name__}")
