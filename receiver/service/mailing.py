"""Makes the messages of a campaign, before anything is stored: texts, faults, parts and cost."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from receiver.config import Config
from receiver.errors import InvalidInput, ProviderError
from receiver.outgoing import OutgoingMessage
from receiver.people import People
from receiver.plugin_host import files
from receiver.providers.contract import Api
from receiver.service.recipients import Recipient
from receiver.service.send import compose
from receiver.store import Reader
from receiver.store.campaigns import Person
from receiver.text.sms_length import beyond_gsm7, segments

#: The plugin whose templates are those of campaigns too: the same sandbox, filters and limits.
_RULES = "keyword_reply"
#: Messages in which the last price is looked for.
_PRICED = 20

Render = Callable[[Recipient], str]


class Mailing(msgspec.Struct):
    """The messages of a campaign."""

    people: list[Person] = []
    faults: list[str] = []
    """Why lines cannot be used, a line each."""
    repeated: int = 0
    """People who were named more than once; they are in `people` once."""
    opted_out: list[str] = []
    """People in `people` who have opted out by now."""
    parts: Counter[tuple[str, int]] = msgspec.field(default_factory=Counter)
    """How many messages take so many parts, by alphabet."""
    strange: dict[str, None] = {}
    """Characters that GSM-7 lacks."""

    @property
    def all_parts(self) -> int:
        """The parts of all messages together, which networks charge for."""
        return sum(parts * count for (_, parts), count in self.parts.items())


def constant(text: str) -> Render:
    """Returns what makes the same text for all."""
    return lambda _: text


def template(source: str, columns: Collection[str], now: datetime, zone: ZoneInfo) -> Render:
    """Returns what makes the text of each person. Raises `InvalidInput` for a faulty template."""
    module = files.import_module(_RULES, files.shipped_folder() / _RULES / "__init__.py")
    templates: Any = sys.modules[f"{module.__name__}.templates"]
    try:
        made: Any = templates.Templates(zone).compile(source, columns)
    except ValueError as error:
        raise InvalidInput(str(error), "template") from None
    if not callable(made):
        return constant(made.text)
    blank = dict.fromkeys(templates.VARIABLES, "")

    def render(recipient: Recipient) -> str:
        fields = recipient.fields
        about = {"msisdn": recipient.to, "fields": fields, "time": now}
        try:
            return str(made({**blank, **about, **fields}))
        except Exception as error:  # noqa: BLE001 - whatever a template raises for these values
            raise InvalidInput(templates.reason(error, source)) from None

    return render


def compose_many(
    config: Config,
    source: str,
    api: Api,
    recipients: Iterable[Recipient],
    render: Render,
    people: People,
    *,
    sender: str | None = None,
    service_id: str | None = None,
) -> Mailing:
    """Makes the messages, and finds all that is wrong with them. `people` knows the opt-outs."""
    mailing = Mailing()
    known: set[str] = set()
    for recipient in recipients:
        try:
            if recipient.fault:
                raise InvalidInput(recipient.fault)  # noqa: TRY301 - as any other fault of it
            message = compose(
                config,
                source,
                to=recipient.to,
                text=render(recipient),
                sender=sender,
                service_id=service_id,
            )
            if message.to in known:
                mailing.repeated += 1
                continue
            outgoing = OutgoingMessage(
                to=message.to, text=message.text, sender=message.sender, service_id=service_id
            )
            api.check(outgoing)
        except (InvalidInput, ProviderError) as error:
            mailing.faults.append(f"{recipient.place}: {error}")
            continue
        known.add(message.to)
        mailing.people.append(Person(message.to, message.text))
        _count(mailing, message.text)
        if people.has_opted_out(
            message.to, short_code=api.sender(outgoing), service_id=api.service(outgoing)
        ):
            mailing.opted_out.append(message.to)
    return mailing


async def price_of_part(reader: Reader, source: str) -> Decimal | None:
    """Returns what a part of the source's last messages cost, if the provider says that."""
    for message in await reader.messages.find(source=source, state="sent", limit=_PRICED):
        try:
            cost = Decimal(message.cost or "")
        except InvalidOperation:
            continue
        if cost.is_finite() and cost > 0:
            return cost / message.parts
    return None


def _count(mailing: Mailing, text: str) -> None:
    counted = segments(text)
    mailing.parts[counted.encoding, counted.parts] += 1
    if counted.encoding == "UCS-2":
        mailing.strange.update(dict.fromkeys(beyond_gsm7(text)))
