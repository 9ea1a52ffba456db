"""What the doctor says about what it measured, at every border."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from receiver import doctor
from receiver.doctor import Finding, disk, machine, outside, providers, running, stored
from receiver.doctor.findings import ago, size
from receiver.providers.contract import Balance
from tests.harness import NOW, parts

MIB = 1024 * 1024
HERE = Path("/var/lib/receiver")


def level(finding: Finding) -> str:
    """Its colour; whoever is told of trouble is told what to do, too."""
    assert (finding.level == "green") == (not finding.do)
    return str(finding.level)


# The machine


@pytest.mark.parametrize(
    ("version", "today", "expected"),
    [
        ((3, 11), date(2027, 10, 31), "green"),
        ((3, 11), date(2027, 11, 1), "yellow"),
        ((3, 13), date(2027, 11, 1), "green"),
        ((3, 99), date(2027, 11, 1), "green"),
    ],
)
def test_a_python_without_security_fixes_is_told(
    version: tuple[int, int], today: date, expected: str
) -> None:
    """From the day after its last month on."""
    assert level(machine.python(version, today)) == expected


@pytest.mark.parametrize(
    ("version", "expected", "words"),
    [
        ((3, 34, 1), "red", "too old, 3.35.0 is needed"),
        ((3, 40, 1), "green", "here only the service's own does"),
        ((3, 51, 3), "green", "SQLite 3.51.3"),
    ],
)
def test_sqlite_is_judged_by_its_version(
    version: tuple[int, ...], expected: str, words: str
) -> None:
    """Too old for what it is asked; or with a known fault, and why that is none here."""
    finding = machine.sqlite_of(version)
    assert level(finding) == expected
    assert finding.found.endswith(words) or words in finding.found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Max open files            1024                 524288               files     \n", 1024),
        ("Max open files            unlimited            unlimited            files     \n", None),
        ("Max processes             1                    1                    processes \n", None),
    ],
)
def test_limits_of_a_process_are_read(text: str, expected: int | None) -> None:
    """The soft one is what counts."""
    assert running._limit(text) == expected


def test_a_source_that_rests_is_told_with_until_when() -> None:
    """By the service's own metrics; one that does not rest is no news."""
    metrics = (
        "# TYPE receiver_line_rest_seconds gauge\n"
        'receiver_line_rest_seconds{source="tilil"} 599.9\n'
        'receiver_line_rest_seconds{source="talkntalk"} 0.0\n'
    )
    (found,) = running.paused_sources(metrics, NOW)
    assert level(found) == "yellow"
    assert found.check == "source tilil"
    assert found.found.startswith("nothing is sent until 09:10:00 UTC")


def test_a_handler_that_blocked_is_told() -> None:
    """By the service's own metrics."""
    metrics = 'receiver_handler_loops_abandoned_total{handler="mine.slow"} 2.0\n'
    (found,) = running.blocks(metrics)
    assert (level(found), found.check) == ("yellow", "handler mine.slow")
    assert found.found == "blocked its plugin's event loop since the start: 2"


def test_a_lock_is_found_by_its_file(tmp_path: Path) -> None:
    """By device and inode; where the device has another number, by the one in the file."""
    store, locks = tmp_path / "receiver.db", tmp_path / "locks"
    lock = tmp_path / "receiver.db.lock"
    assert running.holder_of(store, locks) is None
    lock.write_text("77\n")
    inode, device = lock.stat().st_ino, lock.stat().st_dev
    here = f"{device >> 8 & 0xFFF:02x}:{device & 0xFF:02x}"
    for line, expected in (
        (f"1: FLOCK  ADVISORY  WRITE 5 {here}:{inode} 0 EOF\n", 5),
        (f"1: FLOCK  ADVISORY  WRITE 77 ff:ff:{inode} 0 EOF\n", 77),
        (f"1: FLOCK  ADVISORY  WRITE 5 ff:ff:{inode} 0 EOF\n", None),
        (f"1: FLOCK  ADVISORY  WRITE 5 {here}:{inode + 1} 0 EOF\n", None),
        (f"1: FLOCK  ADVISORY  READ  5 {here}:{inode} 0 EOF\n", None),
        (f"1: POSIX  ADVISORY  WRITE 77 {here}:{inode} 0 EOF\n", None),
    ):
        locks.write_text(line)
        assert running.holder_of(store, locks) == expected, line


# The disk


@pytest.mark.parametrize(
    ("free", "stored", "expected"),
    [
        (127 * MIB, 0, "red"),
        (128 * MIB, 0, "yellow"),
        (1024 * MIB, 0, "green"),
        (2048 * MIB, 2049 * MIB, "yellow"),
        (2049 * MIB, 2049 * MIB, "green"),
    ],
)
def test_room_is_told(free: int, stored: int, expected: str) -> None:
    """For what comes, and for a copy of what is there."""
    assert level(disk.free_space(HERE, free, stored)) == expected


@pytest.mark.parametrize(
    ("type_", "expected"),
    [
        ("ext4", "green"),
        ("xfs", "green"),
        ("btrfs", "green"),
        ("", "green"),
        ("overlay", "yellow"),
        ("nfs4", "red"),
        ("cifs", "red"),
        ("9p", "red"),
        ("fuse.sshfs", "red"),
        ("tmpfs", "red"),
    ],
)
def test_file_systems_are_judged(type_: str, expected: str) -> None:
    """Networks cannot carry SQLite's log, memory keeps nothing, containers go."""
    assert level(disk.kind(HERE, type_)) == expected


def test_the_file_system_is_the_deepest_mount(tmp_path: Path) -> None:
    """And of several at one place the last; spaces are written as numbers there."""
    mounts, inner = tmp_path / "mountinfo", tmp_path / "a b"
    inner.mkdir()
    escaped = str(inner).replace(" ", "\\040")
    mounts.write_text(
        f"22 1 8:1 / / rw - ext4 /dev/sda rw\n"
        f"23 22 0:5 / {escaped} rw,relatime shared:1 - xfs /dev/sdb rw\n"
        f"24 22 0:6 / {escaped} rw - nfs4 server:/x rw\n"
        f"25 22 0:7 / {tmp_path}/other rw - tmpfs tmpfs rw\n"
    )
    assert disk.file_system(inner, mounts) == "nfs4"
    assert disk.file_system(tmp_path, mounts) == "ext4"
    assert disk.file_system(tmp_path, tmp_path / "none") == ""


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.000_019, "yellow"), (0.000_021, "green"), (0.049, "green"), (0.051, "yellow")],
)
def test_the_disks_speed_is_judged(seconds: float, expected: str) -> None:
    """Too slow to answer pushes with, or too fast to be true."""
    assert level(disk.sync_speed(seconds)) == expected


def test_measuring_leaves_nothing(tmp_path: Path) -> None:
    """The file is thrown away."""
    assert disk.measured(tmp_path) > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("length", "expected"), [(128 * MIB, "green"), (129 * MIB, "yellow"), (1025 * MIB, "red")]
)
def test_a_long_log_is_told(length: int, expected: str) -> None:
    """Somebody keeps it from being written back."""
    assert level(stored.log_length(HERE, length)) == expected


# Others


@pytest.mark.parametrize(
    ("amount", "expected"),
    [("0", "red"), ("-3.50", "red"), ("0.01", "green"), ("1,250.00", "green"), ("KES 5", "green")],
)
def test_credit_is_judged(amount: str, expected: str) -> None:
    """Nothing left is red; what is no number is only told."""
    assert level(providers.credit(Balance(amount=amount, unit="KES"), "source a")) == expected


@pytest.mark.parametrize(
    ("seconds", "tolerances", "expected"),
    [
        (0, {}, "green"),
        (30, {}, "green"),
        (-31, {}, "yellow"),
        (31, {"tilil": timedelta(minutes=15)}, "yellow"),
        (-901, {"tilil": timedelta(minutes=15)}, "red"),
    ],
)
def test_the_clock_is_judged(
    seconds: float, tolerances: dict[str, timedelta], expected: str
) -> None:
    """Beyond half a minute; a difference that makes credentials fail is red."""
    finding = providers.clock_difference({"tilil": timedelta(seconds=seconds)}, tolerances)
    assert level(finding) == expected


def test_one_wrong_clock_elsewhere_is_no_matter() -> None:
    """The provider that agrees most is believed."""
    apart = {"a": timedelta(hours=-3), "b": timedelta(seconds=1)}
    finding = providers.clock_difference(apart, {})
    assert level(finding) == "green"
    assert finding.found == "1 s ahead of that of b's provider"


def test_a_clock_that_nobody_confirms_matters_for_credentials() -> None:
    """It is only told where no credential depends on the time."""
    assert level(providers.clock_difference({}, {})) == "green"
    assert level(providers.clock_difference({}, {"tilil": timedelta(minutes=15)})) == "yellow"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"date": "Fri, 20 Nov 2026 09:00:00 GMT"}, datetime(2026, 11, 20, 9, tzinfo=UTC)),
        ({"date": "yesterday"}, None),
        ({}, None),
    ],
)
def test_dates_of_answers_are_read(header: dict[str, str], expected: datetime | None) -> None:
    """As HTTP writes them; anything else is no date."""
    assert providers.date_of(header) == expected


@pytest.mark.parametrize(("days", "expected"), [(2, "red"), (3, "yellow"), (14, "green")])
def test_a_certificate_that_ends_soon_is_told(days: int, expected: str) -> None:
    """Days before it does: what renews itself has done so by then."""
    end = NOW + timedelta(days=days, hours=1)
    [finding] = outside.certificate(f"{end:%b %d %H:%M:%S %Y} GMT", NOW)
    assert level(finding) == expected
    assert f"{days} days" in finding.found


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (404, "Not Found", "green"),
        (403, "", "green"),
        (200, "<h1>Our shop</h1>", "yellow"),
        (301, "", "yellow"),
        (200, "receiver_commits_total 5.0\n", "red"),
    ],
)
def test_what_nobody_outside_needs_is_not_served(status: int, text: str, expected: str) -> None:
    """Our metrics least of all."""
    assert level(outside.private("/metrics", httpx2.Response(status, text=text))) == expected


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [(200, "alive\n", "red"), (301, "", "green"), (404, "", "green")],
)
def test_the_service_without_https_is_told(status: int, text: str, expected: str) -> None:
    """Another site, or a redirect, is none of ours."""
    assert level(outside.without_tls(httpx2.Response(status, text=text))) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://sms.example.com", "http://sms.example.com"),
        ("https://sms.example.com:443/x", "http://sms.example.com"),
        ("https://sms.example.com:8443", None),
        ("http://sms.example.com", None),
    ],
)
def test_where_plain_http_would_be(url: str, expected: str | None) -> None:
    """At the usual port, if HTTPS is at its own."""
    assert outside.plain_address(url) == expected


def test_times_and_sizes_are_rough() -> None:
    """In the unit that a person would choose."""
    then = {5: "5 s ago", 119: "119 s ago", 120: "2 min ago", 7200: "2 h ago", 172800: "2 days ago"}
    for seconds, words in then.items():
        assert ago(NOW - timedelta(seconds=seconds), NOW) == words
    assert [size(n) for n in (0, 1023, 1024, 5 * MIB, 2**50)] == [
        "0 bytes",
        "1023 bytes",
        "1.0 KiB",
        "5.0 MiB",
        "1024.0 TiB",
    ]


def test_what_a_user_may_not_see_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known about it then: neither that it is well nor that it is not."""

    async def refused(case: Any) -> list[Finding]:
        raise PermissionError(13, "Permission denied", "/var/lib/receiver/receiver.db")

    monkeypatch.setattr(doctor, "LOCAL", {"files": refused})
    monkeypatch.setattr(doctor, "REMOTE", {})

    async def found() -> list[Finding]:
        return [each async for each in doctor.examine(doctor.Installation(parts(tmp_path)))]

    [finding] = asyncio.run(found())
    assert level(finding) == "yellow"
    assert finding.found == "/var/lib/receiver/receiver.db: this user has no permission to read it"


def test_a_check_that_breaks_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a red finding itself, without the words of what it raised."""

    async def breaks(case: Any) -> list[Finding]:
        raise OSError("secret")

    monkeypatch.setitem(doctor.LOCAL, "sqlite", breaks)

    async def found() -> list[Finding]:
        return [each async for each in doctor.examine(doctor.Installation(parts(tmp_path)))]

    findings = asyncio.run(found())
    [broken] = [each for each in findings if each.check == "sqlite"]
    assert (level(broken), broken.found) == ("red", "the check itself failed: OSError")
    assert {each.check for each in findings} > {"program", "disk", "clock"}
    assert all(level(each) for each in findings)


def test_an_answer_without_an_end_is_a_finding(tmp_path: Path) -> None:
    """Whoever answers at our public address: the doctor neither waits nor fails."""

    async def look() -> list[Finding]:
        ended = asyncio.Event()

        async def never_ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            """Is alive at first; then its headers have no end."""
            with suppress(OSError, asyncio.IncompleteReadError):
                while b"/healthz" in await reader.readuntil(b"\r\n\r\n"):
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nalive\n")
                writer.write(b"HTTP/1.1 200 OK\r\n")
                while True:
                    writer.write(b"X-Header: some value\r\n" * 1000)
                    await writer.drain()
            writer.close()
            ended.set()

        server = await asyncio.start_server(never_ends, "127.0.0.1", 0)
        try:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            found = await outside.public(doctor.Installation(parts(tmp_path), outside=url))
            await ended.wait()
        finally:
            server.close()
        return found

    [finding] = asyncio.run(look())
    assert finding.level == "red"
    assert "cannot be reached" in finding.found
