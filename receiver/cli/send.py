"""`receiver send`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from receiver.cli import output
from receiver.cli.exit_status import print_errors
from receiver.cli.options import ConfigFile
from receiver.cli.parts import perform, prepare
from receiver.cli.values import STDIN, decoded
from receiver.errors import Failed, StoreLocked
from receiver.events import Status
from receiver.service.follow import message_changes
from receiver.service.send import compose, cost_warnings, sending_source
from receiver.store import StoredMessage, open_reader
from receiver.store.engine.files import lock
from receiver.views.messages import message_json, next_step, reason
from receiver.views.times import format_time


def command(
    *,
    to: Annotated[
        list[str],
        typer.Option(
            metavar="NUMBER", help="The person: +254712345678, 254712345678 or 0712345678."
        ),
    ],
    text: Annotated[str, typer.Option(help="The text of the message; - reads it from stdin.")],
    source: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The source to send through. Default: the only one that sends."
        ),
    ] = None,
    sender: Annotated[
        str | None,
        typer.Option(help="Short code or sender ID that it comes from. Default: send.sender."),
    ] = None,
    service_id: Annotated[
        str | None, typer.Option(metavar="ID", help="The provider's service that it belongs to.")
    ] = None,
    link_id: Annotated[
        str | None, typer.Option(metavar="ID", help="The link_id of the message that it answers.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the result and show each change.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long --wait waits at most.")
    ] = 120,
    json: Annotated[
        bool, typer.Option("--json", help="Print the message as a line of JSON after each change.")
    ] = False,
    config: ConfigFile = None,
) -> None:
    """Sends a message through a source's API.

    Stores the message and prints its id; `receiver messages ID` shows it. The running service
    sends it, or `receiver serve` when it starts. People who have opted out are refused.

    With --wait the exit status is 0 if the message is delivered, or sent when the time is over.
    """
    if len(to) != 1:
        raise typer.BadParameter(
            f"expected --to once, got it {len(to)} times: one person a command"
        )
    parts = prepare(config)
    name, api = sending_source(parts.config, parts.providers, source)
    message = compose(
        parts.config,
        name,
        to=to[0],
        text=decoded(sys.stdin.buffer.read(), "--text -") if text == STDIN else text,
        sender=sender,
        service_id=service_id,
        link_id=link_id,
    )
    outcome = perform(parts, message)
    if outcome.message is None:
        raise Failed(*outcome.failures)
    print_errors(cost_warnings(api, message))
    if not json:
        output.line(str(outcome.message))
        sys.stdout.flush()
    store = parts.config.store_path
    if not _is_served(store):
        print_errors([f"no service runs: `receiver serve` sends message {outcome.message}"])
    if json or wait:
        seconds = timeout if wait else 0.0
        stored = asyncio.run(_follow(store, outcome.message, seconds, json=json))
        if wait:
            _check_result(stored, seconds)


async def _follow(store: Path, id_: int, seconds: float, *, json: bool) -> StoredMessage:
    """Shows a message and its changes; returns its last state. Raises `NotFound`."""
    async with open_reader(store) as reader:
        async for message in message_changes(reader, id_, seconds):
            _write(message, json=json)
    return message


def _write(message: StoredMessage, *, json: bool) -> None:
    if json:
        output.json_lines([message_json(message)])
    else:
        when = format_time(message.updated_at)
        output.line(f"{when}  {message.status:<11}  {next_step(message) or ''}".rstrip())
    sys.stdout.flush()


def _check_result(message: StoredMessage, seconds: float) -> None:
    """Raises `Failed` unless the message is delivered, or sent when the time is over."""
    if message.status is Status.DELIVERED:
        return
    if message.state in ("unknown", "dead"):
        raise Failed(f"{message.id}: {message.status}: {reason(message)}")
    if message.status.final:
        raise Failed(f"{message.id}: {message.status}; see `receiver messages {message.id}`")
    if message.status is not Status.SENT:
        waiting = f"still {message.status} after {seconds:g} s"
        raise Failed(f"{message.id}: {waiting}: {next_step(message)}")
    print_errors([f"{message.id}: sent; no delivery report came within {seconds:g} s"])


def _is_served(store: Path) -> bool:
    """Returns whether a service works on this store."""
    try:
        lock(store).close()
    except StoreLocked:
        return True
    return False
