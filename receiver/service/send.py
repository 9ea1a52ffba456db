"""Messages that a person writes: checks, warnings about their cost, and storing them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from receiver.actions import Send
from receiver.config import Config
from receiver.errors import InvalidInput, ProviderError
from receiver.jobs.channel import apis
from receiver.outgoing import OutgoingMessage
from receiver.providers import Provider
from receiver.providers.contract import Api
from receiver.service.commands import Outcome, SendMessage
from receiver.service.numbers import parse_msisdn, parse_number
from receiver.service.provider_calls import sending_apis
from receiver.text.sms_length import beyond_gsm7, segments

if TYPE_CHECKING:
    from receiver.service.parts import Service

#: The most parts that one message has (3GPP TS 23.040).
_MOST_PARTS = 255
#: Characters that are named as the reason for UCS-2.
_NAMED = 5


def sending_source(
    config: Config, providers: dict[str, Provider[Any]], source: str | None
) -> tuple[str, Api]:
    """Returns the source to send through and its API; without `source` there must be only one.

    Raises `ConfigError` or `InvalidInput`.
    """
    found = sending_apis(config, providers, source)
    if len(found) > 1:
        raise InvalidInput(f"expected one of {', '.join(found)}", "source")
    [pair] = found.items()
    return pair


def compose(
    config: Config,
    source: str,
    *,
    to: str,
    text: str,
    sender: str | None = None,
    service_id: str | None = None,
    link_id: str | None = None,
) -> SendMessage:
    """Returns the message that these values make. Raises `InvalidInput` for what is no SMS."""
    message = SendMessage(
        source=source,
        to=parse_msisdn(to, config, source, "to"),
        text=text,
        sender=parse_number(sender, config, source) if sender is not None else None,
        service_id=service_id,
        link_id=link_id,
    )
    for name, value in msgspec.structs.asdict(message).items():
        try:
            (value or "").encode()
        except UnicodeEncodeError:  # an argument of a command that is not UTF-8
            raise InvalidInput("expected UTF-8", name) from None
    parts = segments(text).parts
    if parts > _MOST_PARTS:
        raise InvalidInput(f"expected at most {_MOST_PARTS} parts, got {parts}", "text")
    return message


def cost_warnings(api: Api, message: SendMessage) -> list[str]:
    """Returns why a message costs more than one SMS, a line for each reason."""
    warnings = []
    counted = segments(message.text)
    if counted.encoding == "UCS-2":
        characters = characters_named(beyond_gsm7(message.text))
        warnings.append(f"the text is UCS-2, 70 characters to an SMS, because of {characters}")
    if counted.parts > 1:
        units = f"{counted.units} units of {counted.encoding}"
        warnings.append(f"the text takes {counted.parts} parts ({units})")
    if not message.link_id and api.too_long(OutgoingMessage(to=message.to, text=message.text)):
        warnings.append(
            f"a text of more than {api.max_text} characters is sent as several messages; this is"
            " the first"
        )
    return warnings


def characters_named(chars: Sequence[str]) -> str:
    """Returns characters that GSM-7 lacks with their names, the first few of them."""
    named = [
        f"{char} (U+{ord(char):04X} {unicodedata.name(char, 'without a name')})"
        for char in chars[:_NAMED]
    ]
    more = len(chars) - len(named)
    return ", ".join([*named, f"and {more} more"] if more else named)


async def send(service: Service, command: SendMessage) -> Outcome:
    """Stores a message for the outbox, unless it is known that it would be refused."""
    api = apis(service.parts.config, service.parts.providers).get(command.source)
    if api is None:
        expected = f"[sources.{command.source}.send] in the configuration, to send through it"
        return Outcome(failures=[f"{command.source}: expected {expected}"])
    outgoing = OutgoingMessage(
        to=api.provider.person(command.to),
        text=command.text,
        sender=api.provider.address(command.sender),
        service_id=command.service_id,
        link_id=command.link_id,
    )
    try:
        api.check(outgoing)
    except ProviderError as error:
        # A link_id is good for one message.
        splits = api.send_settings.split and not command.link_id
        if not (splits and api.too_long(outgoing)):
            return Outcome(failures=[str(error)])
    blocking = await service.store.reader.opt_outs.blocking(
        outgoing.to, sender=api.sender(outgoing), service_id=api.service(outgoing)
    )
    if blocking is not None:
        hint = "`receiver opt-outs remove` if that is no longer so"
        return Outcome(failures=[f"{outgoing.to} has opted out; {hint}"])
    wanted = Send(source=command.source, **msgspec.structs.asdict(outgoing))
    message = await service.store.add_message(wanted, service.intake.clock())
    return Outcome(1, message=message)
