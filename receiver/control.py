"""How commands change the store of a running service: a socket beside the store file.

Only one process may write to a store. A command that changes something asks the service, if
one runs, over a Unix socket that only its own user may open; otherwise it does the work itself.
One request and one answer a connection, each a line of JSON.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
import structlog

from receiver import replay
from receiver.actions import OptIn, OptOut
from receiver.errors import (
    ConfigError,
    ProviderError,
    PushError,
    ReceiverError,
    StoreError,
    StoreLocked,
)
from receiver.lines import apis
from receiver.providers import Push
from receiver.providers.api import Outgoing
from receiver.reloading import reload
from receiver.service import Parts, Service, open_service
from receiver.store import Correction, Reader, Wish

log = structlog.get_logger("receiver.control")

_LINE_LIMIT = 64 * 1024


class AddOptOut(msgspec.Struct, frozen=True, tag="opt_outs.add"):
    """Notes that a person must not be messaged: by a short code, about a service, or at all."""

    msisdn: str
    short_code: str | None = None
    service_id: str | None = None


class RemoveOptOut(msgspec.Struct, frozen=True, tag="opt_outs.remove"):
    """Notes that a person may be messaged again: by a short code, about a service, or at all."""

    msisdn: str
    short_code: str | None = None
    service_id: str | None = None


class RetryQuarantined(msgspec.Struct, frozen=True, tag="quarantine.retry"):
    """Takes requests out of the quarantine again: one, or (None) all."""

    id: int | None = None


class RetryJobs(msgspec.Struct, frozen=True, tag="jobs.retry"):
    """Makes dead jobs due again: one, or (None) all."""

    id: int | None = None


class SendMessage(msgspec.Struct, frozen=True, kw_only=True, tag="send"):
    """Sends a message through a source's API, as soon as its service runs."""

    source: str
    to: str
    text: str
    sender: str | None = None
    service_id: str | None = None
    link_id: str | None = None


class Reload(msgspec.Struct, frozen=True, tag="reload"):
    """Takes in what the configuration file says now."""


class CorrectBook(msgspec.Struct, frozen=True, kw_only=True, tag="subscribers.correct"):
    """Writes what a provider's list says into the subscription book; some hundred lines."""

    corrections: list[Correction]
    time: Annotated[datetime, msgspec.Meta(tz=True)]
    """When the list was made: what is newer in the book stays."""


class Replay(msgspec.Struct, frozen=True, kw_only=True, tag="replay"):
    """Does for stored events what handlers ask for today; see `receiver.replay`."""

    events: list[tuple[int, int]]
    """Their sequence numbers, each with the `digest` of what is expected to be asked for."""
    again: bool = False


Command = (
    AddOptOut
    | RemoveOptOut
    | RetryQuarantined
    | RetryJobs
    | SendMessage
    | CorrectBook
    | Replay
    | Reload
)
Carrier = Callable[[Command], Awaitable["Outcome"]]


class Outcome(msgspec.Struct, frozen=True):
    """What a command did: `changed` things, and a line about each that did not work."""

    changed: int = 0
    failures: list[str] = []
    message: int | None = None
    """The id of the message that was made."""
    counts: dict[str, int] = {}
    """How many of what was done, where there are several kinds of it."""


_command = msgspec.json.Decoder(Command)
_outcome = msgspec.json.Decoder(Outcome)


async def perform(parts: Parts, command: Command) -> Outcome:
    """Has a command carried out: by the running service, or here if none runs.

    Raises `StoreError`.
    """
    async with carrier(parts) as carry:
        return await carry(command)


@asynccontextmanager
async def carrier(parts: Parts) -> AsyncIterator[Carrier]:
    """Has many commands carried out, as `perform` does; the store is opened once for them.

    Raises `StoreError`.
    """
    async with AsyncExitStack() as stack:
        try:
            service = await stack.enter_async_context(open_service(parts, work=False))
        except StoreLocked as error:
            locked = error

            async def carry(command: Command) -> Outcome:
                try:
                    return await ask(parts.config.store_path, command)
                except OSError:
                    raise locked from None

            yield carry
        else:
            yield partial(carry_out, service)


async def carry_out(service: Service, command: Command) -> Outcome:
    """Does what a command says. Raises `StoreUnavailable`."""
    now = service.intake.clock()
    match command:
        case AddOptOut(msisdn, short_code, service_id):
            out = OptOut(msisdn, "operator", short_code=short_code, service_id=service_id)
            outcome = Outcome(int(await service.store.opt_out(out, now)))
        case RemoveOptOut(msisdn, short_code, service_id):
            back = OptIn(msisdn, "operator", short_code=short_code, service_id=service_id)
            outcome = Outcome(int(await service.store.opt_in(back, now)))
        case RetryJobs(id_):
            outcome = Outcome(await service.store.revive(id_, now))
        case RetryQuarantined(id_):
            outcome = await _retry_quarantined(service, id_)
        case SendMessage():
            outcome = await _send(service, command)
        case CorrectBook(corrections=corrections, time=time):
            store = service.store
            outcome = Outcome(await store.correct_book(corrections, time, now, "reconcile"))
        case Replay():
            outcome = await _replay(service, command)
        case Reload():
            outcome = await _reload(service)
    return outcome


async def _reload(service: Service) -> Outcome:
    try:
        await reload(service)
    except ConfigError as error:
        return Outcome(failures=str(error).split("\n"))
    return Outcome(1)


async def _send(service: Service, command: SendMessage) -> Outcome:
    """Makes the message, unless it is plain that it would be refused."""
    api = apis(service.parts.config, service.parts.providers).get(command.source)
    if api is None:
        expected = f"[sources.{command.source}.send] in the configuration, to send through it"
        return Outcome(failures=[f"{command.source}: expected {expected}"])
    outgoing = Outgoing(
        to=api.provider.person(command.to),
        text=command.text,
        sender=command.sender,
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
    wish = Wish(source=command.source, **msgspec.structs.asdict(outgoing))
    message = await service.store.add_message(wish, service.intake.clock())
    return Outcome(1, message=message)


async def _retry_quarantined(service: Service, id_: int | None) -> Outcome:
    """Oldest first; what becomes an event, or is a repeat of one, leaves the quarantine."""
    reader, store = service.store.reader, service.store
    ids = [id_] if id_ is not None else await _all_quarantined(reader)
    changed, failures = 0, []
    for each in sorted(ids):
        entries = await reader.quarantined(each)
        if not entries:
            failures.append(f"{each}: no such request")
            continue
        entry = entries[0]
        push = Push(
            method=entry.request.method,
            token=entry.request.token,
            query=entry.request.query,
            headers=entry.request.headers,
            body=entry.request.body,
            received_at=entry.received_at,
            client=entry.client,
        )
        try:
            await service.intake.retake(entry.source, push)
        except PushError as error:
            failures.append(f"{each}: {error}")
            continue
        await store.drop_quarantined(each)
        changed += 1
    return Outcome(changed, failures)


async def _all_quarantined(reader: Reader) -> list[int]:
    ids: list[int] = []
    while entries := await reader.quarantined(before=ids[-1] if ids else None):
        ids += [entry.id for entry in entries]
    return ids


async def _replay(service: Service, command: Replay) -> Outcome:
    """All of it in one transaction, but for events of which today's handlers think otherwise."""
    dispatcher, people, store = service.parts.dispatcher, service.parts.people, service.store
    wanted, failures = [], []
    for seq, expected in command.events:
        stored = await store.reader.event_by_seq(seq)
        id_ = store.ids.text(seq)
        if stored is None:
            failures.append(f"{id_}: no such event")
            continue
        with people.before(seq):
            plan = dispatcher.plan(stored.event)
        if replay.digest(plan) != expected:
            why = "the service goes by other rules than the configuration; `receiver reload`"
            failures.append(f"{id_}: left as it is: {why}")
            continue
        wanted.append(replay.redo_of(plan, seq, again=command.again))
    done = await store.redo(wanted, service.intake.clock())
    failures += [
        f"{store.ids.text(one.seq)}: left as it is: {result.left}"
        for one, result in zip(wanted, done, strict=True)
        if result.left is not None
    ]
    counts = {
        "replies": sum(result.replies for result in done),
        "actions": sum(result.actions for result in done),
        "handlers": sum(result.handlers for result in done),
    }
    return Outcome(sum(result.changed for result in done), failures, counts=counts)


@asynccontextmanager
async def listening(service: Service) -> AsyncIterator[None]:
    """Takes commands for `service`."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            command = _command.decode(await reader.readuntil(b"\n"))
            outcome = await carry_out(service, command)
            log.info("command carried out", command=type(command).__name__, changed=outcome.changed)
        except asyncio.LimitOverrunError:
            outcome = Outcome(failures=[f"a command of more than {_LINE_LIMIT} bytes"])
        except (msgspec.MsgspecError, ReceiverError, ValueError, EOFError) as error:
            outcome = Outcome(failures=[str(error)])
        except Exception:
            log.exception("command failed")
            outcome = Outcome(failures=["internal error; see the log of the service"])
        writer.write(msgspec.json.encode(outcome) + b"\n")
        with suppress(OSError):
            await writer.drain()
        writer.close()

    with _socket_path(service.store.path) as path:
        path.unlink(missing_ok=True)  # ours: we hold the lock of the store
        server = await asyncio.start_unix_server(answer, path, limit=_LINE_LIMIT)
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)
        try:
            yield
        finally:
            server.close()
            path.unlink(missing_ok=True)


async def ask(store: Path, command: Command) -> Outcome:
    """Has the running service carry out a command.

    Raises OSError when nobody listens, `StoreError` when the answer is none.
    """
    with _socket_path(store) as path:
        reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(msgspec.json.encode(command) + b"\n")
        await writer.drain()
        return _outcome.decode(await reader.read())
    except msgspec.DecodeError:
        raise StoreError("the running service gave no answer; see its log") from None
    finally:
        writer.close()


@contextmanager
def _socket_path(store: Path) -> Iterator[Path]:
    """The socket beside the store, by a name that fits: Unix allows it some 100 bytes."""
    folder = os.open(store.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield Path(f"/proc/self/fd/{folder}") / f"{store.name}.sock"
    finally:
        os.close(folder)
