"""Makes messages and changes of subscriptions of the items of pushes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from receiver.errors import Malformed
from receiver.events import EventType, SubscriptionChange
from receiver.events import Message as MessageData
from receiver.providers.contract import Parsed, Provider, Push
from receiver.providers.described import conditions
from receiver.providers.described.compilation import Compilation
from receiver.providers.described.fields import compile_network, compile_text, compile_time, path_of
from receiver.providers.described.grammar import Message, Subscription
from receiver.providers.payloads import as_id, as_number, as_text, as_word
from receiver.repeats import STATE, digested
from receiver.text.keywords import keyword


def message(
    found: Compilation, key: str, table: Message, networks: Mapping[str, str]
) -> Callable[[Provider[Any], Any, Push], Parsed]:
    """Returns what makes the event of somebody who wrote to us."""
    plain = table.text if isinstance(table.text, str) else None
    find = found.values(
        key,
        from_=table.from_,
        to=table.to,
        text=plain,
        id=table.id,
        time=path_of(table.time),
        network=table.network,
        service_id=table.service_id,
        link_id=table.link_id,
    )
    read_text = compile_text(found, f"{key}.text", table.text) if plain is None else None
    read_time = compile_time(found, f"{key}.time", table.time)
    read_network = compile_network(networks)
    find_fields = found.values(f"{key}.fields", **table.fields)
    if table.id is None and table.time is None:
        found.fault(f"{key}.id", "missing: without an id, a time is needed to tell repeats")

    def make(provider: Provider[Any], item: Any, push: Push) -> Parsed:
        from_, to, said, id_, time, network, service_id, link_id = find(item, push)
        sender = as_number(from_)
        if sender is None:
            raise Malformed(f"expected {table.from_}, the sender's number; it is absent")
        text = (as_text(said) if read_text is None else read_text(item, push)) or ""
        external_id = as_word(id_) if table.id is not None else _made_id(sender, text, time)
        if external_id is None:
            raise Malformed(_expected_id(table))
        data = MessageData(
            external_id=external_id,
            from_=provider.person(sender),
            to=provider.address(as_number(to)) if to is not None else None,
            text=text,
            keyword=keyword(text),
            network=read_network(network) if network is not None else None,
            service_id=as_id(service_id) if service_id is not None else None,
            link_id=as_id(link_id) if link_id is not None else None,
            fields=_texts(table.fields, find_fields(item, push)) if table.fields else {},
        )
        return Parsed(
            type=EventType.MESSAGE_RECEIVED,
            data=data,
            key=f"message:{external_id}",
            time=read_time(provider, time, push.received_at),
        )

    return make


def _made_id(sender: str, text: str, time: Any) -> str | None:
    """Makes an id of all that a repeat has in common; None without a time."""
    stamp = as_word(time)
    return digested(sender, text, stamp) if stamp is not None else None


def _expected_id(table: Message) -> str:
    if table.id is not None:
        return f"expected {table.id}, the id of the message; it is absent"
    return f"expected {path_of(table.time)}, without which a repeat cannot be told; it is absent"


def _texts(names: Iterable[str], values: Iterable[Any]) -> dict[str, str]:
    found = zip(names, map(as_text, values), strict=True)
    return {name: text for name, text in found if text is not None}


def subscription(
    found: Compilation, key: str, table: Subscription, networks: Mapping[str, str]
) -> Callable[[Provider[Any], Any, Push], Parsed]:
    """Returns what makes the event of somebody who joined or left a service."""
    find = found.values(
        key,
        msisdn=table.msisdn,
        short_code=table.short_code,
        keyword=table.keyword,
        service_id=table.service_id,
        subscriber_ref=table.subscriber_ref,
        network=table.network,
        id=table.id,
        time=path_of(table.time),
    )
    read_network = compile_network(networks)
    read_time = compile_time(found, f"{key}.time", table.time)
    change = _change(found, key, table)

    def make(provider: Provider[Any], item: Any, push: Push) -> Parsed:
        type_ = change(item, push)
        msisdn, short_code, word, service_id, reference, network, id_, time = find(item, push)
        number = as_number(msisdn)
        if number is None:
            raise Malformed(f"expected {table.msisdn}, the subscriber's number; it is absent")
        data = SubscriptionChange(
            msisdn=provider.person(number),
            short_code=provider.address(as_number(short_code)) if short_code is not None else None,
            keyword=as_word(word),
            service_id=as_id(service_id) if service_id is not None else None,
            subscriber_ref=as_id(reference) if reference is not None else None,
            network=read_network(network) if network is not None else None,
        )
        told = as_id(id_) if id_ is not None else None, as_word(time)
        return Parsed(
            type=type_,
            data=data,
            key=_subscription_key(type_, data, *told),
            time=read_time(provider, time, push.received_at),
        )

    return make


def _subscription_key(
    type_: EventType, data: SubscriptionChange, id_: str | None, time: str | None
) -> str:
    """Without an id and a time it is a repeat if the person's state is that already."""
    about = "\0".join(
        (
            data.service_id or "",
            data.short_code or "",
            data.keyword.casefold() if data.keyword is not None else "",
            data.msisdn,
            data.subscriber_ref or "",
        )
    )
    if id_ is None and time is None:
        return f"{STATE}{digested(about)}"
    return f"subscription:{digested(about, type_, id_ or '', time or '')}"


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
