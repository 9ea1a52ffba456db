"""Keeps the subscription book: by pushes of providers, and by words that people send.

A provider that manages subscriptions pushes each change; all of them go into the book.
Services of the configuration can be joined and left by messages as well: a message that is nothing
but one of a service's words, `JOIN NEWS` or `Leave news!`, comes before every rule. A bare STOP is
not a service's word but that of `opt_out`.

`settings` is the part of the configuration, `services` finds the service of a message, `book` has
the changes of the book, and `explaining` is for people.
"""

from __future__ import annotations

from receiver.handlers import (
    Action,
    Context,
    Event,
    EventType,
    Explanation,
    Finding,
    Message,
    Reply,
    Subscribe,
    SubscriptionChange,
    Unsubscribe,
    is_e164,
    on_message,
    on_subscription,
)

from . import explaining
from .book import change_of, find_line, is_change, is_managed
from .services import Services, build
from .settings import RESERVED, Service, Settings

__all__ = ["RESERVED", "Service", "Settings", "keep_book", "obey_word"]


def setup(settings: Settings) -> Services:
    """Makes the tables of words. Raises every fault of every service."""
    return build(settings)


@on_subscription(inline=True)
def keep_book(event: Event[SubscriptionChange], context: Context[Services]) -> list[Action]:
    """Writes the change into the book, and greets the person unless the book knew it already."""
    change = event.data
    joined = event.type == EventType.SUBSCRIPTION_ACTIVATED
    record = Subscribe if joined else Unsubscribe
    actions: list[Action] = [
        record(
            msisdn=change.msisdn,
            short_code=change.short_code,
            service_id=change.service_id,
            keyword=change.keyword,
            subscriber_ref=change.subscriber_ref,
            network=change.network,
        )
    ]
    service = context.state.of(event)
    if text := _greeting(service, context.settings, joined=joined):
        line = find_line(event, context, change.msisdn, change.short_code, change.service_id)
        if is_change(line, event, joined=joined):
            name = service.name if service else change.keyword or change.service_id or ""
            actions.append(_greet(text, name, change.keyword or "", change.msisdn))
    return actions


@on_message(inline=True, first=True)
def obey_word(event: Event[Message], context: Context[Services]) -> list[Action] | None:
    """Writes into the book that the sender joins or leaves by a word, and answers."""
    services, message = context.state, event.data
    if message.keyword not in services.beginnings and (message.keyword or "").isalnum():
        return None  # nearly every message ends here
    word = services.find(event)
    if word is None or not is_e164(message.from_):
        return None
    service, joins = word.service, word.kind == "join"
    line = find_line(event, context, message.from_, message.to, service.service_id)
    active = line is not None and line.state == "active"
    text, say = _greeting(service, context.settings, joined=joins), _greet
    if active is joins:
        text, say = (service.already if joins else service.not_member), _tell
    elif not is_change(line, event, joined=joins):
        text = None  # a late message: the book is newer
    answer: list[Action] = (
        [] if text is None else [say(text, service.name, word.text, message.from_)]
    )
    managed = is_managed(service, event, context)
    if joins and managed:
        # Whom the provider takes and charges is up to the provider: it pushes an activation, which
        # is booked and welcomed. Until then nothing else may answer.
        return answer if active and answer else [Reply("")]
    return [change_of(event, word, managed=managed), *answer]


def _greeting(service: Service | None, settings: Settings, *, joined: bool) -> str | None:
    own = None
    if service is not None:
        own = service.welcome if joined else service.goodbye
    if own is not None:
        return own
    return settings.welcome if joined else settings.goodbye


def _tell(text: str, name: str, keyword: str, msisdn: str) -> Reply:
    return Reply(text.format(name=name, keyword=keyword, msisdn=msisdn))


def _greet(text: str, name: str, keyword: str, msisdn: str) -> Reply:
    """Answers a person who joins or leaves by this event."""
    return Reply(text.format(name=name, keyword=keyword, msisdn=msisdn), if_changed=True)


def explain(event: Event[Message], context: Context[Services]) -> list[Explanation]:
    """Says of each service if the message is its word, and the effect."""
    return explaining.explain(event, context, obey_word(event, context))


def lint(context: Context[Services]) -> list[Finding]:
    """Finds services that are allowed and probably a mistake."""
    return explaining.lint(context)
