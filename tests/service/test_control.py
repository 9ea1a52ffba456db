"""Commands that change the store, beside a running service and without one."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from receiver.errors import Malformed, ReceiverError, StoreError, StoreLocked
from receiver.service import control
from receiver.service.commands import (
    AddOptOut,
    Command,
    Outcome,
    RemoveOptOut,
    Replay,
    RetryJobs,
    RetryQuarantined,
)
from receiver.service.parts import Service
from receiver.store import audit, jobs, open_store
from tests import stored
from tests.harness import (
    TOKEN,
    Clock,
    inbound,
    opened,
    parts,
    settings,
    take,
    until_async,
    with_plugin,
)
from tests.store.rows import intake

pytestmark = pytest.mark.anyio

PERSON = "+254726770792"


@asynccontextmanager
async def running(folder: Path, **options: Any) -> AsyncIterator[Service]:
    """A service that takes commands."""
    async with opened(folder, **options) as service, control.listening(service):
        yield service


async def perform(folder: Path, command: Command, raw: dict[str, Any] | None = None) -> Outcome:
    """What a command line does."""
    async with asyncio.timeout(30):
        return await control.perform(parts(folder, raw), command)


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return [file.name for file in folder.iterdir()]


def sockets(folder: Path) -> list[Path]:
    """The sockets in a folder."""
    return list(folder.glob("*.sock"))


def opt_outs(folder: Path) -> list[Any]:
    """Who must not be messaged, and why."""
    return [(line.msisdn, line.reason) for line in stored.opt_outs(folder / "receiver.db")]


@pytest.mark.parametrize("beside", [True, False])
async def test_opt_outs_are_added_and_removed(tmp_path: Path, *, beside: bool) -> None:
    """With a running service, which answers differently at once, and without one."""

    async def change() -> None:
        assert await perform(tmp_path, AddOptOut(PERSON)) == Outcome(1)
        assert await perform(tmp_path, AddOptOut(PERSON)) == Outcome(0)
        assert opt_outs(tmp_path) == [(PERSON, "operator")]
        assert await perform(tmp_path, RemoveOptOut(PERSON)) == Outcome(1)
        assert await perform(tmp_path, RemoveOptOut(PERSON)) == Outcome(0)
        assert opt_outs(tmp_path) == []

    if not beside:
        await change()
        return
    async with running(tmp_path) as service:
        await change()
        await perform(tmp_path, AddOptOut(PERSON))
        assert b"Welcome" not in (await take(service, inbound(1, "GAME"))).body


async def test_two_commands_at_once_are_both_done(tmp_path: Path) -> None:
    """Beside a service any number of them wait for each other's commits, not for a lock."""
    people = [f"+25471100000{n}" for n in range(9)]
    async with running(tmp_path):
        outcomes = await asyncio.gather(*[perform(tmp_path, AddOptOut(who)) for who in people])
    assert outcomes == [Outcome(1)] * 9
    assert len(opt_outs(tmp_path)) == 9


@pytest.mark.parametrize("beside", [True, False])
async def test_what_can_be_understood_now_leaves_the_quarantine(
    tmp_path: Path, *, beside: bool
) -> None:
    """Retried under a configuration with the right credential it is an event; the rest stays."""
    old = settings(sources={"tilil": {"provider": "tilil", "tokens": ["old"]}})
    async with opened(tmp_path, old, clock=Clock()) as service:
        for body in (inbound(1), inbound(2), inbound("", api_token="old"), inbound(3)):
            with pytest.raises(Exception, match=r"credential|expected"):
                await take(service, body)
        assert len(await service.store.reader.quarantined()) == 4

    async def retry() -> None:
        assert await perform(tmp_path, RetryQuarantined(2)) == Outcome(1)
        outcome = await perform(tmp_path, RetryQuarantined(2))
        assert outcome == Outcome(0, ["2: no such request"])
        outcome = await perform(tmp_path, RetryQuarantined())
        assert outcome.changed == 2
        (failure,) = outcome.failures
        assert failure.startswith("3: ")

    if beside:
        async with running(tmp_path):
            await retry()
    else:
        await retry()
    keys = stored.keys(tmp_path / "receiver.db")
    assert sorted(keys) == ["message:1", "message:2", "message:3"]
    assert [entry.id for entry in stored.quarantined(tmp_path / "receiver.db")] == [3]


async def test_a_retried_repeat_leaves_the_quarantine_too(tmp_path: Path) -> None:
    """When the provider has sent it again meanwhile, there is nothing left to do."""
    old = settings(sources={"tilil": {"provider": "tilil", "tokens": ["old"]}})
    async with opened(tmp_path, old) as service:
        with pytest.raises(Exception, match="credential"):
            await take(service, inbound(1))
    async with running(tmp_path) as service:
        await take(service, inbound(1))
        assert await perform(tmp_path, RetryQuarantined()) == Outcome(1)
    assert stored.keys(tmp_path / "receiver.db") == ["message:1"]


@pytest.mark.commit
async def test_all_of_a_long_quarantine_is_retried(tmp_path: Path) -> None:
    """Also more than one page of it."""
    old = settings(
        sources={"tilil": {"provider": "tilil", "tokens": ["old"]}},
        store={"quarantine_rows": 5000},
    )
    async with opened(tmp_path, old) as service:
        with pytest.raises(Exception, match="credential"):
            await take(service, inbound("first"))
        bodies = [inbound(n, mobile="", api_token="old") for n in range(1200)]
        taken = [take(service, body) for body in bodies]
        errors = await asyncio.gather(*taken, return_exceptions=True)
        assert {type(error) for error in errors} == {Malformed}
    outcome = await perform(tmp_path, RetryQuarantined())
    assert (outcome.changed, len(outcome.failures)) == (1, 1200)


async def test_dead_jobs_are_retried(tmp_path: Path) -> None:
    """They are due again."""
    source = (
        "from receiver.handlers import on_message\n"
        "@on_message()\nasync def fails(event, context):\n    raise ValueError\n"
    )
    raw = with_plugin(source)
    async with running(tmp_path, raw=raw) as service:
        await take(service, inbound(1))

        async def failed() -> bool:
            (job,) = await service.store.reader.jobs()
            return job.attempts == 1

        await until_async(failed, "a failed job")
        (job,) = await service.store.reader.jobs()
        await service.store.run(jobs.fail, job.id, 0, None, "no")
        assert await perform(tmp_path, RetryJobs(job.id + 1), raw) == Outcome(0)
        assert await perform(tmp_path, RetryJobs(), raw) == Outcome(1)
        assert await service.store.reader.jobs(state="dead") == []


async def test_commands_do_no_other_work(tmp_path: Path) -> None:
    """Without a service a command changes what it says: pending handlers wait for the service."""
    source = (
        "from pathlib import Path\nfrom receiver.handlers import on_message\n"
        "@on_message()\ndef runs(event, context):\n"
        '    Path(__file__).with_name("ran").touch()\n'
    )
    raw = with_plugin(source)
    async with open_store(tmp_path / "receiver.db") as store:
        await store.take(intake(store, 1, jobs=["mine.runs"]))
    assert await perform(tmp_path, AddOptOut(PERSON), raw) == Outcome(1)
    assert [job.attempts for job in stored.jobs(tmp_path / "receiver.db")] == [0]
    assert not sockets(tmp_path)
    assert "ran" not in names(tmp_path / "plugins")


# The socket


@asynccontextmanager
async def connected(
    folder: Path,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the socket of the service in a folder."""
    with control.socket_path(folder / "receiver.db") as short:
        reader, writer = await asyncio.open_unix_connection(short)
    yield reader, writer
    writer.close()


async def said(folder: Path, data: bytes, *, whole: bool = False) -> Outcome:
    """What the service says to these bytes; `whole`: more will not come."""
    async with connected(folder) as (reader, writer), asyncio.timeout(30):
        writer.write(data)
        if whole:
            writer.write_eof()
        return msgspec.json.decode(await reader.readline(), type=Outcome)


async def test_only_its_own_user_may_command(tmp_path: Path) -> None:
    """The socket is nobody else's to open, and gone with the service."""
    async with running(tmp_path):
        (path,) = sockets(tmp_path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sockets(tmp_path) == []


async def test_a_socket_left_by_a_crash_is_no_obstacle(tmp_path: Path) -> None:
    """The next service takes its place; commands without a service do the work themselves."""
    async with running(tmp_path):
        (path,) = sockets(tmp_path)
        os.link(path, tmp_path / "kept")
    (tmp_path / "kept").rename(path)
    assert await perform(tmp_path, AddOptOut(PERSON)) == Outcome(1)
    async with running(tmp_path):
        assert await perform(tmp_path, RemoveOptOut(PERSON)) == Outcome(1)


async def test_a_deep_folder_is_no_obstacle(tmp_path: Path) -> None:
    """The path of a Unix socket has some 100 bytes; ours may be longer."""
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    async with running(folder):
        assert await perform(folder, AddOptOut(PERSON)) == Outcome(1)


async def test_a_store_in_use_by_who_takes_no_commands(tmp_path: Path) -> None:
    """Then the command says whose it is."""
    async with open_store(tmp_path / "receiver.db"):
        with pytest.raises(StoreLocked, match=str(os.getpid())):
            await perform(tmp_path, AddOptOut(PERSON))


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"garbage\n",
        b"{}\n",
        b'{"type": "no.such.command"}\n',
        b'{"type": "opt_outs.add", "msisdn": 5}\n',
        b"[" * 60_000 + b"\n",
        b"x" * 200_000 + b"\n",
        b"no end",
    ],
)
async def test_nonsense_is_answered(tmp_path: Path, line: bytes) -> None:
    """Whatever comes over the socket, there is an answer, and the service goes on."""
    async with running(tmp_path):
        outcome = await said(tmp_path, line, whole=True)
        assert outcome.changed == 0
        assert outcome.failures
        assert await perform(tmp_path, AddOptOut(PERSON)) == Outcome(1)


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("id_", [2**63, 2**64, 0, -1])
async def test_an_id_that_nothing_can_have_is_refused(
    tmp_path: Path, id_: int, *, beside: bool
) -> None:
    """In words about the id, by a service and without one."""

    async def refused(command: Command) -> bool:
        outcome = await perform(tmp_path, command)
        return outcome.changed == 0 and outcome.failures[0].startswith("Expected `int`")

    async with running(tmp_path) if beside else nullcontext():
        assert await refused(RetryJobs(id_))
        assert await refused(RetryQuarantined(id_))
        assert await refused(Replay(events=[(id_, 1)]))


async def test_what_the_audit_keeps_is_bounded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what the log says: however long the name is that somebody gives himself."""
    long = "x" * 60_000
    async with running(tmp_path):
        for command in ({"type": "jobs.retry"}, {"type": "opt_outs.add", "short_code": long}):
            given = {"msisdn": PERSON, **command}
            await said(tmp_path, msgspec.json.encode({"command": given, "by": long[:3000]}) + b"\n")
    acts = stored.acts(tmp_path / "receiver.db")
    assert [act.act for act in acts] == ["jobs.retry", "opt_outs.add"]
    assert all(len(act.who) + len(msgspec.json.encode(act.details)) < 1000 for act in acts)
    assert long[:1000] not in capsys.readouterr().out


async def test_a_silent_connection_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told why, and commands are taken as before."""
    monkeypatch.setattr(control, "PATIENCE", 0.01)
    async with running(tmp_path):
        assert "expected a command within" in (await said(tmp_path, b"")).failures[0]
        monkeypatch.setattr(control, "PATIENCE", 30)
        assert await perform(tmp_path, AddOptOut(PERSON)) == Outcome(1)


async def test_connections_are_bounded_in_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the limit they are refused, until others have gone."""
    monkeypatch.setattr(control, "MOST_CONNECTIONS", 2)
    async with running(tmp_path), AsyncExitStack() as stack:
        silent = [await stack.enter_async_context(connected(tmp_path)) for _ in range(2)]
        assert "more than 2 commands at once" in (await said(tmp_path, b"")).failures[0]
        silent[0][1].write(b"{}\n")
        await silent[0][0].read()

        async def done() -> bool:
            with suppress(OSError, StoreLocked):
                return await perform(tmp_path, AddOptOut(PERSON)) == Outcome(1)
            return False

        await until_async(done, "a command")


@pytest.mark.parametrize("umask", [0o000, 0o777])
async def test_the_socket_is_private_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: int
) -> None:
    """Whatever the umask is: nobody else can connect between two calls, and the owner can."""
    chmod, modes = Path.chmod, []

    def seen(path: Path, mode: int) -> None:
        modes.append(stat.S_IMODE(path.stat().st_mode))
        chmod(path, mode)

    async with opened(tmp_path) as service:
        monkeypatch.setattr(Path, "chmod", seen)
        before = os.umask(umask)
        try:
            async with control.listening(service):
                (path,) = sockets(tmp_path)
                modes.append(stat.S_IMODE(path.stat().st_mode))
        finally:
            os.umask(before)
    assert modes[0] & 0o177 == 0
    assert modes[-1] == 0o600


async def test_another_file_in_its_place_is_left_alone(tmp_path: Path) -> None:
    """The service does not start, and says which file has to go."""
    async with opened(tmp_path) as service:
        file = tmp_path / "receiver.db.sock"
        file.write_text("notes")
        with pytest.raises(ReceiverError, match=r"receiver\.db\.sock: .*move it away"):
            async with control.listening(service):
                pass
    assert file.read_text() == "notes"


async def test_a_service_that_dies_gives_no_answer(tmp_path: Path) -> None:
    """The command says so instead of hanging."""

    async def dies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.close()

    async with open_store(tmp_path / "receiver.db"):
        with control.socket_path(tmp_path / "receiver.db") as short:
            server = await asyncio.start_unix_server(dies, short)
        async with server:
            with pytest.raises(StoreError, match="gave no answer"):
                await perform(tmp_path, AddOptOut(PERSON))


async def test_a_connection_that_breaks_is_no_service_that_is_missing(tmp_path: Path) -> None:
    """The command may have been carried out: what asks must not take it for undone."""

    def breaks(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:  # closed with the command unread in it, so that the other end is reset
            connection.recv(1, socket.MSG_PEEK)

    async with open_store(tmp_path / "receiver.db"):
        with control.socket_path(tmp_path / "receiver.db") as short:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(short))
            listener.listen()
        with listener:
            breaking = asyncio.create_task(asyncio.to_thread(breaks, listener))
            with pytest.raises(StoreError, match="gave no answer"):
                await control.ask(tmp_path / "receiver.db", AddOptOut(PERSON))
            await breaking


async def test_a_command_that_ends_by_an_error_is_uncertain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The opt-out is stored and the audit fails: nobody may say that nothing was done."""

    def full(*_: object) -> None:
        raise ValueError("no room")

    async with running(tmp_path) as service:
        monkeypatch.setattr(audit, "add", full)
        outcome = await control.ask(tmp_path / "receiver.db", AddOptOut(PERSON))
        assert await service.store.reader.opt_outs.find(PERSON)
    assert outcome.uncertain
    assert outcome.failures


async def test_retrying_takes_the_secret_of_now(tmp_path: Path) -> None:
    """A request that no credential of today opens stays where it is."""
    async with opened(tmp_path) as service:
        with pytest.raises(Exception, match="credential"):
            await take(service, inbound(1, api_token=TOKEN + "x"))
    outcome = await perform(tmp_path, RetryQuarantined())
    assert outcome.changed == 0
    assert "credential" in outcome.failures[0]
