"""How commands change the store of a running service: a socket beside the store file.

Only one process may write to a store. A command that changes something asks the service, if
one runs, over a Unix socket that only its own user may open; otherwise it does the work itself.
One request and one answer a connection, each a line of JSON.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
import stat
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import msgspec
import structlog

from receiver.errors import ReceiverError, StoreError, StoreLocked
from receiver.service.commands import Command, Order, Outcome
from receiver.service.execute import carry_out
from receiver.service.parts import Parts, Service, open_service

log = structlog.get_logger("receiver.service.control")

Carrier = Callable[[Command], Awaitable[Outcome]]

_LINE_LIMIT = 64 * 1024
_CREDENTIALS = struct.Struct("3i")  # process, user, group: unix(7)

_order = msgspec.json.Decoder(Order)
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
            who = _who(os.getuid(), _sudo_user())

            async def do(command: Command) -> Outcome:
                return await carry_out(service, command, who)

            yield do


@asynccontextmanager
async def listening(service: Service) -> AsyncIterator[None]:
    """Takes commands for `service`."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            order = _order.decode(await reader.readuntil(b"\n"))
            who = _who(_peer(writer), order.by)
            outcome = await carry_out(service, order.command, who)
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

    with socket_path(service.store.path) as path:
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
    with socket_path(store) as path:
        reader, writer = await asyncio.open_unix_connection(path)
    try:
        order = Order(command, _sudo_user())
        writer.write(msgspec.json.encode(order) + b"\n")
        await writer.drain()
        return _outcome.decode(await reader.read())
    except msgspec.DecodeError:
        raise StoreError("the running service gave no answer; see its log") from None
    finally:
        writer.close()


def _peer(writer: asyncio.StreamWriter) -> int:
    """The user at the other end of a connection, as the system knows it."""
    connection = writer.get_extra_info("socket")
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(raw)[1])


def _who(uid: int, by: str) -> str:
    """A user for the audit: `receiver`, or `receiver for alice` where somebody became one."""
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    return f"{user} for {by}" if by and by != user else user


def _sudo_user() -> str:
    return os.environ.get("SUDO_USER", "")


@contextmanager
def socket_path(store: Path) -> Iterator[Path]:
    """Yields the control socket beside the store, by a path below Unix's limit of 100 bytes."""
    folder = os.open(store.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield Path(f"/proc/self/fd/{folder}") / f"{store.name}.sock"
    finally:
        os.close(folder)
