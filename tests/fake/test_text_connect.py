"""The fake Text-Connect: every action, by GET and POST, and its codes."""

from __future__ import annotations

import json

import httpx2
import pytest

from receiver.fake.text_connect import _meaning
from tests.fake.trying import KEY, trying, until_ended

pytestmark = pytest.mark.anyio

_SEND = {
    "Action": "Send",
    "DestinationAddress": "447777777777",
    "SourceAddress": "SHOP",
    "Body": "Hello",
}
_ALL_TIMES = {"From": "20200101000000", "To": "20991231235959"}
_CONTACTS = "Ann,447777777771,a@example.com,Staff\nBob,447777777772,,Staff,Night\n"


async def ask(client: httpx2.AsyncClient, **fields: str) -> str:
    """The answer to a POST, which is always 200."""
    response = await client.post("/text-connect", data={"Token": KEY, **fields})
    assert response.status_code == 200
    return response.text


async def test_a_message_is_accepted() -> None:
    """By POST or GET, with names and actions in any case; the answer is its id."""
    async with trying() as (fake, client):
        by_post = await ask(client, **_SEND)
        params = {"TOKEN": KEY, **{name.lower(): value for name, value in _SEND.items()}}
        by_get = (await client.get("/text-connect", params={**params, "action": "sEND"})).text
        assert [message.id for message in fake.sent] == [by_post, by_get]
        assert fake.sent[0].text == "Hello"


async def test_several_numbers_have_an_answer_each() -> None:
    """An id or a code, in their order; the words of the codes follow if they are asked for."""
    numbers = "447777777777, 12,447777799902,447777799903,447777777778"
    fields = {**_SEND, "DestinationAddress": numbers}
    async with trying() as (fake, client):
        answer = await ask(client, **fields)
        one, two = (message.id for message in fake.sent)
        assert answer == f"{one},-401,-100,-412,{two}"
        assert fake.counts.refused == 3
        first, *words = (await ask(client, **fields, ShowErrorMessage="1")).split("\n")
        assert first.split(",")[1:4] == ["-401", "-100", "-412"]
        assert words == [_meaning(code) for code in (-401, -100, -412)]


async def test_every_part_has_an_id() -> None:
    """The ids of all parts are told on request, and each of them finds the status."""
    async with trying() as (fake, client):
        answer = await ask(client, **{**_SEND, "Body": "x" * 320}, GetAllMessageIDs="1")
        await until_ended(fake)
        ids = answer.split(",")
        assert len(ids) == len(set(ids)) == 3
        for id_ in ids:
            status = await ask(client, Action="CheckMessageStatus", MessageID=id_)
            assert status == "Delivered"
        beyond = str(int(ids[-1]) + 1)
        assert await ask(client, Action="CheckMessageStatus", MessageID=beyond) == "-503"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"Token": "wrong"}, -501),
        ({"Token": ""}, -501),
        ({"Action": "Sing"}, -502),
        ({"Action": ""}, -502),
        ({"Body": " "}, -404),
        ({"Body": "x" * 460}, -301),
        ({"SourceAddress": ""}, -518),
        ({"SourceAddress": "twelve chars"}, -402),
        ({"SourceAddress": "SHOP", "SourceTON": "1"}, -403),
        ({"ValidityPeriod": "86401"}, -405),
        ({"ScheduleDate": "tomorrow"}, -407),
        ({"DestinationAddress": ""}, -401),
        ({"DestinationAddress": "447777799901"}, -401),
        ({"DestinationAddress": "447777799903"}, -412),
        ({"DestinationAddress": "List", "ListName": "nobody"}, -410),
        ({"DestinationAddress": "List", "ListName": "Everybody"}, -408),
        ({"DestinationAddress": "Group", "GroupName": "Staff"}, -414),
        ({"Action": "CheckMessageStatus", "MessageID": "x"}, -503),
        ({"Action": "Report", "ReportType": "Weather", **_ALL_TIMES}, -601),
        ({"Action": "Report", "ReportType": "Messages", **_ALL_TIMES, "From": "x"}, -504),
        ({"Action": "Report", "ReportType": "Messages", **_ALL_TIMES, "To": ""}, -505),
        ({"Action": "Report", "ReportType": "Messages", **_ALL_TIMES}, -523),
        ({"Action": "UpdateCredits", "ChildUsername": "x", "Quantity": "1"}, -509),
        ({"Action": "ImportContactsCSV"}, -507),
        ({"Action": "EmptyGroup", "GroupName": "Staff"}, -520),
        ({"Action": "DeleteGroup", "Group": "Staff"}, -520),
    ],
)
async def test_refusals_are_codes(fields: dict[str, str], code: int) -> None:
    """Whose words follow if they are asked for; nothing is accepted."""
    async with trying() as (fake, client):
        assert await ask(client, **{**_SEND, **fields}) == str(code)
        answer = await ask(client, **{**_SEND, **fields}, ShowErrorMessage="1")
        assert answer == f"{code}\n{_meaning(code)}"
        assert (fake.sent, fake.counts.refused) == ([], 2)


async def test_options_of_a_message_are_taken() -> None:
    """A time to send it, a validity, a number as the sender."""
    fields = {"SourceAddress": "+447786200000", "SourceTON": "1", "ValidityPeriod": "86400"}
    async with trying() as (fake, client):
        assert await ask(client, **{**_SEND, **fields}, ScheduleDate="20991231120000")
        assert [message.sender for message in fake.sent] == ["+447786200000"]


async def test_credits_go_down() -> None:
    """By a part at a time, until there are none."""
    async with trying(balance=2) as (_, client):
        assert await ask(client, **{**_SEND, "Body": "x" * 161}) > "0"
        assert await ask(client, Action="CheckCredits") == "0"
        assert await ask(client, **_SEND) == "-100"


async def test_contacts_are_imported_and_messaged() -> None:
    """A group or the list of all; the answer is 1, or the id of the send in the background."""
    async with trying() as (fake, client):
        assert await ask(client, Action="ImportContactsCSV", ContactsCSV=_CONTACTS) == (
            "1 : Success\n2 : Success\n"
        )
        group = {**_SEND, "DestinationAddress": "Group", "GroupName": "Night"}
        assert await ask(client, **group) == "1"
        everybody = {**_SEND, "DestinationAddress": "list", "ListName": "everybody"}
        send = await ask(client, **everybody, GetBGSendID="1")
        assert [message.to[-1] for message in fake.sent] == ["2", "1", "2"]
        await until_ended(fake)
        listed = json.loads(await ask(client, Action="BackgroundSend", BGSendID=send))
        assert listed == [
            {"MessageID": each.id, "Destination": each.to, "Status": "Delivered"}
            for each in fake.sent[1:]
        ]
        nothing = json.loads(await ask(client, Action="BackgroundSend", BGSendID="1"))
        assert nothing["error"] == "-521"
        wrong = {"Action": "BackgroundSend", "BGSendID": send, "Token": "wrong"}
        assert await ask(client, **wrong) == "-501"


async def test_some_of_a_list_may_fail() -> None:
    """The answer says no more than that; with an id the messages can be asked for."""
    contacts = "Ann,447777777771\nBob,447777799903\n"
    everybody = {**_SEND, "DestinationAddress": "List", "ListName": "everybody"}
    async with trying() as (fake, client):
        await ask(client, Action="ImportContactsCSV", ContactsCSV=contacts)
        assert await ask(client, **everybody) == "-400"
        shown = await ask(client, **everybody, ShowErrorMessage="1")
        assert shown == f"-400\n{_meaning(-400)}"
        send = await ask(client, **everybody, GetBGSendID="1")
        assert [message.to for message in fake.sent] == ["447777777771"] * 3
        assert len(json.loads(await ask(client, Action="BackgroundSend", BGSendID=send))) == 1


async def test_what_is_imported_is_told_by_line() -> None:
    """With a reason for what is not as it should be, after a blank line."""
    lines = "Ann,447777777771,a@example.com\nBob,447777777771\nAnn,447777777773\n,1\nEve,x\nDan,"
    async with trying() as (_, client):
        fields = {"Action": "ImportContactsCSV", "ContactsCSV": f"{lines}447777777774,nowhere"}
        assert (await ask(client, **fields)).split("\n") == [
            "1 : Success",
            "2 : Duplicate Number",
            "3 : Duplicate Name",
            "4 : Failed",
            "5 : Failed",
            "6 : Partial",
            "",
            "4 : no name",
            "5 : the number is not valid",
            "6 : the e-mail address is not valid",
        ]


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ({"IgnoreDupes": "1"}, ["1", "2", "1"]),
        ({"OverwriteDupes": "1"}, ["2", "1"]),
        ({"IgnoreDupes": "1", "OverwriteDupes": "1"}, ["2", "1"]),
    ],
)
async def test_duplicates_are_kept_or_replaced(options: dict[str, str], numbers: list[str]) -> None:
    """Overwriting wins."""
    async with trying() as (fake, client):
        await ask(client, Action="ImportContactsCSV", ContactsCSV=_CONTACTS)
        again = "Ann,447777777771,new@example.com,Day"
        fields = {"Action": "ImportContactsCSV", "ContactsCSV": again, **options}
        assert await ask(client, **fields) == "1 : Success\n"
        await ask(client, **{**_SEND, "DestinationAddress": "List", "ListName": "everybody"})
        assert [message.to[-1] for message in fake.sent] == numbers


async def test_groups_are_emptied_and_deleted() -> None:
    """An empty one is still a group; with the contacts goes who would be messaged."""
    group = {**_SEND, "DestinationAddress": "Group", "GroupName": "Staff"}
    everybody = {**_SEND, "DestinationAddress": "List", "ListName": "everybody"}
    async with trying() as (_, client):
        await ask(client, Action="ImportContactsCSV", ContactsCSV=_CONTACTS)
        assert await ask(client, Action="EmptyGroup", GroupName="Staff") == "1"
        assert await ask(client, **group) == "-409"
        assert await ask(client, Action="DeleteGroup", Group="Staff") == "1"
        assert await ask(client, **group) == "-414"
        assert await ask(client, Action="DeleteAllGroups") == "1"
        assert await ask(client, **{**group, "GroupName": "Night"}) == "-414"
        assert await ask(client, **everybody) == "1"
        assert await ask(client, Action="DeleteAllContacts") == "1"
        assert await ask(client, **everybody) == "-408"


async def test_reports_are_tables() -> None:
    """Of the messages that they are about, within the two times."""
    report = {"Action": "Report", **_ALL_TIMES}
    async with trying() as (fake, client):
        for number in ("447777777777", "447777799904"):
            await ask(client, **{**_SEND, "DestinationAddress": number, "Body": "a, b"})
        await until_ended(fake)
        heading, *rows = (await ask(client, **report, ReportType="messages")).splitlines()
        assert heading == "MessageID,Destination,Source,Body,Status,Date"
        assert [row.split(",")[1] for row in rows] == ["447777777777", "447777799904"]
        assert f'{fake.sent[0].id},447777777777,SHOP,"a, b",Delivered,20' in rows[0]
        _, row = (await ask(client, **report, ReportType="FailedMessages")).splitlines()
        assert row.split(",")[1] == "447777799904"
        heading, usage = (await ask(client, **report, ReportType="Usage")).splitlines()
        assert (heading, usage.split(",")[1]) == ("Date,Credits", "2")
        for kind in ("Outbox", "InboundMessages"):
            assert await ask(client, **report, ReportType=kind) == "-523"
        whole = await ask(client, Action="Report", ReportType="Messages")
        assert len(whole.splitlines()) == 3
        earlier = {**report, "To": "20200102000000"}
        assert await ask(client, **earlier, ReportType="Messages") == "-523"


async def test_users_are_created_and_given_credits() -> None:
    """Missing details are told line by line; credits do not fall below 0."""
    user = {
        "Action": "CreateUser",
        "ChildUsername": "ann",
        "ChildPassword": "s3cret",
        "AccessLevel": "Normal",
        "FirstName": "Ann",
        "LastName": "A",
        "Email": "ann@example.com",
        "Credits": "10",
    }
    update = {"Action": "UpdateCredits", "ChildUsername": "ann"}
    async with trying() as (_, client):
        missing = {**user, "Email": "", "LastName": ""}
        assert await ask(client, **missing) == "-507\nLastName is missing\nEmail is missing"
        assert await ask(client, **{**user, "Credits": "many"}) == "-702"
        assert await ask(client, **user) == "1"
        assert await ask(client, **user) == "-508\nChildUsername is taken"
        other = {**user, "ChildUsername": "bob", "AccessLevel": "God"}
        assert await ask(client, **other) == "-508\nInvalid AccessLevel"
        assert await ask(client, **update, Quantity="-10") == "1"
        assert await ask(client, **update, Quantity="-1") == "-510"
        assert await ask(client, **update, Quantity="x") == "-702"
