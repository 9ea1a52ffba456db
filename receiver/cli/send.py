"""`receiver send`."""

from __future__ import annotations

import asyncio
import sys
import time
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from receiver.cli import screen
from receiver.cli.call import sending
from receiver.cli.exit_status import Failed, say
from receiver.cli.messages import as_json, note, why
from receiver.cli.options import ConfigFile, normalised
from receiver.cli.preparing import perform, prepare
from receiver.errors import StoreLocked
from receiver.events import Status
from receiver.outgoing import OutgoingMessage
from receiver.providers.contract import Api
from receiver.service.commands import SendMessage
from receiver.service.parts import Parts
from receiver.store import Reader, StoredMessage, open_reader
from receiver.store.engine.files import lock
from receiver.text.msisdn import is_e164
from receiver.text.sms_length import beyond_gsm7, segments

#: Seconds between looks for a change.
_POLL = 0.2
#: What one message can be joined of (3GPP TS 23.040).
_MOST_PARTS = 255
#: Characters that are named as the reason for UCS-2.
_NAMED = 5


def command(
    *,
    to: Annotated[
        str, typer.Option(metavar="NUMBER", help="+254712345678, 254712345678 or 0712345678")
    ],
    text: Annotated[str, typer.Option(help="What to say; - reads it from stdin.")],
    source: Annotated[
        str | None, typer.Option(help="The source to send through; default: the only one.")
    ] = None,
    sender: Annotated[
        str | None, typer.Option(help="Short code or sender ID; default: send.sender.")
    ] = None,
    service_id: Annotated[str | None, typer.Option(help="The service it belongs to.")] = None,
    link_id: Annotated[str | None, typer.Option(help="Of the message that it answers.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Shows what becomes of it.")] = False,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds that --wait takes.")] = 120,
    json: Annotated[
        bool, typer.Option("--json", help="The message as a line of JSON, one for each change.")
    ] = False,
    config: ConfigFile = None,
) -> None:
    """Sends a message through a source's API.

    Prints its id; `receiver messages ID` shows it. The service sends it, at once or as soon as
    it runs. With --wait the exit status is 0 when it is delivered, or sent when the time is over.
    """
    parts = prepare(config)
    name, api = _source(parts, source)
    wanted = SendMessage(
        source=name,
        to=_person(parts, name, to),
        text=_whole(sys.stdin.buffer.read()) if text == "-" else text,
        sender=normalised(sender, parts.config, name),
        service_id=service_id,
        link_id=link_id,
    )
    _check(wanted)
    outcome = perform(parts, wanted)
    if outcome.message is None:
        raise Failed(*outcome.failures)
    _warn(api, wanted)
    if not json:
        screen.line(str(outcome.message))
        sys.stdout.flush()
    store = parts.config.store_path
    if not _runs(store):
        say([f"no service runs: {outcome.message} is sent when `receiver serve` does"])
    if json or wait:
        seconds = timeout if wait else 0.0
        message = asyncio.run(_follow(store, outcome.message, seconds, json=json))
        if wait:
            _judge(message, seconds)


def _source(parts: Parts, wanted: str | None) -> tuple[str, Api]:
    found = sending(parts.config, parts.providers, wanted)
    if len(found) > 1:
        raise typer.BadParameter(f"expected --source, one of {', '.join(found)}")
    [pair] = found.items()
    return pair


def _person(parts: Parts, source: str, text: str) -> str:
    to = normalised(text, parts.config, source)
    if to is None or not is_e164(to):
        raise typer.BadParameter(f"expected --to a number such as +254712345678, got {text!r}")
    return to


def _whole(read: bytes) -> str:
    """What came from stdin, without the end of its last line."""
    try:
        return read.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"--text -: not UTF-8 at byte {error.start}") from None


def _check(message: SendMessage) -> None:
    """Refuses what is no text, or no text that an SMS can be."""
    for name, value in msgspec.structs.asdict(message).items():
        try:
            (value or "").encode()
        except UnicodeEncodeError:  # how an argument that is no UTF-8 comes
            option = name.replace("_", "-")
            raise typer.BadParameter(f"--{option}: expected UTF-8") from None
    parts = segments(message.text).parts
    if parts > _MOST_PARTS:
        raise typer.BadParameter(f"--text: expected at most {_MOST_PARTS} parts, got {parts}")


def _warn(api: Api, message: SendMessage) -> None:
    """Says what makes it cost more than one SMS."""
    counted = segments(message.text)
    if counted.encoding == "UCS-2":
        say([f"the text is UCS-2, 70 characters to an SMS, because of {_named(message.text)}"])
    if counted.parts > 1:
        say([f"the text takes {counted.parts} parts ({counted.units} units of {counted.encoding})"])
    if not message.link_id and api.too_long(OutgoingMessage(to=message.to, text=message.text)):
        say([f"beyond {api.max_text} characters it is sent as several messages; this is the first"])


def _named(text: str) -> str:
    """The characters that GSM-7 lacks, by their names."""
    chars = beyond_gsm7(text)
    named = [
        f"{char} (U+{ord(char):04X} {unicodedata.name(char, 'without a name')})"
        for char in chars[:_NAMED]
    ]
    more = len(chars) - len(named)
    return ", ".join([*named, f"and {more} more"] if more else named)


async def _follow(store: Path, id_: int, seconds: float, *, json: bool) -> StoredMessage:
    """Shows the message and what becomes of it; how it is in the end. Raises `Failed`."""
    async with open_reader(store) as reader:
        async for message in _changes(reader, id_, seconds):
            _write(message, json=json)
    return message


async def _changes(reader: Reader, id_: int, seconds: float) -> AsyncIterator[StoredMessage]:
    """The message, and again whenever it has changed, until it is at its end or time is over."""
    deadline = time.monotonic() + seconds
    seen = None
    while True:
        found = await reader.messages.find(id_=id_)
        if not found:
            raise Failed(f"{id_}: the message is not in the store any more")
        [message] = found
        if message != seen:
            yield message
        seen = message
        if _ended(message) or time.monotonic() >= deadline:
            return
        await asyncio.sleep(_POLL)


def _write(message: StoredMessage, *, json: bool) -> None:
    if json:
        screen.json_lines([as_json(message)])
    else:
        when = screen.time(message.updated_at)
        screen.line(f"{when}  {message.status:<11}  {note(message) or ''}".rstrip())
    sys.stdout.flush()


def _ended(message: StoredMessage) -> bool:
    return message.status.final or message.state in ("unknown", "dead")


def _judge(message: StoredMessage, seconds: float) -> None:
    """Raises `Failed` unless the message has left for the person."""
    if message.status is Status.DELIVERED:
        return
    if message.state in ("unknown", "dead"):
        raise Failed(f"{message.id}: {message.status}: {why(message)}")
    if message.status.final:
        raise Failed(f"{message.id}: {message.status}; `receiver messages {message.id}` has more")
    if message.status is not Status.SENT:
        raise Failed(f"{message.id}: still {message.status} after {seconds:g} s: {note(message)}")
    say([f"{message.id}: sent, and no more is known after {seconds:g} s"])


def _runs(store: Path) -> bool:
    """Whether a service works on this store."""
    try:
        lock(store).close()
    except StoreLocked:
        return True
    return False
