"""The servers that are measured, as processes of their own on one pinned core."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_ROOT = Path(__file__).parents[1]

_CONFIG = """\
[server]
port = {port}
admin = ""

[store]
url = "{url}"

[sources.tilil]
provider = "tilil"
tokens = ["944a73412bed1240b5a2afa381a928a6", "23627367236232ghgge23g22gh2gh2"]

[sources.tsconect]
provider = "tsconect"
tokens = ["cb-7f3a9d"]

[plugins]
enabled = ["keyword_reply", "subscriptions", "opt_out"]
"""
_RULE = """
[[plugins.keyword_reply.rules]]
keyword = "{keyword}"
to = "70700"
reply = "{reply}"
"""


class Contestant:
    """A running server."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"

    def cpu(self) -> float:
        """Seconds of processor time it has used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory(self) -> float:
        """Resident megabytes."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * _PAGE / 1e6


@contextmanager
def constant(core: int) -> Iterator[Contestant]:
    """Contestant a: an empty endpoint."""
    with _uvicorn("benchmarks.rivals:constant", core, {}) as contestant:
        yield contestant


@contextmanager
def tutorial(core: int, folder: Path) -> Iterator[Contestant]:
    """Contestant b: a commit for each request."""
    for file in folder.glob("tutorial.db*"):
        file.unlink()
    environ = {"TUTORIAL_STORE": str(folder / "tutorial.db")}
    with _uvicorn("benchmarks.rivals:tutorial", core, environ) as contestant:
        yield contestant


@contextmanager
def receiver(
    core: int,
    folder: Path,
    *,
    rules: int = 50,
    store: str = "receiver.db",
    before: str = "",
    tree: Path | None = None,
    under: Sequence[str] = (),
) -> Iterator[Contestant]:
    """Contestant c: this program, full configuration; `before` are further rules in front.

    `tree`: a checkout whose program it is instead of this one's. `under`: a command that runs it.
    """
    port = free_port()
    config = write_config(folder, port, rules=rules, store=store, before=before)
    command = [*under, sys.executable, "-m", "receiver", "serve", "--config", str(config)]
    # `-m` looks in the working folder first, before PYTHONPATH.
    with running(command, core, port, {}, folder / "receiver.log", tree or _ROOT) as contestant:
        yield contestant


def write_config(folder: Path, port: int, *, rules: int, store: str, before: str = "") -> Path:
    """A configuration with so many keyword rules; the last of them answers the benchmark.

    `store`: a file of SQLite, or the URL of a database.
    """
    words = [f"WORD{number}" for number in range(rules - 1)] + ["TEST"]
    replies = ["You said {{ rest }}"] * (rules - 1) + ["Thank you for your message."]
    url = store if "://" in store else f"sqlite:{store}"
    text = _CONFIG.format(port=port, url=url) + before
    for keyword, reply in zip(words, replies, strict=True):
        text += _RULE.format(keyword=keyword, reply=reply)
    config = folder / "receiver.toml"
    config.write_text(text)
    return config


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _uvicorn(app: str, core: int, environ: dict[str, str]) -> Iterator[Contestant]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", app, "--port", str(port), "--no-access-log"]
    command += ["--loop", "uvloop", "--http", "httptools", "--log-level", "warning"]
    with running(command, core, port, environ, Path(os.devnull)) as contestant:
        yield contestant


@contextmanager
def running(
    command: list[str],
    core: int,
    port: int,
    environ: dict[str, str],
    log: Path,
    tree: Path = _ROOT,
) -> Iterator[Contestant]:
    """A server on one core, answering at `port`; ended with the block.

    `tree`: the checkout in which it is started, and so whose modules `-m` finds.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *command],
            env={**os.environ, **environ},
            cwd=tree,
            stdout=output,
            stderr=output,
        )
    try:
        _wait_for(port, process)
        yield Contestant(process, port)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).close()
        except OSError as error:
            if hasattr(error, "code"):  # it answers, if only that there is no such page
                return
            time.sleep(0.005)
        else:
            return
    sys.exit(f"nothing answers at port {port}; it ended with {process.poll()}")
