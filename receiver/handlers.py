"""The interface of plugins, which import only this module of sms-receiver.

Its tests use `receiver.testing`; docs/plugins.md is the guide to both.

A plugin is one Python file. It decorates functions that take an event and return the actions
that they ask for; the service carries them out:

    from receiver.handlers import Context, Event, Message, on_message

    @on_message(keyword="BALANCE")
    async def balance(event: Event[Message], context: Context) -> str:
        amount = await ask_the_ledger(event.data.from_)
        return f"Your balance is {amount}"

A handler may be `async def` or `def`. It returns None (nothing to do), a text (a reply to
the sender of a message), one of the actions below, or a list of those. The actions are
committed together with the mark that the event is handled: all of it, once. A handler that
raises is tried again later, with growing pauses, and then becomes a dead letter.

Besides decorated functions a plugin file may have:

- `class Settings(msgspec.Struct, …)`: its part of the configuration, `[plugins.NAME]`.
  Wrong settings are refused at start and by `receiver check`.
- `def setup(settings) -> state`: called once when the plugin is loaded; its result is
  `context.state`. It raises `SettingsError` for settings that cannot work, or an
  `ExceptionGroup` of them to name every fault at once.
- `def explain(event, context) -> list[Explanation]`: the lines that `receiver explain` shows.
- `def lint(context) -> list[Finding]`: the warnings of `receiver check`, about settings that are
  allowed and probably a mistake.
- `def start(context)`, `def stop(context)`, plain or `async`: called before the first event and
  after the last, on the event loop of the handlers. A reload starts the new plugins before it
  stops the old ones. A `start` that raises or takes longer than 30 seconds keeps the
  service from starting; a `stop` has 5 seconds.
- `def targets(settings) -> list[Target | Stream]`: what `Forward(target=…)` can name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeVar, cast, overload

import msgspec

from receiver.actions import (
    Action,
    Flag,
    Forward,
    OptIn,
    OptOut,
    Reply,
    Send,
    Subscribe,
    Unsubscribe,
    actions,
)
from receiver.config.convert import Address, Network, Secret
from receiver.config.filters import Filter, addresses, has_keyword
from receiver.errors import HandlerError
from receiver.events import (
    DeliveryReport,
    Event,
    EventType,
    Message,
    Status,
    SubscriptionChange,
)
from receiver.net.asking import Asker, asking
from receiver.net.filtered import target_cautions, target_faults
from receiver.net.streams import Stream
from receiver.net.targets import Answer, Target, TargetSettings
from receiver.people import Nobody, People, Subscription
from receiver.text.keywords import fold, keyword, phrase, plain, split, words
from receiver.text.msisdn import is_e164
from receiver.text.sms_length import Segments, beyond_gsm7, segments

__all__ = [
    "Action",
    "Address",
    "Answer",
    "Asker",
    "Context",
    "DeliveryReport",
    "Event",
    "EventType",
    "Explanation",
    "Filter",
    "Finding",
    "Flag",
    "Forward",
    "Handler",
    "HandlerError",
    "HandlerFunction",
    "Message",
    "Network",
    "OptIn",
    "OptOut",
    "People",
    "Reply",
    "Secret",
    "Segments",
    "Send",
    "SettingsError",
    "SourceInfo",
    "Status",
    "Stream",
    "Subscribe",
    "Subscription",
    "SubscriptionChange",
    "Target",
    "TargetSettings",
    "Unsubscribe",
    "actions",
    "addresses",
    "asking",
    "beyond_gsm7",
    "fold",
    "has_keyword",
    "is_e164",
    "keyword",
    "on_delivery",
    "on_message",
    "on_subscription",
    "phrase",
    "plain",
    "segments",
    "split",
    "target_cautions",
    "target_faults",
    "words",
]

StateT = TypeVar("StateT")


class SettingsError(ValueError):
    """Raised by `setup` for settings that are well-formed but cannot work.

    `key` is the setting below the plugin's own table: `rules[2].reply`; empty for the table.
    """

    def __init__(self, key: str, message: str) -> None:
        self.key = key
        self.message = message
        super().__init__(f"{key}: {message}" if key else message)


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `receiver explain`: a rule, and its verdict on a message."""

    rule: str
    """Its place in the configuration: `rules[3] GAME`."""
    verdict: Literal["answers", "acts", "asks", "no"]
    """`asks`: another system decides."""
    why: str
    reply: str | None = None
    """The text it answers with."""


class Finding(msgspec.Struct, frozen=True):
    """A warning of `receiver check`."""

    key: str
    """The setting below the plugin's own table: `rules[2].reply`."""
    message: str


class SourceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The properties of a source that a plugin can use."""

    name: str
    provider: str
    max_reply: int | None = None
    """The most characters in one message that its provider takes; None if that is unknown."""
    manages_subscriptions: bool = False
    """True if it can end a subscription (`Unsubscribe.at_provider`)."""
    keeps_subscriptions: bool = False
    """True if its provider keeps the list of subscribers, and charges them by it."""
    region: str | None = None
    """The region of numbers without a country code, `KE`: in its pushes, and in actions for its
    events."""


def _logger() -> Any:
    import structlog  # noqa: PLC0415 - takes longer to import than everything else here

    return structlog.get_logger()


class Context(msgspec.Struct, Generic[StateT], frozen=True, kw_only=True):
    """The second parameter of a handler: its settings, state and tools."""

    plugin: str
    settings: Any
    """The plugin's `Settings`, or None without them."""
    state: StateT
    """The result of the plugin's `setup`, or None without it."""
    people: People = Nobody()
    """Asks the store about a person."""
    sources: dict[str, SourceInfo] = {}
    """The sources of the configuration by name."""
    log: Any = msgspec.field(default_factory=_logger)
    """A structlog logger. Never give it a message's text or a full number."""
    folder: Path = Path("data")

    @property
    def data(self) -> Path:
        """Returns the plugin's own folder, and makes it the first time.

        It is beside the store, and `receiver backup` copies it with the store.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self.folder


HandlerFunction = Callable[..., Any]
"""`def` or `async def` with the parameters (event, context); `actions` lists its results."""
FunctionT = TypeVar("FunctionT", bound=HandlerFunction)


class Handler(Filter, frozen=True, kw_only=True):
    """A decorated function and its filters."""

    function: HandlerFunction
    inline: bool
    first: bool
    last: bool
    when: HandlerFunction | None = None
    """A filter of the plugin's own."""

    @property
    def is_async(self) -> bool:
        """True if it is awaited, False if it is called in a thread."""
        return inspect.iscoroutinefunction(self.function)


FiltersP = ParamSpec("FiltersP")


class Decorator(Protocol[FiltersP]):
    """A decorator of handlers, with filters or bare: `@on_message`."""

    @overload
    def __call__(self, function: FunctionT, /) -> FunctionT: ...
    @overload
    def __call__(
        self, *args: FiltersP.args, **filters: FiltersP.kwargs
    ) -> Callable[[FunctionT], FunctionT]: ...


def _also_bare(
    register: Callable[FiltersP, Callable[[HandlerFunction], HandlerFunction]],
) -> Decorator[FiltersP]:
    @wraps(register)
    def decorator(function: Any = None, /, **filters: Any) -> Any:
        made: Any = register(**filters)  # type: ignore[call-arg] # filters have names alone
        if function is None:
            return made
        if not callable(function):
            word = register.__name__
            raise TypeError(f"@{word}: a filter has a name: @{word}(keyword={function!r})")
        return made(function)

    return cast("Decorator[FiltersP]", decorator)


@_also_bare
def on_message(
    *,
    keyword: str | Iterable[str] = (),
    to: str | Iterable[str] = (),
    source: str | Iterable[str] = (),
    when: HandlerFunction | None = None,
    inline: bool = False,
    first: bool = False,
    last: bool = False,
) -> Callable[[FunctionT], FunctionT]:
    """Registers a handler of messages that people send us.

    Without filters it gets all messages; else those whose first word is one of `keyword`, sent to
    one of `to` (numbers without a country code: of the regions of the sources), through one of
    `source`. `when` is a filter of the plugin's own, for what its settings say: a function of event
    and context, as pure and quick as an inline handler, called for what passes the others.

    `inline` is for pure functions that take microseconds, such as a look into rules: they
    run before the event is stored and share its commit. They must be `def`, do no I/O and
    read no clock. `first` puts a handler before all that are not. `last` puts it behind all others,
    inline or not: it is asked only if none of them replied, and none is left that is tried again.
    """
    types = [EventType.MESSAGE_RECEIVED]
    filter_ = Filter.of(types=types, keywords=keyword, to=to, sources=source)
    return _decorator(filter_, when=when, inline=inline, first=first, last=last)


@_also_bare
def on_delivery(
    *,
    source: str | Iterable[str] = (),
    when: HandlerFunction | None = None,
    inline: bool = False,
    first: bool = False,
) -> Callable[[FunctionT], FunctionT]:
    """Registers a handler of delivery reports. `when`, `inline`, `first`: see `on_message`."""
    filter_ = Filter.of(types=[EventType.DELIVERY_UPDATED], sources=source)
    return _decorator(filter_, when=when, inline=inline, first=first)


@_also_bare
def on_subscription(
    *,
    keyword: str | Iterable[str] = (),
    to: str | Iterable[str] = (),
    source: str | Iterable[str] = (),
    when: HandlerFunction | None = None,
    inline: bool = False,
    first: bool = False,
) -> Callable[[FunctionT], FunctionT]:
    """Registers a handler of activations and deactivations; `event.type` tells which.

    Filters, `when`, `inline` and `first`: see `on_message`.
    """
    types = [EventType.SUBSCRIPTION_ACTIVATED, EventType.SUBSCRIPTION_DEACTIVATED]
    filter_ = Filter.of(types=types, keywords=keyword, to=to, sources=source)
    return _decorator(filter_, when=when, inline=inline, first=first)


#: The attribute in which a decorator stores the `Handler` for the loader.
MARK = "__receiver_handler__"


def _decorator(
    filter_: Filter,
    *,
    when: HandlerFunction | None,
    inline: bool,
    first: bool,
    last: bool = False,
) -> Callable[[FunctionT], FunctionT]:
    def decorate(function: FunctionT) -> FunctionT:
        _refuse(function)
        handler = Handler(
            **msgspec.structs.asdict(filter_),
            function=function,
            when=when,
            inline=inline,
            first=first,
            last=last,
        )
        setattr(function, MARK, handler)
        return function

    return decorate


def _refuse(function: HandlerFunction) -> None:
    """Raises TypeError for a function that the loader would miss or find twice.

    Jobs name their handler, so each name must be that of one function.
    """
    name = getattr(function, "__qualname__", "")
    if "." in name and not name.rpartition(".")[0].endswith("<locals>"):
        raise TypeError(f"{name} is in a class; a handler is a function at the top of its file")
    earlier = getattr(function, "__globals__", {}).get(name)
    if hasattr(function, MARK):
        raise TypeError(f"{name} is decorated twice; let two handlers call a common function")
    if hasattr(earlier, MARK):
        raise TypeError(f"{name} is the second handler of that name; the first would never run")
