"""The shipped systemd unit, as systemd itself judges it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from receiver import server, workers
from receiver.config import DEFAULT_FILES, Server

ROOT = Path(__file__).parents[1]
UNIT = ROOT / "systemd" / "receiver.service"
#: What `systemd-analyze security` may say at most, out of 10.
EXPOSURE = 2.0


def values(name: str) -> list[str]:
    """What the unit says for a directive, each time it does."""
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text("utf-8"), re.MULTILINE)


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


@pytest.mark.parametrize("name", ["receiver.service", "receiver-backup.service"])
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


def test_unit_waits_for_the_end() -> None:
    """Systemd kills no sooner than the service gives requests and handlers to finish."""
    [seconds] = values("TimeoutStopSec")
    assert float(seconds) > server._GRACE + workers._GRACE


def test_wrong_configuration_is_not_tried_again(tmp_path: Path) -> None:
    """The status that the program ends with for a wrong configuration ends the restarts."""
    wrong = tmp_path / "receiver.toml"
    wrong.write_text("[serve]\n")
    command = [sys.executable, "-m", "receiver", "serve", "--config", str(wrong)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert values("RestartPreventExitStatus") == [str(done.returncode)]
