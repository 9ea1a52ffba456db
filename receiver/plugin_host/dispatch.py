"""Selects the handlers of an event, and calls the inline ones.

Inline handlers are called here, before the event is stored; their actions are part of its commit.
The others become jobs of that commit, which `receiver.jobs.handle` runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
import structlog

from receiver.errors import StoreUnavailable
from receiver.events import Data, Event, EventType
from receiver.extensions.border import as_exception, describe
from receiver.handlers import (
    Action,
    Context,
    Handler,
    HandlerFunction,
    OptIn,
    OptOut,
    Reply,
    Send,
    SourceInfo,
    Subscribe,
    Unsubscribe,
    actions,
)
from receiver.limits import RetryPolicy
from receiver.store import HandleJob, HandlerActions, to_micros
from receiver.text.msisdn import is_decimal, mask, normalise

log = structlog.get_logger("receiver.plugin_host.dispatch")

#: Seconds before each retry of a handler that failed; after the last its job is a dead letter.
PAUSES = (5, 30, 120, 600, 1800, 7200, 21600)
RETRIES = RetryPolicy(PAUSES)


class BoundHandler(msgspec.Struct, frozen=True, kw_only=True):
    """A handler with its plugin's name and context."""

    name: str
    """`plugin.function`, as jobs and logs name it."""
    handler: Handler
    context: Context[Any]

    has_filters: bool
    """True if the handler has filters: it wants only some events of its types."""

    @classmethod
    def of(cls, plugin: str, handler: Handler, context: Context[Any]) -> BoundHandler:
        """Makes it of a handler of a plugin."""
        has_filters = bool(handler.keywords or handler.to or handler.sources or handler.when)
        name = f"{plugin}.{handler.function.__name__}"
        return cls(name=name, handler=handler, context=context, has_filters=has_filters)

    def wants(self, event: Event[Data]) -> bool:
        """True if the event passes all filters of the handler.

        If its plugin's own fails, the handler is called: nothing must be lost by it.
        """
        handler = self.handler
        if not handler.wants(event):
            return False
        if handler.when is None:
            return True
        try:
            return bool(handler.when(event, self.context))
        except StoreUnavailable:
            raise
        except BaseException:
            log.exception("a filter failed", handler=self.name, event_id=event.id)
            return True


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Replies, actions and jobs that are stored with an event."""

    reply: Reply | None = None
    replied_by: str = ""
    handler_actions: tuple[HandlerActions, ...] = ()
    jobs: tuple[HandleJob, ...] = ()


_Callable = tuple[HandlerFunction, Context[Any], BoundHandler]
"""A handler, prepared for the call."""
_NOTHING = Plan()
_encode = msgspec.msgpack.Encoder().encode
_actions = msgspec.msgpack.Decoder(tuple[Action, ...])
#: The fields of actions that hold numbers of people or addresses of ours.
_NUMBERS: dict[type[Action], tuple[str, ...]] = {
    Send: ("to", "sender", "others"),
    Subscribe: ("msisdn", "short_code"),
    Unsubscribe: ("msisdn", "short_code"),
    OptOut: ("msisdn", "short_code"),
    OptIn: ("msisdn", "short_code"),
}


class Dispatcher:
    """The handlers of a configuration, by the types of events that they want."""

    def __init__(self, handlers: Iterable[BoundHandler]) -> None:
        """`handlers` are in the order in which they are called."""
        every = list(handlers)
        self.pushes = 0
        """Under way: these handlers have been, or will be, asked about them."""
        self.by_name = {bound.name: bound for bound in every}
        # Prepared for the call, since every message goes through this.
        self._inline = _by_type([b for b in every if b.handler.inline and not b.handler.last])
        self._last = _by_type([b for b in every if b.handler.inline and b.handler.last])
        self._deferred = {
            type_: [b for b in every if not b.handler.inline and type_ in b.handler.types]
            for type_ in map(str, EventType)
        }

    def plan(self, event: Event[Data]) -> Plan:
        """Calls the inline handlers and makes jobs for the others.

        Raises `StoreUnavailable` if one of them cannot learn what is stored: an answer without it
        might not be true. Whatever else they raise makes a job.
        """
        inline, deferred = self._inline[event.type], self._deferred[event.type]
        last = self._last[event.type]
        if not (inline or deferred or last):
            return _NOTHING
        reply: Reply | None = None
        replied_by = ""
        handler_actions: list[HandlerActions] = []
        jobs: list[HandleJob] = []
        for bound, asked in _results(inline, event, jobs):
            said, others = _parted(asked)
            if said is not None and reply is None:
                reply, replied_by = said, bound.name
            if others:
                handler_actions.append(HandlerActions(handler=bound.name, actions=others))
        jobs += [HandleJob(handler=b.name) for b in deferred if b.wants(event)]
        if reply is None and last:
            for bound, asked in _results(last, event, jobs):
                said, others = _parted(asked)
                if jobs:  # others are asked first; then it is asked again, being pure
                    jobs.append(HandleJob(handler=bound.name))
                    continue
                if said is not None and reply is None:
                    reply, replied_by = said, bound.name
                if others:
                    handler_actions.append(HandlerActions(handler=bound.name, actions=others))
        return Plan(
            reply=reply,
            replied_by=replied_by,
            handler_actions=tuple(handler_actions),
            jobs=tuple(jobs),
        )


def _by_type(handlers: list[BoundHandler]) -> dict[str, list[_Callable]]:
    return {
        type_: [(b.handler.function, b.context, b) for b in handlers if type_ in b.handler.types]
        for type_ in map(str, EventType)
    }


def _results(
    handlers: list[_Callable], event: Event[Data], jobs: list[HandleJob]
) -> Iterator[tuple[BoundHandler, tuple[Action, ...]]]:
    """Calls inline handlers, and yields what they ask for. One that fails becomes a job."""
    for function, context, bound in handlers:
        if bound.has_filters and not bound.wants(event):
            continue
        try:
            result = function(event, context)
            if result is None:  # the usual case
                continue
            asked = asked_for(result, event, context.sources)
        except StoreUnavailable:  # the push comes again
            raise
        except BaseException as raised:
            error = as_exception(raised)
            log.exception("handler failed", handler=bound.name, event_id=event.id)
            jobs.append(_failed(bound, event, error))
            continue
        yield bound, asked


def _parted(asked: tuple[Action, ...]) -> tuple[Reply | None, tuple[Action, ...]]:
    """Returns the first reply among actions, and those that are none."""
    if len(asked) == 1 and type(asked[0]) is Reply:  # most results
        return asked[0], ()
    reply = next((action for action in asked if isinstance(action, Reply)), None)
    return reply, tuple(action for action in asked if not isinstance(action, Reply))


def asked_for(
    result: object, event: Event[Data], sources: Mapping[str, SourceInfo]
) -> tuple[Action, ...]:
    """Returns the actions in a handler's return value, with normalised numbers.

    Raises for values that can be neither stored nor sent: Structs do not check their fields, so a
    text may be None, bytes or invalid Unicode. The handler must fail, not the commit.
    """
    if (
        type(result) is Reply
        and type(result.text) is type(result.rule) is str
        and result.text.isascii()
        and result.rule.isascii()
    ):
        return (result,)  # most results; it cannot be wrong
    asked = _actions.decode(_encode(actions(result)))
    return tuple([_normalised(action, event, sources) for action in asked])


def _normalised(action: Action, event: Event[Data], sources: Mapping[str, SourceInfo]) -> Action:
    """Returns the action with E.164 numbers, by the region of its own source or the event's."""
    names = _NUMBERS.get(type(action))
    if names is None:
        return action
    source = sources.get(getattr(action, "source", None) or event.source_name)
    region = source.region if source is not None else None
    changed: dict[str, str | tuple[str, ...]] = {}
    for name in names:
        given = getattr(action, name)
        if not given:
            continue
        where = f"{type(action).__name__}.{name}"
        number: str | tuple[str, ...] = (
            tuple([_number(each, region, where) for each in given])
            if isinstance(given, tuple)
            else _number(given, region, where)
        )
        if number != given:
            changed[name] = number
    return msgspec.structs.replace(action, **changed) if changed else action


def _number(given: str, region: str | None, where: str) -> str:
    """Returns a number in E.164. Raises ValueError for a program's decimal."""
    number = normalise(given, region)
    if not number.removeprefix("+").isdigit() and is_decimal(number):
        raise ValueError(f"{where}: expected a number in digits, got the decimal {mask(given)}")
    return number


def _failed(bound: BoundHandler, event: Event[Data], error: Exception) -> HandleJob:
    """An inline handler failed: it is tried again in the background."""
    due = RETRIES.next(1, event.receivedat)
    assert due is not None
    return HandleJob(handler=bound.name, attempts=1, due_at=to_micros(due), error=describe(error))
