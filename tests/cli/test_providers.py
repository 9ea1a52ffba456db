"""`receiver providers`: the gateways that can be used, and descriptions of new ones."""

from __future__ import annotations

import asyncio
import csv
import json
from pathlib import Path

import pytest

from receiver import config
from receiver.errors import PushError
from receiver.providers import built_in, create, known
from tests.cli.program import run, table, told
from tests.harness import TOKEN, opened, settings, take, write

#: A Python file with a provider: one that comes with the program, under another name.
FILE = """
from receiver.providers.tsconect import Tsconect

class Acme(Tsconect):
    name = "acme"
    title = "Acme"
"""
MESSAGE = (
    b"id=1&from=254712345678&to=22384&text=hellotext=GAME+one&datedate=2026-11-20+09%3A00%3A00"
)
REPORT = b'{"messageId": "m1", "msisdn": "254712345678", "dlrStatus": "DLV", "apiKey": "s3cret"}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a configuration, and folders of providers with and without faults."""
    file = tmp_path / "providers" / "acme.py"
    file.parent.mkdir()
    file.write_text(FILE, "utf-8")
    (tmp_path / "providers" / "broken.toml").write_text("title = 3", "utf-8")
    write(tmp_path, settings(providers={"path": ["providers"]}))
    return tmp_path


def test_every_provider_is_listed(folder: Path) -> None:
    """With its place and what it can do; one with faults, too."""
    rows = {each["name"]: each for each in table(folder, "providers")}
    assert {"acme", "broken", *known()} == set(rows)
    assert rows["tilil"]["can"]["replies"] is True
    assert (rows["acme"]["from"], rows["acme"]["title"]) == ("file", "Acme")
    assert rows["broken"]["faults"][0].endswith(
        "broken.toml: title: expected a text, got an integer"
    )
    lines = told(folder, "providers").splitlines()
    assert lines[0].split() == ["NAME", "TITLE", "FROM", "CAN"]
    [line] = [line for line in lines if line.startswith("broken ")]
    assert "cannot be used: " in line


def test_the_list_of_providers_is_a_spreadsheet(folder: Path) -> None:
    """It says what the table says, also without the word `list`."""
    text = told(folder, "providers", "--csv")
    rows = {each["name"]: each for each in csv.DictReader(text.splitlines())}
    assert {"acme", "broken", *known()} == set(rows)
    assert rows["acme"]["title"] == "Acme"
    assert rows["acme"]["can"] == "reports, sends, status"
    assert "expected a text, got an integer" in rows["broken"]["faults"]
    assert run(folder, "providers", "list", "--csv", "--json").returncode == 2


def test_without_a_configuration_the_installed_ones_are_listed(tmp_path: Path) -> None:
    """A configuration that is named must be there."""
    assert [each["name"] for each in table(tmp_path, "providers", "list")] == list(known())
    assert run(tmp_path, "providers", "--config", "none.toml").returncode == 2


def test_a_provider_is_shown(folder: Path) -> None:
    """By name or file; of a description the whole text, which is one still."""
    assert "name          tilil\n" in told(folder, "providers", "show", "tilil")
    assert "title         Acme\n" in told(folder, "providers", "show", "providers/acme.py")
    shown = told(folder, "providers", "show", "africas-talking")
    (folder / "providers" / "mine.toml").write_text(shown, "utf-8")
    assert known(config.load(folder / "receiver.toml"))["mine"].sample_kinds
    [fields] = table(folder, "providers", "show", "tsconect")
    assert fields["settings"] == ["send.callback_url"]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["show", "tilli"], 2, "no provider is named 'tilli'; did you mean tilil?"),
        (["show", "broken"], 1, "broken.toml: title: expected a text"),
        (["show", "nothing.py"], 1, "nothing.py: no such file"),
        (["test"], 2, "expected NAME_OR_FILE or --all"),
        (["test", "broken"], 1, "broken: not as expected"),
        (["new", "No Name"], 2, "expected small letters, digits and -, got 'No Name'"),
        (["new", "acme", "--from", "none.http"], 1, "none.http: No such file or directory"),
        (["new", "acme", "--from", "receiver.toml"], 1, "expected a push with a payload"),
        (["new", "twilio"], 1, "twilio: is a provider already; expected a new name"),
        (["new", "broken"], 1, "broken.toml: exists already; --force overwrites it"),
        (["new", "acme", "--quarantine", "7"], 1, "receiver.db: no such store"),
    ],
)
def test_what_cannot_be_done_is_told(
    folder: Path, arguments: list[str], status: int, said: str
) -> None:
    """With what was expected."""
    if "receiver.toml" in arguments:
        (folder / "receiver.toml").rename(folder / "other.toml")
        (folder / "receiver.toml").write_text("", "utf-8")
        arguments = [*arguments, "--config", "other.toml"]
    result = run(folder, "providers", *arguments)
    assert result.returncode == status
    assert said in result.stderr


@pytest.mark.commit
def test_all_are_tested(folder: Path) -> None:
    """Every one that can be used keeps its promises; those that do not are named at the end."""
    result = run(folder, "providers", "test", "--all")
    assert result.returncode == 1
    assert result.stderr.endswith("receiver: broken: not as expected\n")
    assert {line.partition(":")[0] for line in result.stdout.splitlines()} == {"acme", *known()}


def test_check_names_what_takes_the_place_of_a_provider(folder: Path) -> None:
    """A file of the name of one that comes with the program is used: a notice, no fault."""
    assert "notice: " not in told(folder, "check")
    file = folder / "providers" / "twilio.toml"
    file.write_text(told(folder, "providers", "show", "twilio"), "utf-8")
    shown = told(folder, "check")
    assert shown.endswith(f"notice: {file} takes the place of the provider twilio (catalogue)\n")


def test_check_names_what_no_source_uses(folder: Path) -> None:
    """A file with faults is a warning; used by a source, it is a fault with its key and reason."""
    shown = told(folder, "check")
    assert "warning: no source uses the provider broken, and none could: " in shown
    raw = settings(providers={"path": ["providers"]})
    raw["sources"] = {"b": {"provider": "broken", "tokens": [TOKEN]}}
    write(folder, raw)
    result = run(folder, "check")
    assert result.returncode == 2
    fault = f"sources.b.provider: {folder}/providers/broken.toml: title: expected a text, got an in"
    assert fault in result.stderr


def test_a_broken_promise_is_told(folder: Path) -> None:
    """With the promise, as JSON too."""
    file = folder / "providers" / "acme.py"
    file.write_text(f"{FILE}    def authenticate(self, push):\n        pass\n", "utf-8")
    result = run(folder, "providers", "test", "acme", "--json")
    assert result.returncode == 1
    faults = json.loads(result.stdout)["faults"]
    assert any(fault.startswith("samples_know_their_secret: expected ") for fault in faults)


def test_a_skeleton_is_a_description(folder: Path) -> None:
    """It stands in the folder of the configuration, and passes as it is."""
    shown = told(folder, "providers", "new", "kipepeo-sms")
    assert shown.splitlines()[0] == f"Wrote {folder}/providers/kipepeo-sms.toml."
    assert "Name its folder" not in shown
    assert "promises kept" in told(folder, "providers", "test", "kipepeo-sms")


def test_a_description_is_made_of_the_quarantine(folder: Path) -> None:
    """What a source could not read, it reads when its description is made of that."""
    told(folder, "providers", "new", "kipepeo")
    raw = settings(providers={"path": ["providers"]})
    raw["sources"] = {"k": {"provider": "kipepeo", "tokens": [TOKEN]}}
    write(folder, raw)
    asyncio.run(_refused(folder, raw))
    ids = [str(each["id"]) for each in table(folder, "quarantine")]
    assert len(ids) == 2
    asked = [word for id_ in ids for word in ("--quarantine", id_)]
    told(folder, "providers", "new", "kipepeo", "--force", *asked)
    file = folder / "providers" / "kipepeo.toml"
    text = file.read_text("utf-8")
    assert 'token = "field:apiKey"' in text
    assert "s3cret" not in text
    assert "promises kept" in told(folder, "providers", "test", "kipepeo")
    write(folder, {**raw, "sources": {"k": {**raw["sources"]["k"], "tokens": [TOKEN, "s3cret"]}}})
    assert told(folder, "quarantine", "retry", "--all") == "2 taken out of the quarantine\n"
    assert {event["type"] for event in table(folder, "events")} == {
        "sms.message.received",
        "sms.delivery.updated",
    }


async def _refused(folder: Path, raw: dict[str, object]) -> None:
    """Pushes that the skeleton cannot read, with the right token in the URL."""
    async with opened(folder, raw) as running:
        for body in (MESSAGE.replace(b"id=", b"reference=").replace(b"from=", b"mobile="), REPORT):
            with pytest.raises(PushError):
                await take(running, body, source="k", token=TOKEN)


def test_init_writes_the_providers_that_are_asked_for(folder: Path) -> None:
    """By name or by file, whose folder it names; the result is right as it is."""
    asked = ("--provider", "africas-talking", "--provider", "providers/acme.py")
    shown = told(folder, "init", "--config", "new.toml", *asked)
    assert "/hooks/africas-talking/" in shown
    loaded = config.load(folder / "new.toml")
    assert list(loaded.sources) == ["africas-talking", "acme"]
    assert loaded.providers.path == [folder / "providers"]
    assert [made.name for made in create(loaded).values()] == ["africas-talking", "acme"]
    text = (folder / "new.toml").read_text("utf-8")
    assert '# username = "…"  # the user name of the application\n' in text


def test_init_of_signed_pushes_and_of_what_only_sends(tmp_path: Path) -> None:
    """A user name stands before the token of HTTP basic; what only sends is not commented out."""
    asked = ("--provider", "twilio", "--provider", "infobip", "--provider", "rayprotech")
    told(tmp_path, "init", *asked)
    text = (tmp_path / "receiver.toml").read_text("utf-8")
    assert 'tokens = ["receiver:' in text
    assert '# public_url = "https://sms.example.com/hooks/twilio"' in text
    loaded = config.load(tmp_path / "receiver.toml", {"RAYPROTECH_API_KEY": "key"})
    assert isinstance(create(loaded)["rayprotech"], built_in()["rayprotech"])


def test_init_tells_of_an_unknown_provider(tmp_path: Path) -> None:
    """With the one that is meant; nothing is written."""
    result = run(tmp_path, "init", "--provider", "tillil")
    assert result.returncode == 2
    assert "no provider is named 'tillil'; did you mean tilil?" in result.stderr
    assert not list(tmp_path.iterdir())
