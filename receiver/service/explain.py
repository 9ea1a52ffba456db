"""Shows which rule answers a message, and why the others do not; changes nothing."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from receiver.errors import ConfigError, Fault
from receiver.events import Event, EventType, Message, utc_now
from receiver.handlers import Explanation
from receiver.plugin_host.loader import explanations
from receiver.service.numbers import parse_number
from receiver.service.parts import Parts
from receiver.store import open_reader, to_micros
from receiver.store.engine import engine_of
from receiver.store.ids import EventIds
from receiver.text.keywords import keyword

#: By region: who sends the message if nobody is named.
_EXAMPLE_SENDERS = {"KE": "+254712345678", "GB": "+447777777777"}


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """The handlers' answer to a message, rule by rule."""

    rules: list[tuple[str, Explanation]]
    """Each with the name of its plugin."""
    sender: str
    keyword: str | None
    reply: str | None
    replied_by: str | None
    withheld_since: datetime | None
    """When the sender opted out, if the reply is not sent because of that."""
    later: list[str]
    """Handlers that are called in the background."""

    def outcome(self) -> dict[str, Any]:
        """Returns all but the rules, as fields for JSON."""
        fields = msgspec.structs.asdict(self)
        del fields["rules"]
        return {"from": fields.pop("sender"), **fields}


async def explain(
    parts: Parts, text: str, to: str, sender: str | None = None, source: str | None = None
) -> Explained:
    """Has the handlers look at a message to our address `to`.

    `source`: the first of the configuration if there is none. Raises `ConfigError`,
    `InvalidInput` or `StoreError`.
    """
    event = _event(parts, text, to, sender, source)
    rules = [
        (plugin.name, explanation)
        for plugin in parts.plugins
        for explanation in explanations(plugin, event)
    ]
    plan = parts.dispatcher.plan(event)
    since = await _opted_out_since(parts, event) if sender else None
    withheld = plan.reply is not None and not plan.reply.even_if_opted_out
    return Explained(
        rules=rules,
        sender=event.data.from_,
        keyword=event.data.keyword,
        reply=plan.reply.text if plan.reply else None,
        replied_by=plan.replied_by or None,
        withheld_since=since if withheld else None,
        later=[job.handler for job in plan.jobs],
    )


def _event(
    parts: Parts, text: str, to: str, sender: str | None, source: str | None
) -> Event[Message]:
    name = source if source is not None else next(iter(parts.providers), None)
    if name is None or name not in parts.providers:
        key = f"sources.{name}" if name else "sources"
        raise ConfigError([Fault(key, "no such source")], str(parts.config.file))
    provider, now = parts.providers[name], utc_now()
    example = _EXAMPLE_SENDERS.get(provider.region, "+254712345678")
    from_ = parse_number(sender, parts.config, name) if sender else example
    message = Message(
        external_id="explain",
        from_=from_,
        to=parse_number(to, parts.config, name),
        text=text,
        keyword=keyword(text),
    )
    ids = EventIds(0)
    return Event(
        id=ids.text(ids.next(to_micros(now))),
        source=f"/sources/{name}",
        type=EventType.MESSAGE_RECEIVED,
        time=now,
        subject=from_,
        provider=provider.name,
        receivedat=now,
        data=message,
    )


async def _opted_out_since(parts: Parts, event: Event[Message]) -> datetime | None:
    store = parts.config.store_address
    if not engine_of(store).exists():
        return None
    async with open_reader(store) as reader:
        found = await reader.opt_outs.blocking(
            event.data.from_, sender=event.data.to, service_id=event.data.service_id
        )
    return found.time if found else None
