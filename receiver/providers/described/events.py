"""Makes messages and changes of subscriptions of the items of pushes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

from receiver.errors import Malformed
from receiver.events import EventType, SubscriptionChange
from receiver.events import Message as MessageData
from receiver.providers.contract import Parsed, Provider, Push
from receiver.providers.described import conditions
from receiver.providers.described.compilation import Compilation
from receiver.providers.described.fields import compile_network, compile_text, compile_time
from receiver.providers.described.push_grammar import Message, Subscription, Time
from receiver.providers.payloads import as_id, as_number, as_text, as_word
from receiver.repeats import STATE
from receiver.text.keywords import fold, keyword


def message(
    found: Compilation, key: str, table: Message, networks: Mapping[str, str]
) -> Callable[[Provider[Any], Any, Push], Parsed]:
    """Returns what makes the event of somebody who wrote to us."""
    identify = _message_id(found, key, table)
    from_, to = found.path(f"{key}.from", table.from_), found.path(f"{key}.to", table.to)
    read_text = compile_text(found, f"{key}.text", table.text)
    read_time = compile_time(found, f"{key}.time", table.time)
    network = compile_network(found, f"{key}.network", table.network, networks)
    service_id = found.path(f"{key}.service_id", table.service_id)
    link_id = found.path(f"{key}.link_id", table.link_id)
    fields = {name: found.path(f"{key}.fields.{name}", path) for name, path in table.fields.items()}

    def make(provider: Provider[Any], item: Any, push: Push) -> Parsed:
        sender = as_number(from_(item, push))
        if sender is None:
            raise Malformed(f"expected {table.from_}, the sender's number; it is absent")
        text = read_text(item, push) or ""
        external_id = identify(item, push, sender, text)
        given = {name: as_text(get(item, push)) for name, get in fields.items()} if fields else {}
        data = MessageData(
            external_id=external_id,
            from_=provider.person(sender),
            to=provider.address(as_number(to(item, push))),
            text=text,
            keyword=keyword(text),
            network=network(item, push),
            service_id=as_id(service_id(item, push)),
            link_id=as_id(link_id(item, push)),
            fields={name: value for name, value in given.items() if value is not None},
        )
        return Parsed(
            type=EventType.MESSAGE_RECEIVED,
            data=data,
            key=f"message:{external_id}",
            time=read_time(provider, item, push),
        )

    return make


def _message_id(
    found: Compilation, key: str, table: Message
) -> Callable[[Any, Push, str, str], str]:
    """Returns what finds the id of a message, or makes one of all that a repeat has in common."""
    if table.id is not None:
        get = found.path(f"{key}.id", table.id)

        def given(item: Any, push: Push, _sender: str, _text: str) -> str:
            id_ = as_word(get(item, push))
            if id_ is None:
                raise Malformed(f"expected {table.id}, the id of the message; it is absent")
            return id_

        return given
    if table.time is None:
        found.fault(f"{key}.id", "missing: without an id, a time is needed to tell repeats")
    stamp, path = _stamp(found, key, table.time)

    def made(item: Any, push: Push, sender: str, text: str) -> str:
        time = stamp(item, push)
        if time is None:
            raise Malformed(f"expected {path}, without which a repeat cannot be told; it is absent")
        return hashed(sender, text, time)

    return made


def subscription(
    found: Compilation, key: str, table: Subscription, networks: Mapping[str, str]
) -> Callable[[Provider[Any], Any, Push], Parsed]:
    """Returns what makes the event of somebody who joined or left a service."""
    get_msisdn = found.path(f"{key}.msisdn", table.msisdn)
    short_code = found.path(f"{key}.short_code", table.short_code)
    get_keyword = found.path(f"{key}.keyword", table.keyword)
    service_id = found.path(f"{key}.service_id", table.service_id)
    reference = found.path(f"{key}.subscriber_ref", table.subscriber_ref)
    network = compile_network(found, f"{key}.network", table.network, networks)
    get_id = found.path(f"{key}.id", table.id)
    read_time = compile_time(found, f"{key}.time", table.time)
    stamp, _ = _stamp(found, key, table.time)
    change = _change(found, key, table)

    def make(provider: Provider[Any], item: Any, push: Push) -> Parsed:
        type_ = change(item, push)
        number = as_number(get_msisdn(item, push))
        if number is None:
            raise Malformed(f"expected {table.msisdn}, the subscriber's number; it is absent")
        data = SubscriptionChange(
            msisdn=provider.person(number),
            short_code=provider.address(as_number(short_code(item, push))),
            keyword=as_word(get_keyword(item, push)),
            service_id=as_id(service_id(item, push)),
            subscriber_ref=as_id(reference(item, push)),
            network=network(item, push),
        )
        service = (data.service_id, data.short_code, fold(data.keyword or ""))
        about = hashed(*service, data.msisdn, data.subscriber_ref)
        told = as_id(get_id(item, push)), stamp(item, push)
        # Without an id and a time it is a repeat if the person's state is that already.
        known_by = f"subscription:{hashed(about, type_, *told)}" if any(told) else f"{STATE}{about}"
        return Parsed(
            type=type_,
            data=data,
            key=known_by,
            time=read_time(provider, item, push),
        )

    return make


def _change(found: Compilation, key: str, table: Subscription) -> Callable[[Any, Push], EventType]:
    """Returns what tells whether somebody joined or left."""
    joined, joins = found.conditions(f"{key}.activated", table.activated)
    left, leaves = found.conditions(f"{key}.deactivated", table.deactivated)
    if not conditions.exclude_each_other(joined, left):
        found.fault(f"{key}.deactivated", "a push may be this and `activated` at once")
    said = f"{conditions.shown(joined)} (activated) or {conditions.shown(left)} (deactivated)"

    def change(item: Any, push: Push) -> EventType:
        if joins is not None and joins(item, push):
            return EventType.SUBSCRIPTION_ACTIVATED
        if leaves is not None and leaves(item, push):
            return EventType.SUBSCRIPTION_DEACTIVATED
        raise Malformed(f"expected {said}; it is neither")

    return change


def _stamp(
    found: Compilation, key: str, time: str | Time | None
) -> tuple[Callable[[Any, Push], str | None], str]:
    """Returns what finds a time as it is written, and its path."""
    path = time.path if isinstance(time, Time) else time
    get = found.path(f"{key}.time", path)
    return lambda item, push: as_word(get(item, push)), path or "time"


def hashed(*parts: str | None) -> str:
    """Digests parts of a key: it outlives its event, and must not tell whose that was."""
    data = "\0".join(part or "" for part in parts).encode("utf-8", "surrogatepass")
    return blake2b(data, digest_size=16).hexdigest()
