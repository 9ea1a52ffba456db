"""No answer leaves before what it acknowledges is on the disk."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.battery import broken
from tests.harness import PATIENCE, PROGRAM, inbound, launch, request, settings, write

REQUESTS = 50
#: A call that changes a file or sends bytes, and what `strace -y` says its descriptor is.
_CALL = re.compile(r"(?:<\.\.\. )?(\w+)(?:\((\d+<([^>]*)>))?")
_WRITES = {"write", "writev", "pwrite64", "pwritev", "pwritev2", "ftruncate"}
_SENDS = {"write", "writev", "send", "sendto", "sendmsg"}
_SYNCS = {"fsync", "fdatasync"}
_TRACED = ",".join(sorted(_WRITES | _SENDS | _SYNCS))


def early_answers(trace: str, store: str) -> tuple[int, list[str]]:
    """How many answers were sent, and those with unsynced writes, or none since the one before."""
    unsynced: set[str] = set()
    synced = False
    syncing: dict[str, str] = {}
    answers, early = 0, []
    for line in trace.splitlines():
        thread, _, call = line.partition(" ")
        match = _CALL.match(call.lstrip())
        if match is None:
            continue
        name, file = match[1], match[3] or ""
        if name in _SYNCS:
            file = syncing.pop(thread, file)
            if "<unfinished" in call:
                syncing[thread] = file
            elif call.rstrip().endswith("= 0"):
                synced |= file in unsynced
                unsynced.discard(file)
        elif name in _WRITES and file.startswith(store) and not file.endswith("-shm"):
            unsynced.add(file)
        elif name in _SENDS and '"HTTP/1.1 200' in call:
            answers += 1
            if unsynced or not synced:
                early.append(call)
            synced = False
    return answers, early


def traced(folder: Path, program: Sequence[str] = PROGRAM) -> tuple[int, list[str]]:
    """Fifty pushes, one after the other, to a service whose system calls are noted."""
    file, log = write(folder, settings()), folder / "trace"
    tracer = ["strace", "-f", "-y", "-qq", "-s", "32", "-e", f"trace={_TRACED}", "-o", str(log)]
    arguments = ("serve", "--config", str(file))
    with launch(folder, *arguments, program=[*tracer, *program]) as service:
        service.await_ready()
        log.write_bytes(b"")  # from here on; it is written at its end
        with service.wire() as wire:
            for n in range(REQUESTS):
                wire.send(request("POST", "/hooks/tilil", inbound(n, "GAME")))
                assert wire.answer().status == 200
        pid = service.process.pid
        child = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        os.kill(child, signal.SIGTERM)
        service.process.wait(PATIENCE)
    return early_answers(log.read_text(errors="replace").replace("\0", ""), str(service.store))


needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is not installed: it shows the order of calls"
)


@needs_strace
def test_every_answer_comes_after_its_sync(tmp_path: Path) -> None:
    """Of fifty pushes each is written, then synced, then answered."""
    answers, early = traced(tmp_path)
    assert (answers, early) == (REQUESTS, [])


@needs_strace
@pytest.mark.parametrize("variant", ["answer_first", "no_sync"])
def test_the_check_finds_answers_before_the_sync(tmp_path: Path, variant: str) -> None:
    """Control: answering first, or committing without a sync, fails the same check."""
    answers, early = traced(tmp_path, broken.program(variant))
    assert answers == REQUESTS
    assert early
