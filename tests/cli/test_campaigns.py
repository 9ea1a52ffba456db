"""`receiver send` to many, and `receiver campaigns`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from receiver import config as configuration
from receiver.events import utc_now
from receiver.fake import Fake
from receiver.outgoing import Schedule
from receiver.service import control, parts
from receiver.service.commands import DraftCampaign
from tests.cli.program import Result, run, table, told
from tests.cli.test_send import NUMBER, fake, idle

__all__ = ["fake", "idle"]

HELLO = ("--text", "hello")


def send(folder: Path, *arguments: str, people: str = "") -> Result:
    """What the command says; `people` is the file `people.csv`."""
    (folder / "people.csv").write_text(people, "utf-8")
    return run(folder, "send", *arguments)


def texts(folder: Path, id_: int = 1) -> dict[str, str]:
    """The texts of a campaign by person."""
    found = table(folder, "messages", "--campaign", str(id_))
    return {each["to"]: each["text"] for each in found}


def test_columns_are_variables(idle: Path) -> None:
    """Each person gets a text of their own; a person who comes twice gets one."""
    people = "name;To;sum\nAnn;0712000001;1500\nBen;+254712000002;20\nAnn;254712000001;7\n"
    template = "Dear {{ name }}: {{ sum | money('KES') }}"
    result = send(idle, "--to-file", "people.csv", "--template", template, people=people)
    assert (result.returncode, result.stdout) == (0, "1\n")
    assert "named more than once, and sent to once: 1" in result.stderr
    assert texts(idle) == {
        "+254712000001": "Dear Ann: KES 1,500.00",
        "+254712000002": "Dear Ben: KES 20.00",
    }


def test_a_file_may_have_numbers_alone(idle: Path) -> None:
    """And people may be named beside it."""
    options = ("--to-file", "people.csv", "--to", NUMBER, *HELLO)
    assert send(idle, *options, people="\ufeff0712000001\n\n0712000002\n").returncode == 0
    assert len(texts(idle)) == 3


def test_faults_are_listed_by_line_and_nothing_is_stored(idle: Path) -> None:
    """All of them, with what was expected."""
    people = "to,name\n0712000001,Ann\n123,Ben\n0712000003\n0712000004,\n"
    missing = "the message has no field nick; default() would give one a value"
    template = "{% if not name %}{{ fields.nick }}{% endif %}{{ name }}"
    result = send(idle, "--to-file", "people.csv", "--template", template, people=people)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        "receiver: people.csv, line 3: expected a number such as +254712345678, got '123'",
        "receiver: people.csv, line 4: expected 2 cells (to, name), got 1",
        "receiver: people.csv, line 5: " + missing,
        "receiver: nothing was sent; mend these lines first",
    ]
    assert not (idle / "receiver.db").exists()


def test_faults_are_at_the_line_where_a_person_begins(idle: Path) -> None:
    """Also after a cell with line breaks; other breaks than those of lines are part of a cell."""
    people = (
        'to,name\n0712000001,"Ann\nof\nKisumu"\n123,Ben\n0712000002,"Ann\n",\n0712000003,A\u2028B\n'
    )
    result = send(idle, "--to-file", "people.csv", *HELLO, people=people)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        "receiver: people.csv, line 5: expected a number such as +254712345678, got '123'",
        "receiver: people.csv, line 6: expected 2 cells (to, name), got 3",
        "receiver: nothing was sent; mend these lines first",
    ]


@pytest.mark.parametrize(
    ("people", "message"),
    [
        ("", "expected a line for each person, got none"),
        ("name,town\nAnn,Nairobi\n", "expected one column with the numbers, called to, msisdn"),
        ("to,first name\n0712000001,Ann\n", "expected names of columns such as first_name"),
        ('to,name\n0712000001,"Ann\n"\n"0712', "line 4: expected CSV: unexpected end of data"),
    ],
)
def test_what_is_no_list_of_people_is_refused(idle: Path, people: str, message: str) -> None:
    """With the line."""
    result = send(idle, "--to-file", "people.csv", *HELLO, people=people)
    assert (result.returncode, result.stdout) == (1, "")
    assert message in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--at", "2020-01-01"), "expected a time to come such as 2026-12-01T09:00"),
        (("--at", "soon"), "expected a time to come"),
        (("--within", "8-20"), "expected times such as 08:00-20:00; got '8-20'"),
        (("--valid-for", "long"), "expected a length such as 6h or 2d; got 'long'"),
        (("--rate", "0"), "Invalid value for '--rate'"),
        (("--at", "1h", "--text", "Dear {{ name }}"), "expected --template, got {{"),
        (("--rate", "9" * 30), "expected a rate of 1 to 1,000,000 a minute"),
        (("--at", "9999-12-31T23:59"), "expected a start before 2100"),
        (("--valid-for", "400d"), "expected to be valid for 1 s to 366 days"),
    ],
)
def test_wrong_limits_are_refused(idle: Path, options: tuple[str, str], message: str) -> None:
    """With what would be right."""
    result = send(idle, "--to", NUMBER, *HELLO, *options)
    assert (result.returncode, result.stdout) == (2, "")
    assert message in result.stderr


def test_a_dry_run_shows_everything_and_stores_nothing(idle: Path) -> None:
    """Who, how many SMS, why they are long, and who is left out."""
    told(idle, "opt-outs", "add", "0712000002")
    options = ("--to-file", "people.csv", "--text", "ça va? “yes”" + "x" * 60, "--dry-run")
    people = "0712000001\n0712000002\n"
    shown = send(idle, *options, people=people).stdout.splitlines()
    assert shown[0] == "2 people, 4 SMS through tilil"
    assert "messages take 2 parts of UCS-2" in shown[1]
    assert "U+201C" in shown[2]
    assert shown[-1] == "left out, for they have opted out: 1: +254712000002"
    [fields] = table(idle, "send", *options)
    assert fields["opted_out"] == ["+254712000002"]
    assert told(idle, "campaigns") == "no campaigns\n"


def test_many_people_are_asked_for(idle: Path) -> None:
    """More than a hundred, unless --yes says so."""
    people = "".join(f"071200{number:04}\n" for number in range(101))
    options = ("--to-file", "people.csv", *HELLO)
    result = send(idle, *options, people=people)
    assert (result.returncode, result.stdout) == (2, "")
    assert "expected --yes: it goes to 101 people" in result.stderr
    assert send(idle, *options, "--yes", people=people).stdout == "1\n"
    [campaign] = table(idle, "campaigns")
    assert (campaign["people"], campaign["state"]) == (101, "running")


def test_a_campaign_is_shown_paused_resumed_and_cancelled(idle: Path, fake: Fake) -> None:
    """By its id; who waited gets nothing, and each try is in the audit."""
    send(idle, "--to", NUMBER, "--to", "0712000001", *HELLO, "--at", "2h", "--rate", "60")
    assert "2 waiting" in told(idle, "campaigns")
    assert told(idle, "campaigns", "pause", "1") == "1 campaign paused\n"
    assert run(idle, "campaigns", "pause", "1").stderr == (
        "receiver: 1: expected a campaign that is running; it is paused\n"
    )
    assert told(idle, "campaigns", "resume", "1") == "1 campaign resumed\n"
    assert told(idle, "campaigns", "cancel", "1") == "1 campaign cancelled\n"
    shown = told(idle, "campaigns", "1")
    assert "2: the campaign was cancelled before its turn" in shown
    assert "60 people a minute" in shown
    assert run(idle, "campaigns", "9").stderr == "receiver: 9: no such campaign\n"
    acts = [each["act"] for each in table(idle, "audit")]
    assert acts == ["campaigns.change"] * 5
    assert not fake.sent


def test_json_and_csv_list_every_campaign(idle: Path) -> None:
    """A table has the newest 50, and says so."""

    async def draft() -> None:
        made = parts.prepare(configuration.load(idle / "receiver.toml"))
        async with control.executor(made) as execute:
            for _ in range(51):
                schedule = Schedule(start_at=utc_now())
                await execute(DraftCampaign(source="tilil", schedule=schedule))

    asyncio.run(draft())
    assert len(told(idle, "campaigns", "--json").splitlines()) == 51
    assert len(told(idle, "campaigns", "--csv").splitlines()) == 1 + 51
    assert len(told(idle, "campaigns", "-n", "51").splitlines()) == 1 + 51
    shown = run(idle, "campaigns")
    assert len(shown.stdout.splitlines()) == 1 + 50
    assert shown.stderr == "receiver: these are the 50 newest; -n N, --json and --csv show more\n"


def test_subscribers_of_a_service_get_it(idle: Path) -> None:
    """Without any there is nobody to send to."""
    result = send(idle, "--subscribers-of", "44", *HELLO)
    assert (result.returncode, result.stdout) == (1, "")
