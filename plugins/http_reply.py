"""Asks other systems what to reply: an event goes to the first target whose filters it passes."""

from __future__ import annotations

import codecs
from contextlib import AsyncExitStack
from typing import Any, get_args
from urllib.parse import urlsplit

import msgspec

from receiver.handlers import (
    Action,
    Answer,
    Asker,
    Context,
    DeliveryReport,
    Event,
    EventType,
    Explanation,
    Filter,
    Finding,
    HandlerError,
    Message,
    OptOut,
    Reply,
    SettingsError,
    SubscriptionChange,
    TargetSettings,
    asking,
    on_delivery,
    on_message,
    on_subscription,
    target_cautions,
    target_faults,
)

#: What a target may answer with.
_JSON, _TEXT = "application/json", "text/plain"
#: The character sets that an answer may be in, by Python's names; UTF-8 with or without its mark.
_CHARSETS = {
    "utf-8": "utf-8-sig",
    **{name: name for name in ("ascii", "iso8859-1", "iso8859-15", "cp1252")},
}
#: The actions that an answer may ask for, by their `type`.
_ACTIONS: dict[str, type[Action]] = {
    kind.__struct_config__.tag: kind for kind in get_args(Action) if kind is not Reply
}


class ReplyTarget(TargetSettings, frozen=True, kw_only=True):
    """`[[plugins.http_reply.targets]]`: as those of `forward`, but for messages unless it says so.

    A system that replies to everything would else reply to the reports about its replies.
    """

    types: list[str] = msgspec.field(default_factory=lambda: [str(EventType.MESSAGE_RECEIVED)])


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`[plugins.http_reply]`."""

    targets: list[ReplyTarget] = []


class System:
    """A target, with its place in the file and its connections while the service runs."""

    def __init__(self, place: int, settings: ReplyTarget) -> None:
        self.rule = f"targets[{place}] {settings.name}"
        self.host = urlsplit(settings.url).netloc
        self.filter = settings.filter()
        self.target = settings.target()
        self.asker: Asker


class State:
    """The systems, in the order of the file."""

    def __init__(self, systems: list[System]) -> None:
        self.systems = systems
        self.opened = AsyncExitStack()

    def asked(self, event: Event[Any]) -> System | None:
        """Returns the system that decides about an event."""
        return next((system for system in self.systems if system.filter.wants(event)), None)


def setup(settings: Settings) -> State:
    """Returns the systems; nothing is open yet."""
    faults = [SettingsError(key, why) for key, why in target_faults(settings.targets)]
    if faults:
        raise ExceptionGroup("targets", faults)
    return State([System(n, target) for n, target in enumerate(settings.targets)])


async def start(context: Context[State]) -> None:
    """Opens connections to the systems; they are made when they are needed."""
    opened = context.state.opened = AsyncExitStack()
    for system in context.state.systems:
        system.asker = await opened.enter_async_context(asking(system.target))


async def stop(context: Context[State]) -> None:
    """Closes them."""
    await context.state.opened.aclose()


def lint(context: Context[State]) -> list[Finding]:
    """Finds unknown sources, missing signatures or encryption, and replies to reports."""
    targets = context.settings.targets
    found = [Finding(key, why) for key, why in target_cautions(targets, context.sources)]
    for n, target in enumerate(targets):
        if not target.types or EventType.DELIVERY_UPDATED in target.types:
            why = "a reply to a delivery report has a report itself: it must not answer each"
            found.append(Finding(f"targets[{n}].types", why))
    return found


def explain(event: Event[Message], context: Context[State]) -> list[Explanation]:
    """Tells which system decides; it is not asked."""
    asked = context.state.asked(event)
    return [_explanation(system, asked, event) for system in context.state.systems]


def is_asked(event: Event[Any], context: Context[State]) -> bool:
    """True if a system decides about the event."""
    return context.state.asked(event) is not None


@on_message(when=is_asked)
async def ask_about_message(event: Event[Message], context: Context[State]) -> list[Action]:
    """Asks about messages of people."""
    return await _ask(event, context.state)


@on_delivery(when=is_asked)
async def ask_about_report(event: Event[DeliveryReport], context: Context[State]) -> list[Action]:
    """Asks about delivery reports."""
    return await _ask(event, context.state)


@on_subscription(when=is_asked)
async def ask_about_change(
    event: Event[SubscriptionChange], context: Context[State]
) -> list[Action]:
    """Asks about activations and deactivations."""
    return await _ask(event, context.state)


async def _ask(event: Event[Any], state: State) -> list[Action]:
    system = state.asked(event)
    if system is None:  # the settings are others than when the event came
        return []
    answer = await system.asker.ask(event, accept=f"{_JSON}, {_TEXT}")
    try:
        text, wanted = read(answer)
    except ValueError as error:  # a program that is broken now may work in a minute
        raise HandlerError(
            f"target {system.target.name}: its answer cannot be read: {error}"
        ) from None
    return wanted if text is None else [_reply(text, wanted, event, system.rule), *wanted]


def _reply(text: str, wanted: list[Action], event: Event[Any], rule: str) -> Reply:
    """Returns the reply; beside an opt-out of the person it is the confirmation, sent once."""
    leaves = any(isinstance(each, OptOut) and each.msisdn == event.subject for each in wanted)
    return Reply(text, rule=rule, even_if_opted_out=leaves, if_changed=leaves)


def _explanation(system: System, asked: System | None, event: Event[Message]) -> Explanation:
    if system is asked:
        why = f"the system at {system.host} decides; it is not asked now"
        return Explanation(rule=system.rule, verdict="asks", why=why)
    if system.filter.wants(event):
        why = "an earlier target is asked"
    else:
        filters = msgspec.structs.asdict(system.filter)
        unmet = (n for n, value in filters.items() if not Filter(**{n: value}).wants(event))
        why = f"not one of its {' and '.join(unmet)}"
    return Explanation(rule=system.rule, verdict="no", why=why)


# Answers


class JsonAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of an answer in JSON."""

    reply: str | None = None
    """None: no reply, so that a default rule may answer; empty: nobody replies."""
    actions: list[dict[str, Any]] = []


_decoder = msgspec.json.Decoder(JsonAnswer)


def read(answer: Answer) -> tuple[str | None, list[Action]]:
    """Returns the reply in a target's answer, and the actions. Raises ValueError."""
    if not answer.body.strip():
        return None, []
    kind, _, parameters = answer.content_type.partition(";")
    kind = kind.strip().lower()
    if kind not in (_JSON, _TEXT):
        got = f"got {kind[:100]!r}" if kind else "got none"
        raise ValueError(f"expected Content-Type {_TEXT} or {_JSON}, {got}")
    body = _decode(answer.body, parameters)
    if kind == _TEXT:
        return body.strip() or None, []
    try:
        decoded = _decoder.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"{error}") from None
    return decoded.reply, [_action(raw, f"actions[{n}]") for n, raw in enumerate(decoded.actions)]


def _decode(body: bytes, parameters: str) -> str:
    """Returns the text of a body, by the character set of its Content-Type; without one, UTF-8."""
    charset = "utf-8"
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip('"').lower()
    try:
        return body.decode(_CHARSETS[codecs.lookup(charset).name])
    except (LookupError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise ValueError(f"expected text in {charset}, got other bytes") from None
        expected = ", ".join(_CHARSETS)
        raise ValueError(f"expected a charset of {expected}, got {charset[:100]!r}") from None


def _action(raw: dict[str, Any], place: str) -> Action:
    """Returns one action, of which every key is known. Raises ValueError."""
    type_ = raw.get("type")
    kind = _ACTIONS.get(type_) if isinstance(type_, str) else None
    if kind is None:
        raise ValueError(f"{place}.type: expected one of {', '.join(_ACTIONS)}")
    names = ["type", *(field.encode_name for field in msgspec.structs.fields(kind))]
    unknown = [name for name in raw if name not in names]
    if unknown:
        raise ValueError(f"{place}: expected keys of {', '.join(names)}, got {unknown[0][:100]!r}")
    try:
        action: Action = msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise ValueError(f"{place}: {error}") from None
    return action
