"""`receiver explain`."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any

import msgspec
import typer

from receiver.cli import screen
from receiver.cli.options import ConfigFile, Json, normalised
from receiver.cli.preparing import prepare
from receiver.errors import ConfigError, Fault
from receiver.events import Event, EventType, Message, utc_now
from receiver.handlers import Explanation
from receiver.plugin_host.dispatch import Plan
from receiver.plugin_host.loader import explanations
from receiver.service.parts import Parts
from receiver.store import open_reader, to_micros
from receiver.store.ids import EventIds
from receiver.text.keywords import keyword

_SOMEBODY = {"KE": "+254712345678", "GB": "+447777777777"}


def command(
    text: Annotated[str, typer.Argument(help="The message, exactly as somebody would type it.")],
    *,
    to: Annotated[str, typer.Option(metavar="ADDRESS", help="Our short code or number.")],
    from_: Annotated[str | None, typer.Option("--from", metavar="N", help="The sender.")] = None,
    source: Annotated[
        str | None, typer.Option(help="The source it comes through; default: the first.")
    ] = None,
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Which rule answers a message, and why the others do not."""
    parts = prepare(config)
    event = _event(parts, text, to, from_, source)
    explained = [
        (plugin.name, explanation)
        for plugin in parts.plugins
        for explanation in explanations(plugin, event)
    ]
    plan = parts.dispatcher.plan(event)
    since = asyncio.run(_opted_out(parts, event)) if from_ else None
    withheld = bool(since and plan.reply and not plan.reply.even_if_opted_out)
    outcome = _outcome(plan, event, since if withheld else None)
    if json:
        screen.json_lines({"plugin": name, **msgspec.structs.asdict(e)} for name, e in explained)
        screen.json_lines([outcome])
        return
    _show(explained, outcome)


def _event(
    parts: Parts, text: str, to: str, from_: str | None, wanted: str | None
) -> Event[Message]:
    name = wanted if wanted is not None else next(iter(parts.providers), None)
    if name is None or name not in parts.providers:
        key = f"sources.{name}" if name else "sources"
        raise ConfigError([Fault(key, "no such source")], str(parts.config.file))
    provider, now = parts.providers[name], utc_now()
    sender = normalised(from_, parts.config, name) or _SOMEBODY.get(
        provider.region, "+254712345678"
    )
    ours = normalised(to, parts.config, name)
    message = Message(
        external_id="explain", from_=sender, to=ours, text=text, keyword=keyword(text)
    )
    ids = EventIds(0)
    return Event(
        id=ids.text(ids.next(to_micros(now))),
        source=f"/sources/{name}",
        type=EventType.MESSAGE_RECEIVED,
        time=now,
        subject=sender,
        provider=provider.name,
        receivedat=now,
        data=message,
    )


async def _opted_out(parts: Parts, event: Event[Message]) -> datetime | None:
    """Since when the sender must not be messaged; the store is asked only if there is one."""
    path = parts.config.store_path
    if not path.is_file():
        return None
    async with open_reader(path) as reader:
        found = await reader.opt_outs.blocking(
            event.data.from_, sender=event.data.to, service_id=event.data.service_id
        )
    return found.time if found else None


def _outcome(plan: Plan, event: Event[Message], since: datetime | None) -> dict[str, Any]:
    return {
        "from": event.data.from_,
        "keyword": event.data.keyword,
        "reply": plan.reply.text if plan.reply else None,
        "replied_by": plan.replied_by or None,
        "withheld_since": since,
        "later": [job.handler for job in plan.jobs],
    }


def _show(explained: list[tuple[str, Explanation]], outcome: dict[str, Any]) -> None:
    titles = ("PLUGIN", "RULE", "VERDICT", "WHY", "REPLY")
    rows = [(name, e.rule, e.verdict, e.why, e.reply) for name, e in explained]
    screen.table(titles, rows, nothing="no plugin explains itself")
    print()
    later = ", ".join(outcome["later"])
    reply = "none now, perhaps later" if later else "none"
    if outcome["reply"] is not None:
        reply = f"{outcome['reply']!r} by {outcome['replied_by']}"
    if since := outcome["withheld_since"]:
        reply = f"{reply}, but withheld: the sender opted out on {screen.time(since)} UTC"
    pairs = (("keyword", outcome["keyword"]), ("reply", reply), ("asked later", later or None))
    screen.details(pairs)
