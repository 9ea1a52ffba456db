"""The control socket: commands change the store of a running service over it.

Only one process may write to a store. A command that changes something asks the service, if
one runs, over a Unix socket that only its own user may open; otherwise it does the work itself.
One request and one answer a connection, each a line of JSON.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import msgspec
import structlog

from receiver.errors import ReceiverError, StoreError, StoreLocked
from receiver.service import users
from receiver.service.commands import Command, Order, Outcome
from receiver.service.execute import carry_out
from receiver.service.parts import Parts, Service, open_service

log = structlog.get_logger("receiver.service.control")

Executor = Callable[[Command], Awaitable[Outcome]]

_LINE_LIMIT = 64 * 1024
#: Connections at once: each is a command that waits for its answer.
MOST_CONNECTIONS = 64
#: Seconds to send a command in, and seconds to read its answer in.
PATIENCE = 10.0
_MODE = stat.S_IRUSR | stat.S_IWUSR
_CREDENTIALS = struct.Struct("3i")  # process, user, group: unix(7)

_order = msgspec.json.Decoder(Order)
_outcome = msgspec.json.Decoder(Outcome)


async def perform(parts: Parts, command: Command) -> Outcome:
    """Has a command carried out: by the running service, or here if none runs.

    Raises `StoreError`.
    """
    async with executor(parts) as execute:
        return await execute(command)


@asynccontextmanager
async def executor(parts: Parts) -> AsyncIterator[Executor]:
    """Carries out many commands, as `perform` does; the store is opened once for them.

    Raises `StoreError`.
    """
    async with AsyncExitStack() as stack:
        try:
            service = await stack.enter_async_context(open_service(parts, work=False))
        except StoreLocked as error:
            locked = error

            async def by_service(command: Command) -> Outcome:
                try:
                    return await ask(parts.config.store_path, command)
                except OSError:
                    raise locked from None

            yield by_service
        else:
            who = users.caller()

            async def here(command: Command) -> Outcome:
                try:  # the limits are the same on both ways
                    order = _order.decode(msgspec.json.encode(Order(command)))
                except msgspec.ValidationError as error:
                    return Outcome(failures=[str(error)])
                return await carry_out(service, order.command, who)

            yield here


@asynccontextmanager
async def listening(service: Service) -> AsyncIterator[None]:
    """Takes commands for `service`. Raises `ReceiverError` if there is no place for the socket."""
    listener = _Listener(service)
    with socket_path(service.parts.config.store_path) as path:
        try:
            server = await asyncio.start_unix_server(
                listener.serve, sock=_bind(path), limit=_LINE_LIMIT
            )
        except OSError as error:
            name = service.parts.config.store_path.with_name(path.name)
            raise ReceiverError(f"{name}: {error.strerror}; commands need a socket there") from None
        try:
            yield
        finally:
            server.close()
            path.unlink(missing_ok=True)


class _Listener:
    """Answers the connections of the socket: so many at once, each in bounded time."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one connection, whatever comes over it."""
        self._connections += 1
        try:
            outcome = await self._answer(reader, _peer(writer))
            writer.write(msgspec.json.encode(outcome) + b"\n")
            writer.close()
            async with asyncio.timeout(PATIENCE):
                await writer.wait_closed()
        except (OSError, TimeoutError):
            writer.transport.abort()
        finally:
            self._connections -= 1

    async def _answer(self, reader: asyncio.StreamReader, uid: int) -> Outcome:
        try:
            order = _order.decode(await self._read(reader))
        except (msgspec.MsgspecError, ValueError, EOFError) as error:
            return Outcome(failures=[str(error)])
        try:
            return await carry_out(self._service, order.command, users.name_of(uid, order.by))
        except (msgspec.MsgspecError, ReceiverError, ValueError) as error:
            return Outcome(failures=[str(error)], uncertain=True)
        except Exception:
            log.exception("command failed")
            why = "internal error; see the log of the service"
            return Outcome(failures=[why], uncertain=True)

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        """Reads a command. Raises ValueError or EOFError."""
        if self._connections > MOST_CONNECTIONS:
            raise ValueError(f"more than {MOST_CONNECTIONS} commands at once; try again later")
        try:
            async with asyncio.timeout(PATIENCE):
                return await reader.readuntil(b"\n")
        except TimeoutError:
            raise ValueError(f"expected a command within {PATIENCE:g} s, got none") from None
        except asyncio.LimitOverrunError:
            raise ValueError(f"expected at most {_LINE_LIMIT} bytes, got more") from None


async def ask(store: Path, command: Command, by: str = "") -> Outcome:
    """Has the running service carry out a command, for a user of the console if `by` names one.

    Raises OSError when nobody listens, so that nothing was done, and `StoreError` when there is no
    answer, so that nobody knows.
    """
    with socket_path(store) as path:
        reader, writer = await asyncio.open_unix_connection(path)
    try:
        order = Order(command, by or users.sudo_user())
        writer.write(msgspec.json.encode(order) + b"\n")
        await writer.drain()
        return _outcome.decode(await reader.read())
    except (msgspec.DecodeError, OSError):
        raise StoreError("the running service gave no answer; see its log") from None
    finally:
        writer.close()


def _bind(path: Path) -> socket.socket:
    """Makes the socket, which nobody but the service's own user can open at any moment."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OSError(0, "expected a socket or nothing, found another file; move it away")
        path.unlink()  # a service left it that was killed: we hold the lock of the store
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Linux makes the file with the mode that the socket has, less the umask.
        os.fchmod(listener.fileno(), _MODE)
        listener.bind(str(path))
        path.chmod(_MODE)  # an odd umask may have taken more than nobody needs
    except BaseException:
        listener.close()
        raise
    return listener


def _peer(writer: asyncio.StreamWriter) -> int:
    """Returns the user at the other end of a connection, as the system knows it."""
    connection = writer.get_extra_info("socket")
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(raw)[1])


@contextmanager
def socket_path(store: Path) -> Iterator[Path]:
    """Yields the control socket beside the store, by a path below Unix's limit of 100 bytes."""
    folder = os.open(store.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield Path(f"/proc/self/fd/{folder}") / f"{store.name}.sock"
    finally:
        os.close(folder)
