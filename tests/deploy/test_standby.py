"""What docs/scale-out.md says of PostgreSQL, typed into two empty Debian 12 with systemd."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.debian import ROOT, Machine, blocks, connected, debian
from tests.harness import inbound, serve, settings, until, write

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "scale-out.md"
NAMES, BOTH = blocks("PostgreSQL", PAGE)
[PRIMARY] = blocks("The primary", PAGE)
FOLLOW, WAIT = blocks("A standby that has every message", PAGE)
[PROMOTE] = blocks("Promotion", PAGE)
#: What differs on the second server, and when it is the primary.
OURS, THEIRS = "name=db1 me=$db1 ", "name=db2 me=$db2 "
FIRST, SECOND = "primary=$db1\n", "primary=$db2\n"
ETC = "/etc/postgresql/15/main"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Machine]]:
    """Two Debians with addresses of the page, on which it was followed to the standby."""
    folders = [tmp_path_factory.mktemp(name) for name in ("db1", "db2")]
    with debian(folders[0]) as one, debian(folders[1], like=one) as two:
        connected(one, "10.0.0.21", two, "10.0.0.22")
        for each in (one, two):
            typed(each, one, BOTH)
        certificates = "".join(each.path(f"{ETC}/server.crt").read_text() for each in (one, two))
        for each in (one, two):
            each.path(f"{ETC}/servers.crt").write_text(certificates)
        typed(one, one, PRIMARY)
        password = one.path("/root/standby.password").read_text()
        for each in (one, two):
            each.path("/root/standby.password").write_text(password)
        assert FIRST in FOLLOW
        typed(two, one, FOLLOW)
        typed(one, one, WAIT)
        yield [one, two]


def typed(machine: Machine, first: Machine, *commands: str) -> str:
    """What root sees who types this after the names, which are others on the second server."""
    assert OURS in NAMES
    names = NAMES if machine is first else NAMES.replace(OURS, THEIRS)
    return machine.type("\n".join([names, *commands]))


def follows(primary: Machine) -> bool:
    """Commits wait for the other one."""
    return "| sync" in primary.type(WAIT.splitlines()[-1])


def run(machine: Machine, folder: Path, *arguments: str) -> tuple[int, str]:
    """Status and output of our program in the network of a machine."""
    config = ("--config", str(folder / "receiver.toml"))
    process = machine.start(sys.executable, "-m", "receiver", *arguments, *config)
    said, _ = process.communicate(timeout=60)
    return process.returncode, said


def of_page(folder: Path, servers: Sequence[Machine]) -> dict[str, Any]:
    """The section of the page, with the file and the password where they are here."""
    found = PAGE.read_text("utf-8").partition("\n[store]\n")[2].partition("```")[0]
    store = tomllib.loads(found)
    certificates = folder / "servers.crt"
    certificates.write_text(servers[0].path(f"{ETC}/servers.crt").read_text())
    url = store["url"].replace("/etc/receiver/servers.crt", str(certificates))
    assert url != store["url"]
    password = servers[0].path("/root/receiver.password")
    return {"url": url, "password": f"file:{password}", "files": str(folder / "files")}


def replication(machine: Machine, folder: Path) -> tuple[str, str]:
    """Level and words of the doctor."""
    _, said = run(machine, folder, "doctor", "--json")
    [found] = [
        each for each in map(json.loads, said.splitlines()) if each["check"] == "replication"
    ]
    return found["level"], found["found"]


def test_a_store_moves_and_outlives_its_primary(servers: list[Machine], tmp_path: Path) -> None:
    """Over TLS, to a primary whose commits wait; then the standby is promoted, and they swap."""
    one, two = servers
    until(lambda: follows(one), "commits wait for the standby")
    with serve(tmp_path / "file") as service:
        for number in range(3):
            assert service.post(inbound(number)).status == 200
    file = tmp_path / "file" / "receiver.db"
    write(tmp_path, settings(store=of_page(tmp_path, servers)))
    status, said = run(one, tmp_path, "migrate-store", "--from", f"sqlite:{file}")
    assert (status, "rows, verified" in said) == (0, True), said
    level, words = replication(one, tmp_path)
    assert (level, "standby db2: streaming, sync" in words) == ("green", True), words

    one.type("systemctl disable --now postgresql")
    typed(two, one, PROMOTE)
    status, said = run(two, tmp_path, "events", "--json")
    assert (status, len(said.splitlines())) == (0, 3), said
    typed(one, one, FOLLOW.replace(FIRST, SECOND), "systemctl enable postgresql")
    typed(two, one, WAIT)
    until(lambda: follows(two), "commits wait for what was the primary")
    level, words = replication(two, tmp_path)
    assert (level, "standby db1: streaming, sync" in words) == ("green", True), words
