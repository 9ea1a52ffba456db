"""What `receiver doctor` and /metrics tell of a store in PostgreSQL, on a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.config import Postgresql
from receiver.store.engine import engine_of
from tests.cli.program import run, told
from tests.harness import Wire, inbound, request, serve, settings, write
from tests.ports import free_port
from tests.postgresql.databases import Databases
from tests.store.sql import change


@pytest.fixture
def address(databases: Databases) -> Iterator[Postgresql]:
    """A store without rows."""
    with databases.new() as made:
        with engine_of(made).writer(works=False) as (connection, _):
            connection.close()
        yield made


def examined(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Level and words of what the doctor finds, by check."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in run(folder, "doctor", "--json").stdout.splitlines():
        each = json.loads(line)
        found.setdefault(each["check"], []).append((each["level"], each["found"]))
    return found


def reds(found: dict[str, list[tuple[str, str]]]) -> list[str]:
    """The first words of what is red: the server of the tests writes nothing to its disk."""
    return [said.split()[0] for each in found.values() for level, said in each if level == "red"]


def test_a_receiver_is_found_and_its_files(address: Postgresql, tmp_path: Path) -> None:
    """Beside it: who leads, that it takes commands, and the metrics of it."""
    admin = free_port()
    raw = settings(
        server={"port": free_port(), "admin": f"127.0.0.1:{admin}"},
        store={"url": address.url.reveal()},
    )
    with serve(tmp_path, raw) as service:
        assert service.post(inbound(1)).status == 200
        found = examined(tmp_path)
        with Wire(admin) as wire:
            wire.send(request("GET", "/metrics"))
            metrics = wire.answer().body.decode()
    [(level, node)] = found["nodes"]
    assert (level, node.endswith("; leads")) == ("green", True), node
    assert f" {service.process.pid}: version " in node
    pid = service.process.pid
    assert found["service"][0] == ("green", f"process {pid} has the store and takes commands")
    assert found["database"][0][1].startswith("PostgreSQL ")
    assert found["replication"][0][0] == "yellow"
    assert found["store"][0][1].startswith(f"{address}: schema ")
    assert not {"sqlite", "integrity", "disk", "sync"} & found.keys()
    for line in ('receiver_nodes{state="alive"} 1.0', "receiver_leaders 1.0"):
        assert f"\n{line}\n" in metrics


def test_without_a_receiver_all_else_is_told(address: Postgresql, tmp_path: Path) -> None:
    """And a standby is asked for; nothing is red."""
    write(tmp_path, settings(store={"url": address.url.reveal()}))
    found = examined(tmp_path)
    assert found["nodes"] == [("yellow", "no receiver uses the store")]
    said = f"no service of this machine runs on {address}"
    assert found["service"][0] == ("yellow", said)
    assert reds(found) == ["fsync"]


def test_a_database_that_is_away_is_red(tmp_path: Path) -> None:
    """Once, with its address and without its password; no other check fails by it."""
    url = f"postgresql://receiver:hidden@127.0.0.1:{free_port()}/sms"
    write(tmp_path, settings(store={"url": url}))
    result = run(tmp_path, "doctor")
    assert result.returncode == 1
    assert "hidden" not in result.stdout
    found = examined(tmp_path)
    red = [check for check, each in found.items() if "red" in dict(each)]
    assert red == ["store"]


def test_a_role_without_rights_sees_what_it_may(address: Postgresql, tmp_path: Path) -> None:
    """Standbys are hidden from it, once there are some; else it is told the same."""
    change(address, "CREATE ROLE plain LOGIN")
    change(address, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO plain")
    try:
        url = address.url.reveal().replace("postgres@", "plain@")
        write(tmp_path, settings(store={"url": url}))
        found = examined(tmp_path)
    finally:
        change(address, "DROP OWNED BY plain")
        change(address, "DROP ROLE plain")
    assert reds(found) == ["fsync"]
    assert found["nodes"] == [("yellow", "no receiver uses the store")]


def test_copies_are_the_servers_own_matter(address: Postgresql, tmp_path: Path) -> None:
    """What to use instead, and which files are this machine's; the password is in none of it."""
    url = address.url.reveal().replace("postgres@", "postgres:hidden@")
    write(tmp_path, settings(store={"url": url, "files": "here"}))
    for command, words in (("backup", "pg_basebackup"), ("restore", "pg_restore")):
        result = run(tmp_path, command, "copy.db")
        assert (result.returncode, result.stdout) == (1, "")
        assert words in result.stderr
        assert f"{tmp_path}/here.console" in result.stderr
        assert "hidden" not in result.stderr
    shown = told(tmp_path, "check")
    assert f"store    {address}\n" in shown
    assert f"files    {tmp_path}/here.*\n" in shown
    assert f"no service of this machine runs on {address}" in run(tmp_path, "reload").stderr


def test_users_of_the_console_are_files_of_the_machine(address: Postgresql, tmp_path: Path) -> None:
    """They need no database, and are beside `store.files`."""
    write(tmp_path, settings(store={"url": address.url.reveal(), "files": "here"}))
    told(tmp_path, "console", "add-token", "prometheus")
    assert "prometheus" in told(tmp_path, "console", "tokens")
    assert (tmp_path / "here.console").exists()


def test_another_isolation_of_the_database_changes_nothing(address: Postgresql) -> None:
    """A transaction that waits for the lock must see what was committed meanwhile."""
    name = address.url.reveal().rpartition("/")[2]
    change(address, f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
    try:
        with engine_of(address).writer(works=False) as (connection, _):
            with connection.transaction():
                row = connection.tx.execute("SHOW transaction_isolation").fetchone()
            connection.close()
    finally:
        change(address, f"ALTER DATABASE {name} RESET default_transaction_isolation")
    assert row == ("read committed",)
