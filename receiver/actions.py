"""The actions that a handler can ask for. The store and the outbox do them, once.

Handlers import these from `receiver.handlers`.
"""

from __future__ import annotations

import msgspec

from receiver.outgoing import OutgoingMessage


class Reply(msgspec.Struct, frozen=True, tag="reply"):
    """Answers the person the event is about.

    In the HTTP answer where the provider takes one and it is ready in time, otherwise
    through the provider's send API; never both. The first reply to an event is the reply.
    An empty text is a reply too: it keeps every later handler from answering.
    """

    text: str
    even_if_opted_out: bool = False
    """For the confirmation of an opt-out, and nothing else."""
    if_changed: bool = False
    """Only if something changes by what the handler asks for beside it: a subscription, an opt-out
    or an opt-in. Otherwise nobody replies. It is found out when that is done, so of two STOPs that
    come together one is confirmed."""


SILENCE = Reply("")
"""In the place of a reply that must not be given: nothing now, and nothing later either."""


class Send(OutgoingMessage, frozen=True, kw_only=True, tag="send"):
    """Sends a message through a source's API, to anybody."""

    source: str | None = None
    """Default: the source of the event."""


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
    """Where the subscription is; default: the source of the event."""
    at_provider: bool = False
    """Tell the provider too, if the provider manages subscriptions."""


class OptOut(msgspec.Struct, frozen=True, tag="opt_out"):
    """This person must not be messaged any more: by a short code, about a service, or at all."""

    msisdn: str
    reason: str = ""
    """The reason, for people to read: `STOP`, `network`."""
    short_code: str | None = None
    """By this short code or number of ours only."""
    service_id: str | None = None
    """About this service only."""


class OptIn(msgspec.Struct, frozen=True, tag="opt_in"):
    """This person may be messaged again. What stands in the way of that is taken back."""

    msisdn: str
    reason: str = ""
    """Why: `START`."""
    short_code: str | None = None
    service_id: str | None = None


class Forward(msgspec.Struct, frozen=True, kw_only=True, tag="forward"):
    """Posts the event as CloudEvents JSON to another system."""

    url: str | None = None
    """An address on the internet; signed by nobody."""
    target: str | None = None
    """Instead of an address: the name of a `Target` of a plugin."""

    def __post_init__(self) -> None:
        """Raises ValueError unless it is clear where to."""
        if (self.url is None) == (self.target is None):
            raise ValueError("Forward needs a url or a target, and not both")


class Flag(msgspec.Struct, frozen=True, tag="flag"):
    """Puts the event on the list of those that a person should look at."""

    reason: str


Action = Reply | Send | Subscribe | Unsubscribe | OptOut | OptIn | Forward | Flag
"""What a handler can ask for."""
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
