"""Keeps the subscription book: by what providers push, and by words that people send.

A provider that manages subscriptions pushes who joined and left; all of that goes into the book.
Services of the configuration can be joined and left by messages as well: a message that is nothing
but one of a service's words, `JOIN NEWS` or `Leave news!`, comes before every rule. A bare STOP is
not a service's word but that of `opt_out`.
"""

from __future__ import annotations

from collections.abc import Iterator
from string import Formatter
from typing import Literal

import msgspec

from receiver.handlers import (
    Action,
    Address,
    Context,
    Event,
    EventType,
    Explanation,
    Finding,
    Message,
    Reply,
    SettingsError,
    Subscribe,
    Subscription,
    SubscriptionChange,
    Unsubscribe,
    addresses,
    is_e164,
    on_message,
    on_subscription,
    phrase,
)

#: What a text may name, as in `Welcome to {name}.`
VARIABLES = ("name", "keyword", "msisdn")
#: The words that `opt_out` takes before any service can.
RESERVED = frozenset(
    {
        *("STOP", "STOPALL", "STOP ALL", "UNSUBSCRIBE", "END", "QUIT", "CANCEL"),
        *("START", "UNSTOP"),
    }
)


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """`[[plugins.subscriptions.services]]`. Without a text, the plugin answers nothing."""

    name: str
    """For people: `{name}` in the texts."""
    short_code: Address
    """The short code or number of ours that people write to."""
    service_id: str | None = None
    """The provider's id of the service, where the provider has one."""
    source: str | None = None
    """Only what comes through this source."""
    join: list[str] = []
    leave: list[str] = []
    welcome: str | None = None
    """Default: the plugin's."""
    goodbye: str | None = None
    """Default: the plugin's."""
    already: str | None = None
    """For who is a subscriber already."""
    not_member: str | None = None
    """For who wants to leave and is no subscriber."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`[plugins.subscriptions]`."""

    welcome: str | None = None
    """Sent to who joined; nothing without it."""
    goodbye: str | None = None
    """Sent to who left; nothing without it."""
    services: list[Service] = []


class Word(msgspec.Struct, frozen=True):
    """A word that joins or leaves a service."""

    text: str
    """As it is compared."""
    kind: Literal["join", "leave"]
    service: Service


class State(msgspec.Struct, frozen=True):
    """The services, prepared for looking them up."""

    words: dict[str, list[Word]]
    """By what the whole message is; several where they are of different addresses."""
    beginnings: frozenset[str]
    """First words of all messages that can be one."""
    places: dict[str, frozenset[str]]
    """By a service's `short_code`, all forms of it."""


def setup(settings: Settings) -> State:
    """Raises an `ExceptionGroup` with every word, text and service that cannot work."""
    places: dict[str, frozenset[str]] = {
        service.short_code: addresses(service.short_code) for service in settings.services
    }
    words: dict[str, list[Word]] = {}
    faults = list(_text_faults(settings))
    for n, service in enumerate(settings.services):
        faults += _service_faults(n, settings.services, places)
        for kind, texts in (("join", service.join), ("leave", service.leave)):
            for m, text in enumerate(texts):
                word = Word(phrase(text), "join" if kind == "join" else "leave", service)
                rivals = words.setdefault(word.text, [])
                if message := _word_fault(word, rivals, places):
                    faults.append(SettingsError(f"services[{n}].{kind}[{m}]", message))
                rivals.append(word)
    if faults:
        raise ExceptionGroup("services", faults)
    beginnings = frozenset(text.split(" ")[0] for text in words)
    return State(words=words, beginnings=beginnings, places=places)


@on_subscription(inline=True)
def keep_book(event: Event[SubscriptionChange], context: Context[State]) -> list[Action]:
    """Writes the change into the book, and greets who did not know of it yet."""
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
    service = _service_of(event, context.state, context.settings)
    if text := _greeting(service, context.settings, joined=joined):
        line = _line(event, context, change.msisdn, change.short_code, change.service_id)
        if _news(line, event, joined=joined):
            name = service.name if service else change.keyword or change.service_id or ""
            actions.append(_greet(text, name, change.keyword or "", change.msisdn))
    return actions


@on_message(inline=True, first=True)
def obey_word(event: Event[Message], context: Context[State]) -> list[Action] | None:
    """Books who joins or leaves by a word, and answers."""
    state, message = context.state, event.data
    if message.keyword not in state.beginnings and (message.keyword or "").isalnum():
        return None  # nearly every message ends here
    word = _find(event, state)
    if word is None or not is_e164(message.from_):
        return None
    service, joins = word.service, word.kind == "join"
    line = _line(event, context, message.from_, message.to, service.service_id)
    active = line is not None and line.state == "active"
    text, say = _greeting(service, context.settings, joined=joins), _greet
    if active is joins:
        text, say = (service.already if joins else service.not_member), _tell
    elif not _news(line, event, joined=joins):
        text = None  # a late message: the book knows better
    answer: list[Action] = (
        [] if text is None else [say(text, service.name, word.text, message.from_)]
    )
    managed = _is_managed(service, event, context)
    if joins and managed:
        # Whom the provider takes and charges is up to the provider: it pushes an activation, which
        # is booked and welcomed. Until then nothing else may answer.
        return answer if active and answer else [Reply("")]
    return [_change(event, word, managed=managed), *answer]


def explain(event: Event[Message], context: Context[State]) -> list[Explanation]:
    """Whether the message is a word of a service, and what comes of it."""
    state, found = context.state, _find(event, context.state)
    explanations = []
    for n, service in enumerate(context.settings.services):
        rule = f"services[{n}] {service.name}"
        if found is None or service is not found.service:
            why = _why_not(service, event, state)
            explanations.append(Explanation(rule=rule, verdict="no", why=why))
            continue
        asked = obey_word(event, context)
        if asked is None:
            why = "the sender is no person's number, so there is nobody to join or leave"
            explanations.append(Explanation(rule=rule, verdict="no", why=why))
            continue
        texts = [action.text for action in asked if isinstance(action, Reply)]
        reply = next(filter(None, texts), None)
        why = f"the whole message is {found.text}: the sender wants to {found.kind}"
        if found.kind == "join" and _is_managed(service, event, context):
            why += f", which is for {event.provider} to decide"
        verdict: Literal["answers", "acts"] = "answers" if reply else "acts"
        explanations.append(Explanation(rule=rule, verdict=verdict, why=why, reply=reply))
    return explanations


def lint(context: Context[State]) -> list[Finding]:
    """Warns of words that opt_out takes, services that nobody can leave, unknown sources.

    And of providers that are not told when a subscription ends, since their source has no send.
    """
    findings = []
    for n, service in enumerate(context.settings.services):
        key = f"services[{n}]"
        for kind, texts in (("join", service.join), ("leave", service.leave)):
            for m, text in enumerate(texts):
                if phrase(text) in RESERVED:
                    why = f"{phrase(text)} is a word of opt_out, which takes it for all services"
                    findings.append(Finding(f"{key}.{kind}[{m}]", why))
        if service.join and not service.leave:
            why = f"people can join {service.name} by a word and leave it by none"
            findings.append(Finding(f"{key}.leave", why))
        if service.source is not None and service.source not in context.sources:
            known = ", ".join(sorted(context.sources)) or "none"
            why = f"there is no source {service.source!r}, so nothing comes through it; the sources"
            findings.append(Finding(f"{key}.source", f"{why} are {known}"))
        if service.service_id is not None:
            findings += _untold(key, service, context)
    return findings


def _untold(key: str, service: Service, context: Context[State]) -> list[Finding]:
    """Warns of sources whose provider goes on charging people who left a service here."""
    return [
        Finding(
            f"{key}.service_id",
            f"the provider of {source.name} is not told when somebody leaves {service.name} or"
            f" opts out, and may charge them on: add [sources.{source.name}.send] with its api_key",
        )
        for source in context.sources.values()
        if service.source in (None, source.name)
        and source.keeps_subscriptions
        and not source.manages_subscriptions
    ]


# Finding services


def _find(event: Event[Message], state: State) -> Word | None:
    """The word that the whole message is, of a service that is at the message's address."""
    whole = phrase(event.data.text)
    words = state.words.get(whole) or state.words.get(_without_marks(whole)) or []
    for word in words:
        if _is_at(word.service, event.source_name, event.data.to, state):
            return word
    return None


def _without_marks(whole: str) -> str:
    """`LEAVE NEWS !` without what is no word."""
    return " ".join(word for word in whole.split(" ") if any(map(str.isalnum, word)))


def _is_at(service: Service, source: str, ours: str | None, state: State) -> bool:
    return service.source in (None, source) and ours in state.places[service.short_code]


def _service_of(
    event: Event[SubscriptionChange], state: State, settings: Settings
) -> Service | None:
    change, source = event.data, event.source_name
    for service in settings.services:
        ours = change.short_code or service.short_code
        if service.service_id == change.service_id and _is_at(service, source, ours, state):
            return service
    return None


def _line(
    event: Event[Message] | Event[SubscriptionChange],
    context: Context[State],
    msisdn: str,
    short_code: str | None,
    service_id: str | None,
) -> Subscription | None:
    """What the book says of a person and a service."""
    wanted = (event.source_name, short_code or "", service_id or "")
    for line in context.people.subscriptions(msisdn):
        if (line.source, line.short_code, line.service_id) == wanted:
            return line
    return None


def _news(
    line: Subscription | None,
    event: Event[Message] | Event[SubscriptionChange],
    *,
    joined: bool,
) -> bool:
    """Whether the book changes: not for repeats, nor for what is older than what it says.

    By what the book says now; what shares the commit is known when it is stored (`if_changed`).
    """
    if line is None:
        return True
    written = event.type == EventType.MESSAGE_RECEIVED
    moment = event.receivedat if written else min(event.time, event.receivedat)
    if joined:
        return line.state == "inactive" and moment > line.since
    return line.state == "active" and moment >= line.since


# Acting


def _change(event: Event[Message], word: Word, *, managed: bool) -> Action:
    """Booked even where it changes nothing: an older change that comes later must not win."""
    message, service_id = event.data, word.service.service_id
    if word.kind == "join":
        return Subscribe(
            msisdn=message.from_,
            short_code=message.to,
            service_id=service_id,
            keyword=word.text,
            network=message.network,
        )
    return Unsubscribe(
        msisdn=message.from_,
        short_code=message.to,
        service_id=service_id,
        keyword=word.text,
        network=message.network,
        at_provider=managed,
    )


def _is_managed(service: Service, event: Event[Message], context: Context[State]) -> bool:
    """Whether the provider keeps who is subscribed; it does not know services without its id."""
    source = context.sources.get(event.source_name)
    return service.service_id is not None and source is not None and source.manages_subscriptions


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
    """For who joined or left by this."""
    return Reply(text.format(name=name, keyword=keyword, msisdn=msisdn), if_changed=True)


def _why_not(service: Service, event: Event[Message], state: State) -> str:
    if not _is_at(service, event.source_name, event.data.to, state):
        through = f" through {service.source}" if service.source else ""
        return f"only for messages to {service.short_code}{through}"
    words = ", ".join(map(phrase, [*service.join, *service.leave]))
    return f"the whole message is none of {words}" if words else "no words join or leave it"


# Faults


def _text_faults(settings: Settings) -> Iterator[Exception]:
    texts = {"welcome": settings.welcome, "goodbye": settings.goodbye}
    for n, service in enumerate(settings.services):
        for field in ("welcome", "goodbye", "already", "not_member"):
            texts[f"services[{n}].{field}"] = getattr(service, field)
    for key, text in texts.items():
        if text is not None and (message := _text_fault(text)):
            yield SettingsError(key, message)


def _text_fault(text: str) -> str | None:
    """A text is a format string that can do nothing but name a variable."""
    expected = f"{', '.join(f'{{{name}}}' for name in VARIABLES)}; a brace itself is {{{{ or }}}}"
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        return f"{error}; expected nothing in braces but {expected}"
    for _, field, spec, conversion in parts:
        if field is not None and (field not in VARIABLES or spec or conversion):
            return f"expected nothing in braces but {expected}; got {{{field}}}"
    return None


def _service_faults(
    n: int, services: list[Service], places: dict[str, frozenset[str]]
) -> Iterator[Exception]:
    service = services[n]
    if not service.short_code.strip():
        yield SettingsError(f"services[{n}].short_code", "expected a short code or number of ours")
    for m, other in enumerate(services[:n]):
        if service.service_id == other.service_id and _meet(service, other, places):
            why = f"the same service as services[{m}] {other.name}; tell them apart by service_id"
            yield SettingsError(f"services[{n}]", why)


def _word_fault(word: Word, rivals: list[Word], places: dict[str, frozenset[str]]) -> str | None:
    if not word.text:
        return "expected a word, got an empty text"
    for rival in rivals:
        if _meet(word.service, rival.service, places):
            what = f"a word to {rival.kind} {rival.service.name}"
            return f"{word.text} is {what} already, on {rival.service.short_code}"
    return None


def _meet(one: Service, other: Service, places: dict[str, frozenset[str]]) -> bool:
    """Whether a message can be for both."""
    apart = None not in (one.source, other.source) and one.source != other.source
    return not apart and bool(places[one.short_code] & places[other.short_code])
