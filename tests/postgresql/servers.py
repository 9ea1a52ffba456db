"""PostgreSQL for tests: a server of its own, and a pair of a primary and a synchronous standby.

Each server is a process of this one, in a new folder, on a free port; it is ended by its process
id. As root it runs as the user `postgres`, which is all that PostgreSQL accepts. The data are not
flushed to the disk: only a machine that goes down would tell the difference.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

from tests.harness import until
from tests.ports import free_port
from tests.postgresql.network import HERE, Place

_FOUND = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda each: each.parts[-3])
_SETTINGS = {
    "fsync": "off",
    "wal_log_hints": "on",  # pg_rewind needs it
    "max_connections": "60",
    "shared_buffers": "16MB",
    "max_wal_size": "256MB",
    "wal_keep_size": "256MB",
    "wal_receiver_timeout": "5s",
    "wal_sender_timeout": "5s",
    "wal_retrieve_retry_interval": "200ms",
    "unix_socket_directories": "",
    "timezone": "UTC",
}
#: Whoever reaches a server may do everything there.
_OPEN = "host all all all trust\nhost replication all all trust\n"
#: What a standby that went away is waited for with.
_WAITED_FOR = "synchronous_standby_names"


def binaries() -> Path | None:
    """The folder of PostgreSQL's programs; None where it is not installed."""
    known = shutil.which("initdb")
    return _FOUND[-1].parent if _FOUND else Path(known).resolve().parent if known else None


def _user(place: Place) -> dict[str, Any]:
    """Runs a program as PostgreSQL's user if this is root, which PostgreSQL refuses."""
    if os.geteuid() or place.enter:
        return {}
    return {"user": "postgres", "group": "postgres", "extra_groups": []}


class Server:
    """A server in `folder`, which is made with `initdb` or is the copy of another one."""

    def __init__(self, folder: Path, place: Place = HERE) -> None:
        self.folder = folder
        self.place = place
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """All that it has logged."""
        return self.folder.with_suffix(".log").read_text("utf-8", "replace")

    @property
    def running(self) -> bool:
        """Its process is there."""
        return self._process is not None and self._process.poll() is None

    def create(self) -> None:
        """Makes an empty one, to be started."""
        run("initdb", "-D", self.folder, "-A", "trust", "-U", "postgres", "-E", "UTF8",
            "--no-locale", "--no-sync")  # fmt: skip
        with (self.folder / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in _SETTINGS.items())
        with (self.folder / "pg_hba.conf").open("a", encoding="utf-8") as file:
            file.write(_OPEN)

    def copy(self, of: Server) -> None:
        """Makes it a standby of another one, from a base backup."""
        shutil.rmtree(self.folder, ignore_errors=True)
        run("pg_basebackup", "-D", self.folder, "-d", of.peer_conninfo, "-R", "-X", "stream",
            "-c", "fast", "--no-sync", place=self.place)  # fmt: skip

    def rewind(self, to: Server) -> None:
        """Makes a former primary, which is stopped, a standby of another one."""
        run("pg_rewind", "-D", self.folder, "-R", "--no-sync",
            f"--source-server={to.peer_conninfo} dbname=postgres",
            place=self.place)  # fmt: skip

    @property
    def conninfo(self) -> str:
        """Its address for libpq."""
        return f"host={self.place.address} port={self.port} user=postgres"

    @property
    def peer_conninfo(self) -> str:
        """Its address for the other server, which tries again soon where packets vanish."""
        return f"host={self.place.peer} port={self.port} user=postgres tcp_user_timeout=2000"

    def start(self) -> None:
        """Starts it; returns when it answers."""
        programs = binaries()
        assert programs is not None
        with self.folder.with_suffix(".log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self.place.enter, programs / "postgres", "-D", self.folder, "-p", str(self.port),
                 "-h", self.place.listen],
                cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, **_user(self.place),
            )  # fmt: skip
        until(self._answers, f"a server that answers: {self.folder}.log")

    def _answers(self) -> bool:
        assert self.running, self.log
        try:
            self.ask("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stops it: clients are cut off, and the data are written back."""
        process = self._process
        if process is not None and process.poll() is None:
            self.resume()
            process.send_signal(how)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGQUIT)
                process.wait(20)

    def kill(self) -> None:
        """Ends it at once, as a crash: nothing is written back."""
        self.stop(signal.SIGQUIT)

    def pause(self) -> None:
        """Stops all its processes where they are: it answers nobody, and holds its connections."""
        for pid in self._pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Ends `pause`."""
        for pid in self._pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def processor_time(self) -> float:
        """Seconds of the processor that it has used, with all its processes of this moment."""
        return sum(_seconds(pid) for pid in self._pids())

    def _pids(self) -> list[int]:
        assert self._process is not None
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
        return [pid, *map(int, children)]

    def ask(self, query: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """The rows of a query, on a connection of its own; [] of what has none."""
        conninfo = f"{self.conninfo} dbname={database} connect_timeout=5"
        with psycopg.connect(conninfo, autocommit=True) as db:
            cursor = db.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    def set(self, name: str, value: str | None) -> None:
        """Changes a setting while it runs; None: as it was at first."""
        literal = "DEFAULT" if value is None else f"'{value}'"
        self.ask(f"ALTER SYSTEM SET {name} = {literal}")
        self.ask("SELECT pg_reload_conf()")
        until(lambda: value is None or self.ask(f"SHOW {name}") == [(value,)], f"{name} is set")

    def read_only(self, on: bool = True) -> None:  # noqa: FBT002 - reads as it is said
        """Has it refuse what changes anything, as operators do for maintenance."""
        self.set("default_transaction_read_only", "on" if on else "off")

    def slow_disk(self, milliseconds: int) -> None:
        """Has each commit wait for so long before it is written, at most 100; 0: not any more."""
        self.set("commit_siblings", "0")
        self.set("commit_delay", str(milliseconds * 1000))


class Pair:
    """A primary, and a standby on which a commit is before it is answered."""

    def __init__(self, folder: Path, places: tuple[Place, Place] = (HERE, HERE)) -> None:
        self.primary = Server(folder / "one", places[0])
        self.standby = Server(folder / "two", places[1])

    def start(self) -> None:
        """Makes and starts both; returns when commits wait for the standby."""
        self.primary.create()
        self.primary.start()
        self.primary.ask("CREATE DATABASE sms TEMPLATE template0")
        self.standby.copy(self.primary)
        self.standby.start()
        self.wait_for_standby()

    @property
    def servers(self) -> tuple[Server, Server]:
        """Both."""
        return self.primary, self.standby

    @property
    def url(self) -> str:
        """The store, for receivers that find out which server is the primary."""
        return url_at((server.place.address, server.port) for server in self.servers)

    def wait_for_standby(self) -> None:
        """Has commits wait for the standby, from the moment that it follows."""
        until(self._follows, "the standby follows")
        self.primary.set(_WAITED_FOR, "*")
        until(lambda: self._follows("sync"), "the standby is synchronous")

    def _follows(self, how: str = "async") -> bool:
        found = self.primary.ask(
            "SELECT sync_state FROM pg_stat_replication WHERE state='streaming'"
        )
        return found in ([(how,)], [("sync",)])

    def detach_standby(self) -> None:
        """Ends the standby; commits go on waiting for it."""
        self.standby.stop()

    def do_without_standby(self) -> None:
        """Has commits wait for no standby, as who manages the cluster does when it is lost."""
        self.primary.set(_WAITED_FOR, "")

    def promote(self, *, stop: bool = True) -> None:
        """Makes the standby the primary, of which the other one learns nothing.

        `stop`: it is ended before, as who manages the cluster must. What was the primary is
        `standby` from now on, and follows after `rejoin`.
        """
        if stop:
            self.primary.kill()
        self.primary, self.standby = self.standby, self.primary
        self.primary.ask("SELECT pg_promote(true)")
        until(
            lambda: self.primary.ask("SELECT pg_is_in_recovery()") == [(False,)],
            "it is the primary",
        )
        self.do_without_standby()

    def rejoin(self, *, rewind: bool = True) -> None:
        """Has what was the primary follow, from where both agree or from a new base backup."""
        self.standby.stop()
        if rewind:
            self.primary.ask("CHECKPOINT")  # of its timeline, which pg_rewind reads
            self.standby.rewind(self.primary)
        else:
            self.standby.copy(self.primary)
        self.standby.start()
        self.wait_for_standby()


def url_of(ports: list[int], database: str = "sms") -> str:
    """The URL of a store on servers of this machine."""
    return url_at((("127.0.0.1", port) for port in ports), database)


def url_at(servers: Iterable[tuple[str, int]], database: str = "sms") -> str:
    """The URL of a store on servers at these addresses and ports."""
    hosts = ",".join(f"{address}:{port}" for address, port in servers)
    return f"postgresql://postgres@{hosts}/{database}"


def run(program: str, *arguments: object, place: Place = HERE) -> None:
    """Runs one of PostgreSQL's programs."""
    programs = binaries()
    assert programs is not None
    done = subprocess.run(
        [*place.enter, programs / program, *map(str, arguments)],
        cwd="/", capture_output=True, text=True, check=False, **_user(place),
    )  # fmt: skip
    assert done.returncode == 0, f"{program}: {done.stderr}"


def _seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's user may enter, which those of pytest are not as root."""
    made = Path(tempfile.mkdtemp(prefix="sms-receiver-postgresql-"))
    if not os.geteuid():
        shutil.chown(made, "postgres", "postgres")
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def single(*databases: str) -> Iterator[Server]:
    """A server with these databases; `sms` if none is named."""
    with folder() as made:
        server = Server(made / "one")
        server.create()
        try:
            server.start()
            for name in databases or ("sms",):
                server.ask(f"CREATE DATABASE {name} TEMPLATE template0")
            yield server
        finally:
            server.kill()


@contextmanager
def small_disk(server: Server, size: int) -> Iterator[Path]:
    """Has the database `full_disk` on a file system of so many bytes; yields its folder.

    Raises OSError where nothing can be mounted.
    """
    mounted = server.folder.with_name("disk")
    mounted.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", mounted],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise OSError(done.stderr.strip())
    try:
        place = mounted / "tables"
        place.mkdir()
        if not os.geteuid():
            shutil.chown(place, "postgres", "postgres")
        server.ask(f"CREATE TABLESPACE small LOCATION '{place}'")
        server.ask("CREATE DATABASE full_disk TEMPLATE template0 TABLESPACE small")
        yield mounted
    finally:
        server.kill()
        subprocess.run(["umount", mounted], check=True)


@contextmanager
def pair(places: tuple[Place, Place] = (HERE, HERE)) -> Iterator[Pair]:
    """A primary and a synchronous standby with the database `sms`."""
    with folder() as made:
        pair = Pair(made, places)
        try:
            pair.start()
            yield pair
        finally:
            for server in pair.servers:
                server.kill()
