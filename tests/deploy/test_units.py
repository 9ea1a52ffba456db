"""The shipped systemd units, as systemd itself judges them, and what they run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from receiver.config import DEFAULT_FILES, Server
from receiver.service import server
from tests import stored
from tests.harness import (
    PROGRAM,
    Wire,
    inbound,
    launch,
    request,
    serve,
    settings,
    until,
    write,
)
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "systemd" / "receiver.service"
BACKUP = UNIT.with_name("receiver-backup.service")
#: What `systemd-analyze security` may say at most, out of 10.
EXPOSURE = 2.0


def values(name: str, unit: Path = UNIT) -> list[str]:
    """What a unit says for a directive, each time it does."""
    text = unit.read_text("utf-8").replace("\\\n", "")
    return re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What systemd-analyze says; skips where it is missing or too old for this."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if "unrecognized option" in done.stderr:
        pytest.skip(f"systemd-analyze is too old: {done.stderr.strip()}")
    return done


def test_units_are_clean(tmp_path: Path) -> None:
    """Systemd finds no fault in them together, apart from where the program is installed."""
    units = sorted(UNIT.parent.iterdir())
    program = values("ExecStart")[0].split(" ")[0]
    for unit in units:
        installed = unit.read_text("utf-8").replace(program, sys.executable)
        (tmp_path / unit.name).write_text(installed, "utf-8")
    done = analyze("verify", *(str(tmp_path / unit.name) for unit in units))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_socket_is_where_the_service_listens() -> None:
    """By default, so that `receiver simulate` finds it."""
    socket = UNIT.with_name("receiver.socket").read_text("utf-8")
    assert f"ListenStream={Server().host}:{Server().port}\n" in socket


@pytest.mark.parametrize(
    "name", ["receiver.service", "receiver-backup.service", "receiver-console.service"]
)
def test_units_expose_little(name: str) -> None:
    """Systemd's own judgement of a unit's exposure stays low."""
    done = analyze("security", "--offline=true", "--no-pager", str(UNIT.with_name(name)))
    found = re.search(rf"Overall exposure level for {name}: ([0-9.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= EXPOSURE


def test_unit_starts_what_make_installs() -> None:
    """The unit starts the program where `make install` puts it, with the default configuration."""
    [command] = values("ExecStart")
    prefix = re.search(r"^PREFIX \?= (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert prefix
    expected = f"{prefix[1]}/bin/receiver serve --config {DEFAULT_FILES[-1]} --fd 3"
    assert command == expected


def test_the_consoles_unit_starts_the_same_program() -> None:
    """With the same configuration, as the same user, and what is wrong in it ends the restarts."""
    console = UNIT.with_name("receiver-console.service")
    [command], [service] = values("ExecStart", console), values("ExecStart")
    assert command == service.replace(" serve ", " console ").removesuffix(" --fd 3")
    for name in ("User", "RestartPreventExitStatus", "UMask", "SystemCallFilter"):
        assert values(name, console) == values(name)


def test_unit_waits_for_the_end() -> None:
    """Systemd kills no sooner than the service gives itself to end."""
    [seconds] = values("TimeoutStopSec")
    assert float(seconds) > server.STOP_WITHIN


def test_a_migration_may_take_its_time() -> None:
    """Systemd waits for the first READY=1 longer than millions of events take to be migrated."""
    assert values("TimeoutStartSec") == ["1h"]


def test_wrong_configuration_is_not_tried_again(tmp_path: Path) -> None:
    """The status that the program ends with for a wrong configuration ends the restarts."""
    wrong = tmp_path / "receiver.toml"
    wrong.write_text("[serve]\n")
    command = [sys.executable, "-m", "receiver", "serve", "--config", str(wrong)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert values("RestartPreventExitStatus") == [str(done.returncode)]


def test_started_by_the_socket(tmp_path: Path) -> None:
    """The unit's command, started by systemd's own opener of sockets, answers what started it."""
    program = shutil.which("systemd-socket-activate")
    if program is None:
        pytest.skip("systemd-socket-activate is not installed")
    port = free_port()
    file = write(tmp_path, settings())
    [command] = values("ExecStart")
    words = ["--config", str(file), *command.partition(str(DEFAULT_FILES[-1]))[2].split()]
    opener = (program, f"--listen=127.0.0.1:{port}", "--setenv=PYTHONPATH", *PROGRAM)
    with launch(tmp_path, "serve", *words, program=opener) as running:
        running.port = port
        until(lambda: "Listening on" in running.log, "the opener listens")
        with Wire(port) as wire:
            wire.send(request("POST", "/hooks/tilil", inbound("1", "GAME")))
            assert wire.answer().json["result_message"] == "Welcome"
        assert running.stop() == 0


# Backups


def back_up(folder: Path) -> int:
    """Runs what the backup's unit runs, as systemd does, with this folder for its places.

    The status it ends with.
    """
    backups = folder / "backups"
    backups.mkdir(exist_ok=True)
    program = folder / "receiver"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(PROGRAM)} "$@"\n')
    program.chmod(0o755)
    places = {
        "/opt/sms-receiver/bin/receiver": program,
        str(DEFAULT_FILES[-1]): folder / "receiver.toml",
        "/var/backups/receiver": backups,
    }
    for line in [*values("ExecStart", BACKUP), *values("ExecStartPost", BACKUP)]:
        assert not re.search("[%$]", re.sub(r"%%|\$\$", "", line))  # systemd would expand these
        ours = line
        for place, path in places.items():
            ours = ours.replace(place, str(path))
        words = [word.replace("$$", "$").replace("%%", "%") for word in shlex.split(ours)]
        status = subprocess.run(words, check=False, capture_output=True).returncode
        if status != 0:  # systemd then leaves out the rest
            break
    return status


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A backup of 20 days ago, and others that must stay."""
    backups = tmp_path / "backups"
    (backups / "kept").mkdir(parents=True)
    for name, days in (("receiver-a.db.plugins", 20), ("receiver-c.db.plugins", 13)):
        (backups / name).mkdir()
        (backups / name / "votes.db").touch()
        when = time.time() - days * 86400
        os.utime(backups / name, (when, when))
    ages = {"receiver-a.db": 20, "receiver-b.db.part": 20, "receiver-c.db": 13}
    ages |= {"kept/receiver-d.db": 20, "notes.txt": 20}
    for name, days in ages.items():
        file = backups / name
        file.touch()
        when = time.time() - days * 86400
        os.utime(file, (when, when))
    return backups


def files(folder: Path) -> set[str]:
    """The files below a folder."""
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def test_the_backup_unit_backs_up(tmp_path: Path, old: Path) -> None:
    """What it runs copies the store under the time of it, and deletes its own old copies only."""
    with serve(tmp_path) as running:
        running.post(inbound("1"))
        assert back_up(tmp_path) == 0
    [copy] = old.glob("receiver-2*.db")
    assert re.fullmatch(r"receiver-\d{8}T\d{6}Z\.db", copy.name)
    assert stored.keys(copy) == ["message:1"]
    kept = {copy.name, "receiver-c.db", "kept/receiver-d.db", "notes.txt"}
    kept.add("receiver-c.db.plugins/votes.db")
    assert files(old) == kept


def test_a_failed_backup_deletes_nothing(tmp_path: Path, old: Path) -> None:
    """Without a new backup the old ones stay, however old."""
    before = files(old)
    write(tmp_path, settings())  # and no store
    assert back_up(tmp_path) == 1
    assert files(old) == before
