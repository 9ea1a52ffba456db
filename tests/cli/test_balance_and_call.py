"""`receiver balance` and `receiver call`: what a person asks providers for directly."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from receiver.actions import Send
from receiver.cli.call import _advice
from receiver.config import load
from receiver.errors import ProviderError
from receiver.events import Status
from receiver.fake import Fake
from receiver.outgoing import Sent
from receiver.providers import built_in, create
from receiver.service.parts import open_service
from receiver.service.provider_calls import error_text, sending_apis
from receiver.store import Attempt, messages, to_micros
from tests.cli.program import Result, run, table, told
from tests.cli.test_send import KEY, NUMBER, faking, sources
from tests.harness import NOW, Clock, parts, serve, settings, write

CREDIT = 5000


@pytest.fixture(scope="module")
def fake() -> Iterator[Fake]:
    """Fake providers that know one key."""
    with faking(balance=CREDIT, keys=(KEY,)) as fake:
        yield fake


@pytest.fixture(scope="module")
def folder(fake: Fake, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a source of each provider that sends, and no store."""
    folder = tmp_path_factory.mktemp("accounts")
    write(folder, sources(fake, *built_in()))
    return folder


def call(folder: Path, *arguments: str) -> Result:
    """What `receiver call` says."""
    return run(folder, "call", *arguments)


# Balance


def test_all_that_can_tell_are_asked(folder: Path) -> None:
    """The others are listed as such; nothing is written, there is no store yet."""
    credits_ = {line["source"]: line for line in table(folder, "balance")}
    assert list(credits_) == list(built_in())
    asked = credits_["rayprotech"]
    assert (asked["amount"], asked["unit"]) == (str(CREDIT), "SMS units")
    assert asked["message"] is None
    assert asked["time"]
    assert credits_["tilil"] == {
        "source": "tilil",
        "provider": "tilil",
        "amount": None,
        "unit": None,
        "time": None,
        "message": None,
    }
    assert not (folder / "receiver.db").exists()


def test_people_get_a_table(folder: Path) -> None:
    """Of one source with --source."""
    head, *rows = told(folder, "balance").splitlines()
    assert head.split("  ")[0] == "SOURCE"
    assert [row.split()[0] for row in rows] == list(built_in())
    _, row = told(folder, "balance", "--source", "rayprotech").splitlines()
    assert row.startswith(f"rayprotech  rayprotech  {CREDIT}    SMS units  20")
    _, row = told(folder, "balance", "--source", "tilil").splitlines()
    assert row.endswith("the API cannot be asked, and no sent message has told it")


def test_a_balance_is_remembered(fake: Fake, tmp_path: Path) -> None:
    """Where the provider cannot be asked it is the one of the message that was sent last."""
    raw = sources(fake, "tilil")
    asyncio.run(_send(tmp_path, raw))
    [credit] = table(tmp_path, "balance")
    assert (credit["amount"], credit["message"]) == ("41.00", 1)
    assert credit["time"] == "2026-11-20T09:00:05.123456Z"
    _, row = told(tmp_path, "balance").splitlines()
    assert row == "tilil   tilil     41.00         2026-11-20 09:00:05  told with message 1"


async def _send(folder: Path, raw: dict[str, Any]) -> None:
    """The first message is sent last, the third tells no balance."""
    async with open_service(parts(folder, raw), Clock(), work=False) as service:
        store = service.store
        for _ in range(3):
            await store.add_message(Send(source="tilil", to=NUMBER, text="hello"), NOW)
        for id_, seconds, balance in ((2, 0, "42.00"), (1, 5, "41.00"), (3, 10, None)):
            now = NOW + timedelta(seconds=seconds)
            await store.run(messages.begin, [Attempt(id_, NUMBER)], to_micros(now), 86_400_000_000)
            accepted = Sent(message_id=f"m-{id_}", status=Status.QUEUED, balance=balance)
            await store.run(messages.sent, id_, to_micros(now), accepted)


def test_a_failure_hides_no_other(fake: Fake, tmp_path: Path) -> None:
    """Its source and the provider's words go to stderr, and the exit status is 1."""
    raw = sources(fake, "rayprotech")
    account = raw["sources"]["rayprotech"]
    for name, change in (
        ("wrong", {"api_key": "wrong-key-of-the-tests"}),
        ("nobody", {"url": "http://127.0.0.1:9"}),
    ):
        raw["sources"][name] = {**account, "send": {**account["send"], **change}}
    write(tmp_path, raw)
    result = run(tmp_path, "balance", "--json")
    assert result.returncode == 1
    assert [json.loads(line)["source"] for line in result.stdout.splitlines()] == ["rayprotech"]
    wrong, nobody = result.stderr.splitlines()
    assert wrong.startswith("receiver: wrong: ")
    assert wrong.endswith(" (401)")
    assert nobody.startswith("receiver: nobody: ")
    assert nobody.endswith(" (ConnectError)")
    result = run(tmp_path, "balance", "--source", "wrong")
    assert (result.returncode, result.stdout) == (1, "")


def test_a_damaged_store_hides_no_other(fake: Fake, tmp_path: Path) -> None:
    """It is needed for those that cannot be asked alone."""
    write(tmp_path, sources(fake, "tilil", "rayprotech"))
    (tmp_path / "receiver.db").write_bytes(b"no database" * 1000)
    result = run(tmp_path, "balance")
    assert (result.returncode, result.stdout.count("\n")) == (1, 2)
    assert result.stderr.startswith(f"receiver: tilil: {tmp_path}/receiver.db: ")


def test_a_running_service_is_no_matter(fake: Fake, tmp_path: Path) -> None:
    """Nor does it need one."""
    with serve(tmp_path, sources(fake, "tilil", "rayprotech")):
        tilil, rayprotech = table(tmp_path, "balance")
    assert (tilil["amount"], rayprotech["amount"]) == (None, str(fake_credit(fake)))


def fake_credit(fake: Fake) -> int:
    """What is left of it at RAYPROTECH."""
    return fake.world.book.balances["rayprotech"]


# Call


@pytest.mark.parametrize("name", built_in())
def test_operations_are_listed(folder: Path, name: str) -> None:
    """With their parameters and what they do: as the API of the provider has them."""
    listed = table(folder, "call", name, "--list")
    configured = load(folder / "receiver.toml")
    known = sending_apis(configured, create(configured), name)[name].operations()
    assert [line["operation"] for line in listed] == list(known)
    head, *rows = told(folder, "call", name, "--list").splitlines()
    assert head.split("  ")[0] == "OPERATION"
    for row, line in zip(rows, listed, strict=True):
        optional = [f"[{parameter}]" for parameter in line["optional"]]
        words = [line["operation"], *line["required"], *optional, *line["summary"].split()]
        assert row.split() == words


def test_answers_are_json(folder: Path) -> None:
    """As the provider said it: for people over lines, for programs on one."""
    shown = told(folder, "call", "rayprotech", "get_balance")
    assert shown.startswith('{\n  "success": true,\n')
    [line] = table(folder, "call", "rayprotech", "get_balance")
    assert json.loads(shown).keys() == line.keys()
    assert line["sms_balance"] <= CREDIT


def test_messages_leave_at_once(folder: Path, fake: Fake) -> None:
    """With whatever the text is, = in it too; they are not in our outbox."""
    answer = json.loads(
        told(folder, "call", "rayprotech", "send_sms", "recipient=0712345678", "message=a=b\x1b ")
    )
    [message] = [message for message in fake.sent if message.text == "a=b\x1b "]
    assert answer["message_id"] == message.id
    assert message.sender == "22915"
    assert not (folder / "receiver.db").exists()


@pytest.mark.parametrize(
    ("arguments", "words", "then"),
    [
        (
            ["check_status", "message_id=none"],
            "Message not found (404)",
            "nothing was done, and the same call will not work later",
        ),
        (
            ["send_sms", "recipient=254712399902", "message=x"],
            "(400)",
            "nothing was done, and the same call may work later",
        ),
    ],
)
def test_refusals_are_told(folder: Path, arguments: list[str], words: str, then: str) -> None:
    """In the provider's words, with its code, and whether it may be tried again."""
    result = call(folder, "rayprotech", *arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("receiver: rayprotech: ")
    assert words in result.stderr
    assert result.stderr.endswith(f"; {then}\n")


@pytest.mark.parametrize(
    ("fault", "then"),
    [
        ("429", "nothing was done, and the same call may work after 7 s"),
        ("garbage", "it is not known whether it was done: check that before you call again"),
        ("reset", "it is not known whether it was done: check that before you call again"),
    ],
)
def test_what_may_have_been_done_is_told(tmp_path: Path, fault: str, then: str) -> None:
    """An answer that is none is no refusal; who asks to wait is told so."""
    with faking(faults={fault: 1.0}, retry_after=7) as fake:
        write(tmp_path, sources(fake, "tsconect"))
        result = call(tmp_path, "tsconect", "send", f"to={NUMBER}", "message=x")
    assert result.returncode == 1
    assert result.stderr.endswith(f"; {then}\n")


@pytest.mark.parametrize("operation", ["check_credits", "CheckCredits", "Check Credits"])
def test_documented_names_are_understood(folder: Path, operation: str) -> None:
    """Of operations and parameters, whatever their case, spaces and signs are."""
    answer = json.loads(told(folder, "call", "text-connect", operation))
    assert answer["unit"] == "credits"
    wanted = [f"{name}=5" for name in ("child username", "quantity")]
    result = call(folder, "text-connect", "UpdateCredits", *wanted)
    assert "Unknown user (-509)" in result.stderr
    result = call(folder, "tsconect", "messages/bulk")
    assert "bulk takes template recipients [sender]; missing" in result.stderr


def test_values_come_from_files_and_stdin(
    folder: Path, fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a byte order mark and the last line end; @@ is for a text that begins with @."""
    (tmp_path / "number").write_bytes(b"\xef\xbb\xbf0712345678\r\n")
    arguments = ["rayprotech", "send_sms", f"recipient=@{tmp_path}/number"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"from stdin\n\n")))
    assert call(folder, *arguments, "message=-").returncode == 0
    assert call(folder, *arguments, "message=@@home").returncode == 0
    assert [message.text for message in fake.sent][-2:] == ["from stdin\n", "@home"]
    (tmp_path / "wrong").write_bytes(b"caf\xe9")
    for value, words in (
        (f"@{tmp_path}/nothing", "No such file or directory; a text that begins with @ is"),
        (f"@{tmp_path}/wrong", "not UTF-8 at byte 3"),
        ("-", "one parameter from stdin"),
    ):
        result = call(folder, "rayprotech", "send_sms", "recipient=-", f"message={value}")
        assert (result.returncode, result.stdout) == (2, "")
        assert words in result.stderr


def test_what_deletes_is_confirmed(folder: Path, fake: Fake) -> None:
    """With --yes where nobody can be asked; a bare yes is told in words, but for programs."""
    contacts = f"ContactsCSV=Ann,{NUMBER[1:]},,Staff"
    told(folder, "call", "text-connect", "import_contacts_csv", contacts)
    for operation in (["delete_all_contacts"], ["empty_group", "GroupName=Staff"]):
        result = call(folder, "text-connect", *operation)
        assert (result.returncode, result.stdout) == (2, "")
        assert "expected --yes: the operation deletes for good" in result.stderr
    group = ["send_group", "GroupName=Staff", "Body=x"]
    assert told(folder, "call", "text-connect", *group) == (
        "taken; there are no ids, which GetBGSendID=1 asks for\n"
    )
    assert told(folder, "call", "text-connect", *group, "--json") == "[]\n"
    delete = ["call", "text-connect", "DeleteAllContacts", "--yes"]
    assert told(folder, *delete) == "done\n"
    assert told(folder, *delete, "--json") == '"1"\n'
    assert "(-409)" in call(folder, "text-connect", *group).stderr


def test_who_opted_out_is_asked_for(fake: Fake, tmp_path: Path) -> None:
    """Before an operation that sends to them; --yes sends all the same, with a warning."""
    write(tmp_path, sources(fake, *built_in()))
    told(tmp_path, "opt-outs", "add", NUMBER)
    fake.forget()
    others = "0712000001,0712000002"
    for arguments in (
        ("tilil", "sendsms", f"mobile={NUMBER[1:]}", "message=x"),
        ("rayprotech", "send_bulk_sms", f"recipients={others},{NUMBER[1:]}", "message=x"),
        ("talkntalk", "send_bulk", f"recipients={NUMBER}", "message=x"),
        ("tsconect", "bulk", f'recipients=[{{"to": "{NUMBER}"}}]', "template=x"),
        ("text-connect", "send_many", f"DestinationAddress={NUMBER}", "Body=x"),
    ):
        result = call(tmp_path, *arguments)
        assert (result.returncode, result.stdout) == (2, "")
        assert f"expected --yes: 1 of its people have opted out: {NUMBER}" in result.stderr
    assert not fake.sent
    again = call(tmp_path, "rayprotech", "send_sms", f"recipient={NUMBER}", "message=x", "--yes")
    assert (again.returncode, len(fake.sent)) == (0, 1)
    assert "have opted out" in again.stderr
    assert (
        call(tmp_path, "rayprotech", "send_bulk_sms", f"recipients={others}", "message=x").stderr
        == ""
    )


def test_answers_are_shown_as_they_came(folder: Path, fake: Fake) -> None:
    """With --raw, byte for byte: a report is a file of CSV, and refusals are shown as well."""
    send = ["send", f"DestinationAddress={NUMBER}", "Body=a, b"]
    told(folder, "call", "text-connect", *send)
    shown = told(folder, "call", "text-connect", "report", "ReportType=Messages", "--raw")
    assert shown.startswith("MessageID,Destination,Source,Body,Status,Date\n")
    assert '"a, b"' in shown
    result = call(folder, "text-connect", "report", "ReportType=Weather", "--raw")
    assert (result.returncode, result.stdout.splitlines()[0]) == (1, "-601")
    result = call(folder, "text-connect", "report", "ReportType=Usage", "--raw", "--json")
    assert (result.returncode, result.stdout) == (2, "")


def test_what_was_done_in_part_is_shown(folder: Path) -> None:
    """Who was taken and who was not; it is no success, and must not be done again blindly."""
    many = f"DestinationAddress={NUMBER},447777799903"
    for arguments in (
        ["text-connect", "send_many", many, "Body=x"],
        ["rayprotech", "send_bulk_sms", f"recipients={NUMBER},12", "message=x"],
        ["talkntalk", "send_bulk", f"recipients={NUMBER},12", "message=x"],
        ["tsconect", "bulk", f"recipients={NUMBER},12", "template=x"],
    ):
        result = call(folder, *arguments, "--json")
        assert result.returncode == 1
        assert NUMBER[1:] in json.dumps(json.loads(result.stdout))
        assert f"receiver: {arguments[0]}: done in part at most: " in result.stderr
        assert result.stderr.endswith("whoever has the message would get it twice\n")


def test_a_read_may_always_be_repeated() -> None:
    """It changes nothing, whatever the answer was."""
    error = ProviderError("garbage", unknown=True)
    assert _advice(error, reads=True) == "nothing was changed, and the same call can be made again"
    limit = ProviderError("enough", retryable=True, tomorrow=True)
    expected = "nothing was done, and the same call may work tomorrow"
    assert _advice(limit, reads=False) == expected


def test_our_key_is_not_shown(folder: Path) -> None:
    """Not even where the provider says it in its refusal."""
    settings_ = load(folder / "receiver.toml")
    api = sending_apis(settings_, create(settings_), "rayprotech")["rayprotech"]
    error = ProviderError(f"no account has the key {KEY}", code="401")
    assert error_text(api, error) == "no account has the key … (401)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'SOURCE'"),
        (["nobody", "x"], "sources.nobody: no such source; sources that send: rayprotech, "),
        (["rayprotech"], "expected one of send_sms, "),
        (["rayprotech", "sned"], ", or --list; got 'sned'"),
        (["rayprotech", "get_balance", "x=1"], "get_balance takes no parameters; got 'x'"),
        (
            ["rayprotech", "send_sms"],
            "send_sms takes recipient message [sender_id]; missing recipient, message",
        ),
        (["rayprotech", "send_sms", "recipient"], "expected KEY=VALUE, got 'recipient'; send_sms "),
        (
            ["rayprotech", "send_sms", "x=1"],
            "send_sms takes recipient message [sender_id]; got 'x'",
        ),
        (
            ["tilil", "subscribermanage", "mobile=1", "service_id=2", "option=3"],
            "subscribermanage: option: expected activation or deactivation, got '3'",
        ),
        (["tilil", "delivery_report", "message_id=1"], "set send.report_url"),
        (
            ["rayprotech", "send_sms", "recipient=1", "recipient=2"],
            "recipient came twice; send_sms takes",
        ),
    ],
)
def test_wrong_usage_is_refused(folder: Path, arguments: list[str], message: str) -> None:
    """With what would be right; exit status 2."""
    result = call(folder, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert message in result.stderr


@pytest.mark.parametrize("command", [["balance"], ["call", "tilil", "--list"]])
def test_sources_that_do_not_send_are_a_fault(tmp_path: Path, command: list[str]) -> None:
    """Of the configuration, told with the setting that is missing."""
    write(tmp_path, settings())
    result = run(tmp_path, *command)
    assert result.returncode == 2
    assert result.stderr.startswith(f"receiver: {tmp_path}/receiver.toml: sources")
    assert "api_key" in result.stderr
