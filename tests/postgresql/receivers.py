"""Receivers on one store in PostgreSQL, each the real program with a port of its own."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

from tests.harness import PATIENCE, Running, launch, until, write
from tests.ports import free_port


class Receiver:
    """`receiver serve` in a folder of its own, started and ended as often as a test likes."""

    def __init__(
        self,
        folder: Path,
        raw: Mapping[str, Any],
        url: str,
        environment: Mapping[str, str],
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.starts = 0
        self.environment = environment
        """Of its next start."""
        self._launched = ExitStack()
        self._running: Running | None = None
        server = {**raw["server"], "port": self.port}
        self._file = write(folder, {**raw, "server": server, "store": {"url": url}})

    @property
    def running(self) -> Running:
        """Its process."""
        assert self._running is not None
        return self._running

    @property
    def ended(self) -> bool:
        """Its process is not there."""
        return self._running is None or self._running.process.poll() is not None

    @property
    def log(self) -> str:
        """All that it has logged since it was made."""
        files = sorted(self.folder.glob("log-*.jsonl"))
        return "".join(file.read_text("utf-8", "replace") for file in files)

    def errors(self) -> list[dict[str, Any]]:
        """The entries of its log that tell of an error of the program's own."""
        entries = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [entry for entry in entries if "exception" in entry]

    def start(self, *, ready: bool = True) -> None:
        """Starts it; returns when it is ready, or at once."""
        self._launched.close()
        self.starts += 1
        self._running = self._launched.enter_context(
            launch(
                self.folder, "serve", "--config", str(self._file),
                env={**os.environ, **self.environment},
            )
        )  # fmt: skip
        if ready:
            self.await_ready()

    def await_ready(self, seconds: float = PATIENCE) -> None:
        """Returns when it says that it is ready, however often it has to be started for that."""
        deadline = time.monotonic() + seconds

        def ready() -> bool:
            self.keep()
            try:
                return self.running.get("/readyz").status == 200
            except (OSError, EOFError):
                return False

        self.running.port = self.port
        until(ready, f"ready: {self.folder}", deadline - time.monotonic())

    def keep(self) -> None:
        """Starts it again if it has ended by itself, as systemd does."""
        if self._running is not None and self.ended:
            self.start(ready=False)
            self.running.port = self.port

    def stop(self) -> int:
        """Stops it; its exit status."""
        status = self.running.stop()
        self._running = None
        return status

    def kill(self) -> None:
        """Kills it; nobody starts it again but the test."""
        self.running.kill()
        self._running = None

    def pause(self) -> None:
        """Has it stand still."""
        self.running.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Has it go on."""
        self.running.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Ends it."""
        self._launched.close()


@contextmanager
def receivers(
    folder: Path,
    raw: Mapping[str, Any],
    *urls: str,
    environments: Sequence[Mapping[str, str]] = ({},),
) -> Iterator[list[Receiver]]:
    """A receiver for each URL of the same store, ready; ended with the block.

    `environments`: of one after the other, and again from the first.
    """
    made = [
        Receiver(folder / f"receiver-{number}", raw, url, environment)
        for number, (url, environment) in enumerate(zip(urls, cycle(environments), strict=False))
    ]
    try:
        for receiver in made:
            receiver.start()
        yield made
    finally:
        for receiver in made:
            receiver.close()
