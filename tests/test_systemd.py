"""The shipped systemd unit, as systemd itself judges it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from receiver import server, workers
from receiver.config import DEFAULT_FILES

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


def test_unit_is_clean(tmp_path: Path) -> None:
    """Systemd finds no fault in the unit, apart from where the program is installed."""
    [command] = values("ExecStart")
    program = command.split(" ")[0]
    installed = UNIT.read_text("utf-8").replace(program, sys.executable)
    unit = tmp_path / UNIT.name
    unit.write_text(installed, "utf-8")
    done = analyze("verify", str(unit))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_units_with_a_socket_are_clean(tmp_path: Path) -> None:
    """What docs/operations.md adds for a socket that stays open fits the unit."""
    [command] = values("ExecStart")
    program = command.split(" ")[0]
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    added = dict(
        re.findall(
            r"^```ini\n# /etc/systemd/system/(\S+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL
        )
    )
    assert list(added) == ["receiver.socket", "receiver.service.d/socket.conf"]
    for name, text in {**added, UNIT.name: UNIT.read_text("utf-8")}.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text.replace(program, sys.executable), "utf-8")
    done = analyze("verify", *(str(tmp_path / name) for name in (UNIT.name, "receiver.socket")))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert f"ExecStart=\nExecStart={command} --fd 3\n" in added["receiver.service.d/socket.conf"]


def test_unit_exposes_little() -> None:
    """Systemd's own judgement of the unit's exposure stays low."""
    done = analyze("security", "--offline=true", "--no-pager", str(UNIT))
    found = re.search(r"Overall exposure level for receiver\.service: ([0-9.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= EXPOSURE


def test_unit_starts_what_make_installs() -> None:
    """The unit starts the program where `make install` puts it, with the default configuration."""
    [command] = values("ExecStart")
    prefix = re.search(r"^PREFIX \?= (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert prefix
    expected = f"{prefix[1]}/bin/receiver serve --config {DEFAULT_FILES[-1]}"
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
