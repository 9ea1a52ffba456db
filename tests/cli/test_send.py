"""`receiver send`: a message on its way, beside a service and without one.

`faking` are fake providers for tests that wait for nothing else, `sources` a configuration
that sends through them.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from anyio.from_thread import start_blocking_portal

from receiver.cli.send import _check_result, _follow
from receiver.errors import NotFound
from receiver.events import Status
from receiver.fake import Fake, Message, Options, running
from receiver.store import StoredMessage, open_reader
from tests.cli.program import Result, piped, run, table, told
from tests.harness import PATIENCE, PROGRAM, TOKEN, serve, settings, until, write

_TAKES = "Tilil Technologies (Kenya) takes"
_SPLIT = "shorten it, or have it split (send.split = true)"
KEY = "key-of-the-tests-0123456789"
NUMBER = "+254712345678"
#: Numbers for which the fake has an end of its own.
INVALID, ABSENT = "+254712399901", "+254712399904"


@contextmanager
def faking(**options: Any) -> Iterator[Fake]:
    """Fake providers in a thread; their messages come to their end at once."""
    at_once = {"sent_after": 0.0, "delivered_after": 0.0, "jitter": 0.0, "seed": 1}
    serving = running(Options(**{**at_once, **options}))
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serving) as fake:
        yield fake


def sources(fake: Fake, *names: str, **send: Any) -> dict[str, Any]:
    """A configuration whose sources `names` send through the fake, as `[sources.NAME.send]`."""
    known = {}
    for name in names:
        account = {"api_key": KEY, "sender": "22915", "url": fake.urls[name], **send}
        known[name] = {"provider": name, "send": account}
        if name != "rayprotech":
            known[name]["tokens"] = [TOKEN]
    return {**settings(), "sources": known}


@pytest.fixture(scope="module")
def fake() -> Iterator[Fake]:
    """Fake providers."""
    with faking(secrets={"talkntalk": TOKEN}) as fake:
        yield fake


@pytest.fixture(scope="module")
def served(fake: Fake, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a service that sends through Tilil alone, and is told what becomes of it."""
    with serve(tmp_path_factory.mktemp("served"), sources(fake, "tilil")) as service:
        address = f"http://127.0.0.1:{service.port}/hooks/tilil/{TOKEN}"
        fake.options.callbacks["tilil"] = address
        yield service.folder


@pytest.fixture
def idle(fake: Fake, tmp_path: Path) -> Path:
    """A folder with the same configuration, on which no service runs."""
    write(tmp_path, sources(fake, "tilil"))
    return tmp_path


def send(folder: Path, *arguments: str, to: str = NUMBER, text: str = "hello") -> Result:
    """What `receiver send` says."""
    return run(folder, "send", "--timeout", "30", "--to", to, "--text", text, *arguments)


def accepted(fake: Fake, text: str) -> Message:
    """The message with this text, as soon as the provider has it."""
    return until(lambda: next((m for m in fake.sent if m.text == text), None), f"{text} is sent")


# Sending


def test_the_service_sends_at_once(served: Path, fake: Fake) -> None:
    """The id is all that is printed; the provider gets what was said."""
    options = ["--sender", "SHOP", "--service-id", "32", "--link-id", "link-of-mine"]
    result = send(served, *options, to="0712 345 678", text="at once")
    assert (result.returncode, result.stderr) == (0, "")
    message = accepted(fake, "at once")
    assert message.to.endswith("254712345678")
    assert (message.sender, message.service_id) == ("SHOP", "32")
    assert message.link_id == "link-of-mine"
    [stored] = table(served, "messages", result.stdout.strip())
    assert (stored["handler"], stored["to"], stored["source"]) == ("operator", NUMBER, "tilil")


def test_without_a_service_it_is_stored(idle: Path, fake: Fake) -> None:
    """That is said, and the service sends it when it runs, once."""
    result = send(idle, text="later")
    assert (result.returncode, result.stdout) == (0, "1\n")
    told_ = "receiver: no service runs: `receiver serve` sends message 1\n"
    assert result.stderr == told_
    [stored] = table(idle, "messages")
    assert (stored["state"], stored["text"]) == ("waiting", "later")
    with serve(idle, sources(fake, "tilil")):
        accepted(fake, "later")
        until(lambda: told(idle, "messages", "--state", "sent") != "no messages\n", "answered")
    assert [message.text for message in fake.sent].count("later") == 1


_PIPED = ["send", "--to", NUMBER, "--text", "-"]


def test_a_text_is_read_from_stdin(idle: Path) -> None:
    """Lines and all; the end of the last one is not of the text."""
    for given, expected in (
        ("one\ntwo\n", "one\ntwo"),
        ("Größe\r\n", "Größe"),
        (" \n\n", " \n"),
        ("no end", "no end"),
    ):
        result = piped(idle, given.encode(), *_PIPED)
        if expected.strip():
            assert (result.returncode, result.stderr.count("\n")) == (0, 1)
            assert table(idle, "messages", "--limit", "1")[0]["text"] == expected
        else:
            assert (result.returncode, result.stderr) == (1, "receiver: the text is empty\n")
    result = piped(idle, b"caf\xe9", *_PIPED)
    assert result.returncode == 2
    assert "--text -: not UTF-8 at byte 3" in result.stderr


def test_a_text_comes_through_a_pipe(idle: Path) -> None:
    """Of a process of its own."""
    subprocess.run([*PROGRAM, *_PIPED], cwd=idle, input=b"pi\npe\n", check=True, timeout=PATIENCE)
    assert table(idle, "messages", "--limit", "1")[0]["text"] == "pi\npe"


@pytest.mark.parametrize("place", ["served", "idle"])
def test_what_would_be_refused_is_not_stored(place: str, request: pytest.FixtureRequest) -> None:
    """A text that is empty or too long, somebody who has opted out: told with what mends it."""
    folder: Path = request.getfixturevalue(place)
    told(folder, "opt-outs", "add", "0733000333")
    hint = "`receiver opt-outs remove` if that is no longer so"
    for arguments, message in (
        ({"text": " "}, "the text is empty"),
        ({"text": "x" * 921}, f"the text has 921 characters, and {_TAKES} 920; {_SPLIT}"),
        ({"to": "0733000333"}, f"+254733000333 has opted out; {hint}"),
    ):
        result = send(folder, **arguments)
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr == f"receiver: {message}\n"
    assert table(folder, "messages", "--msisdn", "+254733000333") == []


def test_an_opt_out_is_of_a_sender(idle: Path) -> None:
    """The source's own sender counts where the message names none; another one may send."""
    told(idle, "opt-outs", "add", NUMBER, "--short-code", "22915")
    assert "has opted out" in send(idle).stderr
    assert "has opted out" in send(idle, "--sender", "22915").stderr
    assert send(idle, "--sender", "SHOP").returncode == 0


# Waiting


def test_each_change_is_shown(served: Path) -> None:
    """With its time, until the message is delivered."""
    result = send(served, "--wait", text="followed")
    assert (result.returncode, result.stderr) == (0, "")
    id_, *changes = result.stdout.splitlines()
    assert changes[-1][21:] == "delivered"
    assert all(change[4] == "-" and change[13] == ":" for change in changes)
    [message] = table(served, "messages", id_)
    assert message["status"] == "delivered"
    assert [report["status"] for report in message["reports"]] == ["delivered"]


def test_json_is_a_line_for_each_change(served: Path) -> None:
    """As `receiver messages` shows it; without --wait it is one."""
    lines = table(served, "send", "--to", NUMBER, "--text", "watched", "--wait")
    assert {line["id"] for line in lines} == {lines[0]["id"]}
    assert lines[-1]["status"] == "delivered"
    assert all(before != after for before, after in pairwise(lines))
    [now] = table(served, "send", "--to", NUMBER, "--text", "not watched")
    assert (now["text"], now["id"]) == ("not watched", lines[0]["id"] + 1)


def test_a_bad_end_is_a_failure(served: Path) -> None:
    """Not reached, as the network says; refused by the provider: with its words and code."""
    result = send(served, "--wait", to=ABSENT)
    id_, *_, last = result.stdout.splitlines()
    assert (result.returncode, last[21:]) == (1, "failed")
    assert result.stderr == f"receiver: {id_}: failed; see `receiver messages {id_}`\n"
    result = send(served, "--wait", to=INVALID)
    id_, *_, last = result.stdout.splitlines()
    assert (result.returncode, last[21:]) == (1, "rejected     dead: Invalid mobile number (1003)")
    assert result.stderr == f"receiver: {id_}: rejected: Invalid mobile number (1003)\n"


def test_what_nobody_knows_is_a_failure(served: Path, fake: Fake) -> None:
    """An answer that is none: the message may be on its way, and is not sent again."""
    address = fake.options.callbacks.pop("tilil")  # a report would tell that it left
    fake.set_faults({"tilil:garbage": 1.0})
    try:
        result = send(served, "--wait", text="garbled")
    finally:
        fake.set_faults({})
        fake.options.callbacks["tilil"] = address
    assert result.returncode == 1
    assert result.stderr.startswith(f"receiver: {result.stdout.split()[0]}: unknown: expected ")
    assert [message.text for message in fake.sent].count("garbled") == 1


def test_still_waiting_is_a_failure(idle: Path) -> None:
    """When the time is over, with what it waits for."""
    result = send(idle, "--wait", "--timeout", "0")
    assert result.returncode == 1
    _, line = result.stderr.splitlines()
    assert line.startswith("receiver: 1: still queued after 0 s: due 2")


def test_sent_is_good_enough(idle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """When the time is over: of some messages the network never tells more."""
    send(idle)
    message = asyncio.run(_stored(idle))
    _check_result(msgspec.structs.replace(message, state="sent", status=Status.SENT), 0.5)
    assert capsys.readouterr().err == "receiver: 1: sent; no delivery report came within 0.5 s\n"


def test_a_message_that_is_gone_is_told(idle: Path) -> None:
    """Somebody may have it forgotten while it is watched."""
    send(idle)
    with pytest.raises(NotFound, match="7: the message is not in the store any more"):
        asyncio.run(_follow(idle / "receiver.db", 7, 0.0, json=False))


async def _stored(folder: Path) -> StoredMessage:
    async with open_reader(folder / "receiver.db") as reader:
        [message] = await reader.messages.find()
    return message


# Warnings


_UCS2 = "the text is UCS-2, 70 characters to an SMS, because of"
_IDEOGRAPHS = ", ".join(
    f"{char} (U+{number} CJK UNIFIED IDEOGRAPH-{number})"
    for char, number in zip("一二三四五", ("4E00", "4E8C", "4E09", "56DB", "4E94"), strict=True)
)


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        ("x" * 160, []),
        ("x" * 161, ["the text takes 2 parts (161 units of GSM-7)"]),
        ("10 ½", [f"{_UCS2} ½ (U+00BD VULGAR FRACTION ONE HALF)"]),
        (
            "一二三四五六七" * 11,
            [f"{_UCS2} {_IDEOGRAPHS}, and 2 more", "the text takes 2 parts (77 units of UCS-2)"],
        ),
        ("\x07", [rf"{_UCS2} \x07 (U+0007 without a name)"]),
    ],
    ids=["short", "long", "half", "ideographs", "unseen"],
)
def test_what_costs_more_is_told(served: Path, text: str, warnings: list[str]) -> None:
    """More than one part, and the characters that make them short; it is sent all the same."""
    result = send(served, text=text)
    assert result.returncode == 0
    assert result.stderr.splitlines() == [f"receiver: {warning}" for warning in warnings]


def test_what_is_split_is_told(fake: Fake, tmp_path: Path) -> None:
    """Where the configuration has it: the id is that of the first of several messages."""
    write(tmp_path, sources(fake, "tilil", split=True))
    parts, split, _ = send(tmp_path, text="x" * 921).stderr.splitlines()
    assert parts == "receiver: the text takes 7 parts (921 units of GSM-7)"
    beyond = "a text of more than 920 characters is sent as several messages; this is the first"
    assert split == f"receiver: {beyond}"


# Wrong usage


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--template", "x"], "expected --text or --template, and not both"),
        (["--to", NUMBER, "--link-id", "x"], "--link-id is good for one message"),
        (["--short-code", "22915"], "expected --subscribers-of with --short-code"),
        (["--text", "x" * 39_016], "--text: expected at most 255 parts, got 256"),
        (["--text", "caf\udce9"], "--text: expected UTF-8"),
        (["--sender", "\udce9"], "--sender: expected UTF-8"),
        (["--service-id", "\udce9"], "--service-id: expected UTF-8"),
        (["--timeout", "-1"], "Invalid value for '--timeout'"),
        (["--source", "nobody"], "sources.nobody: no such source; sources that send: tilil"),
    ],
)
def test_wrong_usage_is_refused(idle: Path, arguments: list[str], message: str) -> None:
    """With what would be right; exit status 2, and nothing is stored."""
    result = send(idle, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert message in result.stderr
    assert not (idle / "receiver.db").exists()


@pytest.mark.parametrize("to", ["nobody", "22915"])
def test_what_is_no_number_gets_nothing(idle: Path, to: str) -> None:
    """With what would be right; exit status 2, and nothing is stored."""
    result = send(idle, to=to)
    expected = f"receiver: --to: expected a number such as +254712345678, got '{to}'\n"
    assert (result.returncode, result.stderr) == (2, expected)
    assert not (idle / "receiver.db").exists()


def test_a_source_must_be_named_among_several(fake: Fake, tmp_path: Path) -> None:
    """Only one is chosen by itself; one that does not send is told with what it lacks."""
    raw = sources(fake, "talkntalk", "rayprotech")
    raw["sources"]["quiet"] = {"provider": "tilil", "tokens": [TOKEN]}
    write(tmp_path, raw)
    result = send(tmp_path)
    assert result.returncode == 2
    assert "--source: expected one of talkntalk, rayprotech" in result.stderr
    result = send(tmp_path, "--source", "quiet")
    assert result.returncode == 2
    assert "sources.quiet.send: missing; add it with its api_key to send through" in result.stderr
    assert send(tmp_path, "--source", "talkntalk").returncode == 0
    assert table(tmp_path, "messages")[0]["source"] == "talkntalk"


def test_nothing_sends_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    """Told with the setting that is missing."""
    write(tmp_path, settings())
    for arguments, message in (
        ([], "sources: no source sends; add [sources.NAME.send] with its api_key"),
        (["--source", "x"], "sources.x: no such source; no other source sends"),
    ):
        result = send(tmp_path, *arguments)
        assert result.returncode == 2
        assert result.stderr == f"receiver: {tmp_path}/receiver.toml: {message}\n"
