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
from receiver.cli.send_many import Wish, send_many
from receiver.cli.values import STDIN, decoded
from receiver.config import StoreAddress
from receiver.errors import Failed
from receiver.events import Status
from receiver.service.follow import message_changes
from receiver.service.send import compose, cost_warnings, sending_source
from receiver.store import StoredMessage, open_reader
from receiver.store.engine import engine_of
from receiver.views.messages import message_json, next_step, reason
from receiver.views.times import format_time


def command(
    *,
    to: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NUMBER",
            help="The person: +254712345678, 254712345678 or 0712345678; again for more people.",
        ),
    ] = None,
    to_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="People in CSV: a column `to`, the others are variables of --template.",
        ),
    ] = None,
    subscribers_of: Annotated[
        str | None, typer.Option(metavar="SERVICE", help="All active subscribers of this service.")
    ] = None,
    short_code: Annotated[
        str | None, typer.Option(help="With --subscribers-of: only those of this short code.")
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="The text of the message; - reads it from stdin.")
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(
            help="The text with variables such as {{ name }}, as in rules; - reads it from stdin."
        ),
    ] = None,
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
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Not before: 2026-12-01T09:00 in the source's zone, or 2h from now.",
        ),
    ] = None,
    within: Annotated[
        str | None,
        typer.Option(
            metavar="TIMES", help="Only in these hours of the source's zone: 08:00-20:00."
        ),
    ] = None,
    valid_for: Annotated[
        str | None,
        typer.Option(metavar="LENGTH", help="Nothing leaves so long after the start: 6h, 2d."),
    ] = None,
    rate: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="At most so many people a minute.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show who would get it and what it takes; send none.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask before sending to more than 100 people.")
    ] = False,
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
    """Sends a message through a source's API, to one person or to many.

    Stores the message and prints its id; `receiver messages ID` shows it. The running service
    sends it, or `receiver serve` when it starts. People who have opted out are refused.

    With --wait the exit status is 0 if the message is delivered, or sent when the time is over.

    To many people, at a time, or with a rate, it is a campaign, whose id is printed: `receiver
    campaigns ID` shows its progress. People who have opted out when it is their turn are left out.
    """
    wish = Wish(
        to=to or [],
        to_file=to_file,
        subscribers_of=subscribers_of,
        short_code=short_code,
        text=_from_stdin(text, "--text -"),
        template=_from_stdin(template, "--template -"),
        sender=sender,
        service_id=service_id,
        at=at,
        within=within,
        valid_for=valid_for,
        rate=rate,
        dry_run=dry_run,
        yes=yes,
        wait=wait,
        timeout=timeout,
        json=json,
    )
    _check(wish, link_id)
    parts = prepare(config)
    name, api = sending_source(parts.config, parts.providers, source)
    if wish.is_campaign:
        send_many(parts, name, api, wish)
        if not (dry_run or engine_of(parts.config.store_address).served()):
            print_errors(["no service runs: `receiver serve` sends it"])
        return
    message = compose(
        parts.config,
        name,
        to=wish.to[0],
        text=wish.text or "",
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
    store = parts.config.store_address
    if not engine_of(store).served():
        print_errors([f"no service runs: `receiver serve` sends message {outcome.message}"])
    if json or wait:
        seconds = timeout if wait else 0.0
        stored = asyncio.run(_follow(store, outcome.message, seconds, json=json))
        if wait:
            _check_result(stored, seconds)


def _from_stdin(text: str | None, option: str) -> str | None:
    return decoded(sys.stdin.buffer.read(), option) if text == STDIN else text


def _check(wish: Wish, link_id: str | None) -> None:
    """Raises `BadParameter` for options that do not go together."""
    if (wish.text is None) == (wish.template is None):
        raise typer.BadParameter("expected --text or --template, and not both")
    if wish.is_campaign and any(sign in (wish.text or "") for sign in ("{{", "{%")):
        raise typer.BadParameter("--text goes out as it is: expected --template, got {{ or {%")
    if not (wish.to or wish.to_file or wish.subscribers_of):
        raise typer.BadParameter("expected --to, --to-file or --subscribers-of")
    if wish.short_code is not None and wish.subscribers_of is None:
        raise typer.BadParameter("expected --subscribers-of with --short-code")
    if link_id is not None and wish.is_campaign:
        raise typer.BadParameter("--link-id is good for one message: expected --to once, and now")


async def _follow(store: StoreAddress, id_: int, seconds: float, *, json: bool) -> StoredMessage:
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
