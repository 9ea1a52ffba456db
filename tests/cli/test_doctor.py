"""`receiver doctor`: beside a service and without one, and that it changes nothing."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from receiver.config import Server
from receiver.doctor import stored
from receiver.doctor.running import readiness
from receiver.events import utc_now
from receiver.fake import Fake
from receiver.store import job_changes, jobs, purges
from receiver.store.engine.sqlite import inspection
from receiver.store.engine.sqlite.files import lock
from receiver.store.engine.sqlite.schema import migrations
from tests.cli.program import on_terminal, run
from tests.cli.test_send import KEY, faking, sources
from tests.harness import (
    TOKEN,
    Running,
    inbound,
    serve,
    settings,
    until,
    write,
)
from tests.ports import free_port
from tests.stored import (
    change,
    damage,
    dump,
    indexed,
    make_foreign,
    read,
    set_schema,
)
from tests.stored import (
    jobs as all_jobs,
)

Findings = list[dict[str, str]]


def quiet(**sections: Any) -> dict[str, Any]:
    """A configuration with one source, of which nobody is warned."""
    raw = settings(**sections)
    raw["sources"] = sections.get("sources") or {"tilil": raw["sources"]["tilil"]}
    raw["plugins"] = {"enabled": ["opt_out"]}
    return raw


def examined(folder: Path, *arguments: str, status: int = 0) -> Findings:
    """What the doctor finds; with its exit status."""
    result = run(folder, "doctor", "--json", *arguments)
    assert (result.returncode, result.stderr) == (status, ""), result.stdout
    findings = [json.loads(line) for line in result.stdout.splitlines()]
    assert all((each["level"] == "green") == (not each["do"]) for each in findings)
    assert status == any(each["level"] == "red" for each in findings)
    return findings


def of(findings: Findings, check: str) -> list[tuple[str, str]]:
    """Level and words of what one check found."""
    return [(each["level"], each["found"]) for each in findings if each["check"] == check]


def worries(findings: Findings) -> list[str]:
    """The checks that found something to do."""
    return [each["check"] for each in findings if each["level"] != "green"]


def state(folder: Path) -> Mapping[str, Any]:
    """Every file in a folder: what is in it, whose it is, when it was changed."""
    return {
        file.name: (file.read_bytes(), file.stat().st_mtime_ns, file.stat().st_mode)
        for file in folder.iterdir()
        if file.is_file() and not file.name.endswith("-shm")  # memory, shared by who looks
    }


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service that has got a push from outside, by way of its proxy."""
    # Without lines of pushes, which are written a moment after the answer.
    # And without sweeps, the first of which would come a minute after the start.
    never = {"requests": "never", "quarantine": "never"}
    raw = quiet(server={"port": free_port()}, logs={"requests": "none"}, retention=never)
    with serve(tmp_path_factory.mktemp("served"), raw) as service:
        reply = service.post(inbound(1), x_forwarded_for="198.51.100.7, 8.8.8.8")
        assert reply.status == 200
        # The service notes the person behind the push once it is idle.
        until(lambda: indexed(service.store), "the person is noted")
        yield service


# With a service


def test_all_is_well_with_a_service(served: Running) -> None:
    """It takes commands and pushes, and has got a push; there is nothing to do."""
    found = examined(served.folder)
    assert worries(found) == []
    words = [words for _, words in of(found, "service")]
    pid, port = served.process.pid, served.port
    assert words[:2] == [
        f"process {pid} has the store and takes commands",
        f"http://127.0.0.1:{port} takes pushes",
    ]
    assert words[2].startswith("the service may have ")
    [(_, push)] = of(found, "source tilil")
    assert push.startswith("last push ")
    [(_, schema)] = of(found, "store")
    assert f": schema {len(migrations())}, " in schema
    [(_, proxies)] = of(found, "proxies")
    assert proxies.endswith("the last pushes have addresses from outside")


def state_beside(service: Running) -> tuple[Mapping[str, Any], list[str]]:
    """The files that a service does not write, and what its store says.

    Asked for `/readyz`, the service tries a write, so the bytes of its store are its own matter.
    """
    store = service.folder / "receiver.db"
    files = {name: each for name, each in state(service.folder).items() if store.name not in name}
    modes = {file.name: file.stat().st_mode for file in service.folder.glob("receiver.db*")}
    return {**files, **modes}, dump(store)


def test_nothing_is_changed_beside_a_service(served: Running) -> None:
    """No file, no row of the store, and no line of its log; thorough or not."""

    def counted() -> bool:
        return read(served.store, lambda reader: reader.metrics.uncounted()) is None

    until(counted, "nothing is left to be counted for reports")
    before, log = state_beside(served), served.log
    examined(served.folder)
    examined(served.folder, "--thorough")
    assert state_beside(served) == before
    assert served.log == log


def test_people_get_lines_with_what_to_do(served: Running, tmp_path: Path) -> None:
    """In colours on a terminal, and with the numbers of each at the end."""
    shown = on_terminal(served.folder, "doctor")
    assert "\x1b[32mgreen \x1b[0m  store: " in shown
    write(tmp_path, quiet())
    result = run(tmp_path, "doctor")
    lines = result.stdout.splitlines()
    line = lines.index(f"yellow  service: no service runs on {tmp_path}/receiver.db")
    assert lines[line + 1] == "        → start it: systemctl start receiver, or `receiver serve`"
    assert lines[-1].endswith(" yellow, 0 red")
    assert (result.returncode, result.stderr) == (0, "")


def test_a_service_that_hangs_is_red(tmp_path: Path) -> None:
    """It has the lock and its socket, and says nothing."""
    write(tmp_path, quiet())
    (tmp_path / "receiver.db").touch(0o600)
    with lock(tmp_path / "receiver.db"), socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "receiver.db.sock"))
        (tmp_path / "receiver.db.sock").chmod(0o600)
        found = examined(tmp_path, status=1)
    words = f"process {os.getpid()} has the store, but does not answer on "
    assert of(found, "service")[0] == ("red", f"{words}{tmp_path}/receiver.db.sock")


def test_a_command_that_has_the_store_is_told(tmp_path: Path) -> None:
    """Whoever has no socket is no service."""
    write(tmp_path, quiet())
    with lock(tmp_path / "receiver.db"):
        found = examined(tmp_path)
    level, words = of(found, "service")[0]
    assert level == "yellow"
    assert words == f"process {os.getpid()} has the store, and it is a command, not the service"


def test_an_address_that_does_not_answer_is_red(served: Running, tmp_path: Path) -> None:
    """Nobody is there, or another program, or the store takes nothing."""
    [nobody] = asyncio.run(readiness(Server(port=free_port())))
    assert nobody.level == "red"
    assert "does not answer: ConnectError" in nobody.found
    with faking() as fake:
        port = int(fake.url.rpartition(":")[2])
        [other] = asyncio.run(readiness(Server(port=port)))
    assert other.level == "red"
    assert "is not the service: /readyz answers 404" in other.found


def test_a_store_that_takes_nothing_is_red(tmp_path: Path) -> None:
    """With the reason that the admin address gives: here its file was taken away."""
    server = {"port": free_port(), "admin": f"127.0.0.1:{free_port()}"}
    with serve(tmp_path, quiet(server=server)) as service:
        (tmp_path / "receiver.db").rename(tmp_path / "gone.db")
        until(lambda: service.get("/readyz").status == 503, "it has noticed")
        found = examined(tmp_path, status=1)
    assert of(found, "store") == [("red", f"{tmp_path}/receiver.db: removed while a service runs")]
    [reason] = [words for level, words in of(found, "service") if level == "red"]
    assert reason.startswith(f"http://127.0.0.1:{service.port} takes no pushes: ")
    assert "was deleted or replaced" in reason


# Without one


def test_nothing_is_changed_without_a_service(served: Running, tmp_path: Path) -> None:
    """Whether it ended in order or crashed: the log of a crash stays as it is, unread."""
    with serve(tmp_path, quiet()) as service:
        service.post(inbound(1))
    before = state(tmp_path)
    assert "receiver.db-wal" not in before
    examined(tmp_path)
    examined(tmp_path, "--thorough")
    assert state(tmp_path) == before
    with serve(tmp_path, quiet()) as service:
        service.post(inbound(2))
        service.kill()
    before = state(tmp_path)
    assert before["receiver.db-wal"][0]
    found = examined(tmp_path)
    assert state(tmp_path) == before
    assert worries(found) == ["service", "proxies"]


def test_before_the_first_start(tmp_path: Path) -> None:
    """There is no store yet, and none is made."""
    write(tmp_path, quiet())
    found = examined(tmp_path)
    assert of(found, "store") == [("yellow", f"{tmp_path}/receiver.db: does not exist yet")]
    assert of(found, "integrity") == of(found, "work") == []
    assert [file.name for file in tmp_path.iterdir()] == ["receiver.toml"]


def test_no_folder_for_the_store_is_red(tmp_path: Path) -> None:
    """The program makes the store, not its folder."""
    write(tmp_path, quiet(store={"url": "sqlite:no/where.db"}))
    found = examined(tmp_path, status=1)
    assert of(found, "disk") == [("red", f"{tmp_path}/no: no such folder")]
    [(level, _)] = of(found, "sync")
    assert level == "yellow"


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store that a service has left: nobody may change it."""
    folder = tmp_path_factory.mktemp("left")
    with serve(folder, quiet()) as service:
        service.post(inbound(1), x_forwarded_for="8.8.8.8")
    for log in folder.glob("log-*"):
        log.unlink()
    return folder


@pytest.fixture
def stopped(left: Path, tmp_path: Path) -> Path:
    """A folder with a store that a service has left."""
    return Path(shutil.copytree(left, tmp_path / "stopped"))


def test_another_schema_is_told(stopped: Path) -> None:
    """An older one becomes newer with the next start; a newer one needs another program."""
    newest = len(migrations())
    set_schema(stopped / "receiver.db", newest - 1)
    found = examined(stopped)
    [(level, words)] = of(found, "store")
    assert level == "yellow"
    assert words.endswith(f"; becomes {newest} when the service starts")
    set_schema(stopped / "receiver.db", newest + 1)
    [(level, words)] = of(examined(stopped, status=1), "store")
    assert level == "red"
    assert words.endswith(f"this program knows {newest}")


def test_what_is_no_store_is_red(stopped: Path) -> None:
    """Garbage, or another program's file."""
    store = stopped / "receiver.db"
    store.write_bytes(os.urandom(8192))
    found = examined(stopped, status=1)
    assert of(found, "store") == [("red", f"{store}: file is not a database")]
    store.unlink()
    make_foreign(store)
    store.chmod(0o600)
    [(level, words)] = of(examined(stopped, status=1), "store")
    assert (level, words) == ("red", f"{store}: an SQLite file, but not a store of sms-receiver")


def test_a_damaged_store_is_red(stopped: Path) -> None:
    """SQLite says where; the way out is a backup."""
    damage(stopped / "receiver.db")
    for arguments in ([], ["--thorough"]):
        found = examined(stopped, *arguments, status=1)
        damages = [words for level, words in of(found, "integrity") if level == "red"]
        assert damages, found


def test_a_look_that_takes_too_long_is_ended(
    stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read until then is told as a part; --thorough is not ended."""
    monkeypatch.setattr(stored, "_QUICK", -1.0)
    monkeypatch.setattr(inspection, "_STEPS", 1)
    [(level, words)] = of(examined(stopped), "integrity")
    assert level == "yellow"
    assert words == "no damage in the part that quick_check read in -1 s"
    [(level, words)] = of(examined(stopped, "--thorough"), "integrity")
    assert level == "green"
    assert words.startswith("integrity_check finds no damage")


# Its files


@pytest.mark.parametrize(("mode", "level"), [(0o640, "yellow"), (0o604, "red"), (0o600, "green")])
def test_files_are_for_their_owner(stopped: Path, mode: int, level: str) -> None:
    """Its group is a caution, everybody an alarm."""
    (stopped / "receiver.db").chmod(mode)
    found = examined(stopped, status=int(level == "red"))
    assert of(found, "files")[0][0] == level
    assert (stopped / "receiver.db").stat().st_mode & 0o777 == mode


def test_the_consoles_file_is_for_its_owner(stopped: Path) -> None:
    """Whoever reads it has the hashes of passwords, whoever writes it adds an admin."""
    file = stopped / "receiver.db.console"
    file.touch()
    file.chmod(0o644)
    [(level, found), *_] = of(examined(stopped, status=1), "files")
    assert level == "red"
    assert found.startswith(f"{file}: mode 644, and it holds users and tokens of the console")


def test_a_configuration_that_others_can_change_is_red(stopped: Path) -> None:
    """It names the code that runs."""
    (stopped / "receiver.toml").chmod(0o620)
    found = examined(stopped, status=1)
    why = "users other than its owner can change it, and with it the code that runs"
    assert ("red", f"{stopped}/receiver.toml: {why}") in of(found, "files")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_of_another_user_are_red(stopped: Path) -> None:
    """As a command that was run by root may leave one that the service cannot open."""
    shutil.chown(stopped / "receiver.db", 65534)
    found = examined(stopped, status=1)
    words = [words for level, words in of(found, "files") if level == "red"]
    assert words == [f"{stopped}/receiver.db.lock: belongs to root, the store to nobody"]


# What is in it


def test_work_that_waits_for_a_person_is_told(filled: Path, tmp_path: Path) -> None:
    """Dead letters; a provider's own requests in the quarantine; sources that never pushed."""
    folder = tmp_path / "copy"
    shutil.copytree(filled, folder)
    change(folder / "receiver.db", jobs.bury, "handle", "", jobs.NEVER, "gave up")
    found = examined(folder)
    assert ("yellow", "1 dead letters") in of(found, "work")
    assert ("yellow", "no push yet") in of(found, "source tsconect")
    tilil = of(found, "source tilil")
    assert any(level == "yellow" and "with the right credential" in words for level, words in tilil)
    assert any(
        level == "green" and "without the right credential" in words for level, words in tilil
    )
    [(level, words)] = of(found, "proxies")
    assert level == "yellow"
    assert "192.0.2.1: that is a proxy, or this machine" in words


def test_a_clock_that_retention_does_not_believe_is_told(filled: Path, tmp_path: Path) -> None:
    """With what to do; a clock that goes on from the last sweep is well."""
    folder = tmp_path / "copy"
    shutil.copytree(filled, folder)
    change(folder / "receiver.db", purges.trust_clock, utc_now() - timedelta(hours=2))
    assert of(examined(folder), "retention")[0][0] == "green"
    change(folder / "receiver.db", purges.trust_clock, utc_now() + timedelta(days=3 * 365))
    [(level, words)] = of(examined(folder), "retention")
    assert level == "yellow"
    assert "the clock is 1095.0 days behind the last sweep" in words


def test_work_that_nobody_does_is_told(filled: Path, tmp_path: Path) -> None:
    """Due for longer than anything is under way."""
    folder = tmp_path / "copy"
    shutil.copytree(filled, folder)
    every = [job.id for job in all_jobs(folder / "receiver.db")]
    change(folder / "receiver.db", job_changes.revive, every, 0)
    found = of(examined(folder), "work")
    assert [level for level, _ in found] == ["yellow"]
    assert found[0][1].endswith(" days, and no service runs")


def test_a_token_that_the_portal_does_not_know_is_told(tmp_path: Path) -> None:
    """Pushes are refused lately, and none was ever right."""
    with serve(tmp_path, quiet()) as service:
        assert service.post(inbound(1, api_token="another")).status == 401
        found = examined(tmp_path)
    assert [level for level, _ in of(found, "source tilil")] == ["yellow", "yellow"]
    assert of(found, "source tilil")[1][1].endswith(": with a wrong credential")


# Providers


@pytest.fixture(scope="module")
def fake() -> Iterator[Fake]:
    """Fake providers that know one key."""
    with faking(balance=5000, keys=(KEY,)) as fake:
        yield fake


def test_providers_are_asked(fake: Fake, tmp_path: Path) -> None:
    """Whether they can be reached, how fast they may be asked, what credit is left."""
    write(tmp_path, sources(fake, "talkntalk", "rayprotech"))
    found = examined(tmp_path)
    host = fake.url.removeprefix("http://")
    talkntalk = [each for each in of(found, "source talkntalk") if "push" not in each[1]]
    assert talkntalk[0] == ("green", f"{host} can be reached, at most 300 requests a minute")
    assert ("green", "credit 5000 SMS units") in of(found, "source rayprotech")
    assert fake.sent == []


class Quiet(BaseHTTPRequestHandler):
    """An API where nothing is found, that logs nothing."""

    def do_HEAD(self) -> None:
        """404, with the time."""
        self.send_response(404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def answering(kind: type[Quiet]) -> Iterator[str]:
    """The address of a server that answers like this."""
    with HTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("minutes", "level", "words"),
    [(0, "green", ""), (5, "yellow", "behind"), (-20, "red", "ahead of")],
)
def test_the_clock_is_compared(tmp_path: Path, minutes: int, level: str, words: str) -> None:
    """With the Date of a provider's answer; where digests depend on it, by how far they may."""

    class Shifted(Quiet):
        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string(int(time.time()) + 60 * minutes)

    with answering(Shifted) as url:
        digest = {"username": "u", "password": "as agreed"}
        source = {"provider": "tilil", "tokens": [TOKEN], "digest": digest}
        sending = {**source, "send": {"api_key": KEY, "url": url}}
        write(tmp_path, quiet(sources={"tilil": sending}))
        found = examined(tmp_path, status=int(level == "red"))
    [(told, difference)] = of(found, "clock")
    assert told == level
    seconds, where = difference.split(" s ")
    assert abs(int(seconds) - abs(minutes) * 60) <= 1
    assert where.startswith(words)


def test_no_credit_is_red(tmp_path: Path) -> None:
    """Nothing can be sent."""
    with faking(balance=0) as fake:
        write(tmp_path, sources(fake, "rayprotech"))
        found = examined(tmp_path, status=1)
    assert ("red", "credit 0 SMS units") in of(found, "source rayprotech")


def test_a_refused_key_is_red_and_not_shown(tmp_path: Path) -> None:
    """In the provider's words, though they quote it."""

    class Quoting(Quiet):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            self.send_response(401)
            self.end_headers()
            self.wfile.write(b"unknown: " + body)

    with answering(Quoting) as url:
        send = {"api_key": KEY, "url": f"{url}/api"}
        write(tmp_path, quiet(sources={"ke": {"provider": "rayprotech", "send": send}}))
        result = run(tmp_path, "doctor")
    assert result.returncode == 1
    assert "the API does not tell the balance: unknown: " in result.stdout
    assert KEY not in result.stdout


def test_a_provider_that_cannot_be_reached_is_red(fake: Fake, tmp_path: Path) -> None:
    """With the reason; the others are told all the same, and nobody tells the time."""
    raw = sources(fake, "talkntalk", "tilil")
    for source in raw["sources"].values():
        source["send"]["url"] = "http://127.0.0.1:9/api"
    raw["sources"] |= sources(fake, "rayprotech")["sources"]
    write(tmp_path, raw)
    found = examined(tmp_path, status=1)
    for name in ("talkntalk", "tilil"):
        reds = [words for level, words in of(found, f"source {name}") if level == "red"]
        assert len(reds) == 1
        assert reds[0].startswith("127.0.0.1:9 cannot be reached: ")
    assert {level for level, _ in of(found, "source rayprotech")} == {"green"}


# Usage


def test_a_wrong_configuration_is_no_case(tmp_path: Path) -> None:
    """Its faults are told as everywhere, with exit status 2."""
    (tmp_path / "receiver.toml").write_text("[server]\nprot = 80\n")
    result = run(tmp_path, "doctor")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.endswith("server.prot: unknown key; did you mean port?\n")


def test_warnings_of_the_configuration_are_findings(tmp_path: Path) -> None:
    """All those of `receiver check`."""
    write(tmp_path, settings())
    warnings = [
        line.removeprefix("warning: ")
        for line in run(tmp_path, "check").stdout.splitlines()
        if line.startswith("warning: ")
    ]
    found = [words for level, words in of(examined(tmp_path), "configuration") if level == "yellow"]
    assert found == warnings
    assert warnings


@pytest.mark.parametrize("url", ["sms.example.com", "ftp://x", "https://", "https://[::1"])
def test_a_wrong_url_is_refused(tmp_path: Path, url: str) -> None:
    """With an example; exit status 2."""
    write(tmp_path, quiet())
    result = run(tmp_path, "doctor", "--from-outside", url)
    assert (result.returncode, result.stdout) == (2, "")
    assert "expected an address such as https://sms.example.com" in result.stderr


def test_what_answers_at_our_address(served: Running, tmp_path: Path) -> None:
    """Without a proxy there is no HTTPS; the service is there, and only its paths."""
    found = examined(served.folder, "--from-outside", f"http://127.0.0.1:{served.port}/", status=1)
    outside = of(found, "outside")
    assert [words for level, words in outside if level == "green"] == [
        "/healthz is answered by the service",
        "/readyz is answered by the service",
        "/hooks/nobody-but-receiver-doctor is answered by the service",
        "/ is not served (404)",
        "/metrics is not served (404)",
    ]
    [tls] = [words for level, words in outside if level == "red"]
    assert tls.endswith("no HTTPS: tokens and texts can be read on the way")


def test_another_site_at_our_address_is_red(fake: Fake, tmp_path: Path) -> None:
    """What answers is not the service, or nobody does."""
    write(tmp_path, quiet())
    found = of(examined(tmp_path, "--from-outside", fake.url, status=1), "outside")
    assert found[0] == ("red", "/healthz answers HTTP 404, which is not the service's answer")
    gone = f"http://127.0.0.1:{free_port()}"
    [(level, words)] = of(examined(tmp_path, "--from-outside", gone, status=1), "outside")
    assert level == "red"
    assert words.startswith(f"{gone} cannot be reached: ")


def test_metrics_for_everybody_are_red(tmp_path: Path) -> None:
    """As when the proxy leads to the admin address."""
    admin = free_port()
    with serve(tmp_path, quiet(server={"port": free_port(), "admin": f"127.0.0.1:{admin}"})):
        found = examined(tmp_path, "--from-outside", f"http://127.0.0.1:{admin}", status=1)
    assert ("red", "/healthz answers HTTP 404, which is not the service's answer") in of(
        found, "outside"
    )
