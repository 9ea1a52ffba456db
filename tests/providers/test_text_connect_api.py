"""Sending through Text-Connect: its requests, and every answer that there may be."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.config.convert import Secret
from receiver.errors import ProviderError
from receiver.events import DeliveryReport, EventType, Status
from receiver.jobs.calling import Caller
from receiver.outgoing import OutgoingMessage, Sent
from receiver.providers import Parsed
from receiver.providers.contract import Balance, Partly, Request, Response
from receiver.providers.text_connect import TextConnect, TextConnectSource
from receiver.providers.text_connect.answers import (
    REFUSALS,
    Addressed,
    Imported,
    Note,
    SomeFailed,
)
from receiver.providers.text_connect.sending import Names, TextConnectApi, TextConnectSend
from tests.fake.trying import trying, until_ended
from tests.harness import NOW
from tests.providers import pushes
from tests.providers.answers import answer, anything, outcome, refused

BASE = "https://goto.text-connect.co.uk/api"
MESSAGE = OutgoingMessage(to="+447777777777", text="Hello & goodbye")
#: In every request.
ALWAYS = {"Token": "key/1", "ShowErrorMessage": "1"}
BODY = {"Body": "Hello"}
THREE = {"DestinationAddress": "07777777771, +447777777772,447777777773,", **BODY}
NUMBERS = ["+447777777771", "+447777777772", "+447777777773"]


def api(**send: Any) -> TextConnectApi:
    """The API of a source with these settings for sending."""
    settings = TextConnectSend(**{"api_key": Secret("key/1"), "sender": "SHOP", **send})
    return TextConnectApi(TextConnect(TextConnectSource(provider="text-connect")), settings)


def fields(request: Request[Any]) -> dict[str, str]:
    """The form that a request posts, but for what is in all of them."""
    assert (request.method, request.url) == ("POST", BASE)
    assert request.headers == {"content-type": "application/x-www-form-urlencoded"}
    form = parse_qs(request.body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
    single = {name: value for name, [value] in form.items()}
    assert single.items() >= ALWAYS.items()
    return {name: value for name, value in single.items() if name not in ALWAYS}


def call(operation: str, /, **given: str) -> Request[Any]:
    """The request of an operation."""
    return api().operations()[operation].make(given)


def reads(request: Request[Any], text: str) -> Any:
    """The result of an answer."""
    return request.read(answer(200, text.encode()))


def refuses(request: Request[Any], text: str) -> ProviderError:
    """The error that an answer is."""
    return refused(request, answer(200, text.encode()))


# Requests


def test_a_message_is_sent_as_documented() -> None:
    """As a form in the body, so that neither the token nor the text is in a log."""
    request = api().send(MESSAGE)
    assert fields(request) == {
        "Action": "Send",
        "DestinationAddress": "447777777777",
        "SourceAddress": "SHOP",
        "SourceTON": "5",
        "Body": "Hello & goodbye",
        "GetAllMessageIDs": "1",
    }
    assert not request.bulk
    assert api(url="http://127.0.0.1:9/api/").send(MESSAGE).url == "http://127.0.0.1:9/api"


@pytest.mark.parametrize(
    ("sender", "address", "ton"),
    [
        ("Text-Connec", "Text-Connec", "5"),
        ("2 for 1", "2 for 1", "5"),
        ("+447786200000", "447786200000", "1"),
        ("07786 200000", "447786200000", "1"),
        ("+254726770792", "254726770792", "1"),
        ("60777", "60777", None),
        ("123456789012345", "123456789012345", None),
    ],
)
def test_a_sender_has_a_type(sender: str, address: str, ton: str | None) -> None:
    """Alphanumeric or international; for a short code there is none."""
    message = OutgoingMessage(to="+447777777777", text="x", sender=sender)
    api().check(message)
    sent = fields(api().send(message))
    assert (sent["SourceAddress"], sent.get("SourceTON")) == (address, ton)
    assert fields(api(sender=sender).send(MESSAGE))["SourceAddress"] == address


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"text": "\n"}, "the text is empty"),
        ({"text": "x" * 460}, "460 characters.* takes 459"),
        ({"sender": "Text-Connect"}, "the sender Text-Connect has 12 characters.* at most 11"),
        ({"sender": "1234567890123456"}, "has 16 digits.* at most 15"),
        ({"sender": "١٢٣٤٥٦٧٨٩٠١٢"}, "has 12 characters"),
        ({"to": "447777777777,447777777778"}, "expected one number"),
        ({"to": "List"}, "expected one number"),
        ({"to": ""}, "expected one number"),
    ],
)
def test_what_would_be_refused_does_not_leave(change: dict[str, str], words: str) -> None:
    """Nor what would go to more than one person."""
    message = msgspec.structs.replace(MESSAGE, **change)
    with pytest.raises(ProviderError, match=words) as caught:
        api().check(message)
    assert (caught.value.retryable, caught.value.unknown) == (False, False)


def test_a_sender_is_needed() -> None:
    """Of the message or of the source; Text-Connect would refuse it."""
    with pytest.raises(ProviderError, match=r"needs a sender: set send\.sender"):
        api(sender=None).check(MESSAGE)
    longest = OutgoingMessage(to="+447777777777", text="x" * 459, sender="SHOP")
    api(sender=None).check(longest)


def test_the_status_is_asked_for() -> None:
    """Always: it is never reported. The credit can be asked for, too."""
    assert TextConnect.api is TextConnectApi
    assert api().polls
    assert fields(api().look_up("91532", None)) == {
        "Action": "CheckMessageStatus",
        "MessageID": "91532",
    }
    assert fields(api().balance()) == {"Action": "CheckCredits"}


# Answers


@pytest.mark.parametrize("text", ["91532", "\ufeff91532\r\n", " 91532 ,", "91532\nOK"])
def test_a_message_is_taken(text: str) -> None:
    """The answer is its id."""
    assert reads(api().send(MESSAGE), text) == Sent(message_id="91532", to="+447777777777")


def test_parts_may_have_ids() -> None:
    """All of them are kept: each part has a status of its own."""
    sent = reads(api().send(MESSAGE), "91532,91533,a-1")
    assert (sent.ids, sent.parts) == (("91532", "91533", "a-1"), 3)
    assert refuses(api().send(MESSAGE), "91532,-401").unknown


@pytest.mark.parametrize("code", REFUSALS)
def test_refusals_come_with_200(code: str) -> None:
    """With the provider's words on the next line, or with those of its documentation."""
    for request in (api().send(MESSAGE), api().look_up("91532", None), api().balance()):
        error = refuses(request, f"{code}\r\nSorry,  no\r\n")
        assert (error.code, error.words, error.unknown) == (code, "Sorry, no", code == "-301")
        assert refuses(request, f"\ufeff{code}").words == REFUSALS[code].meaning


def test_a_code_says_what_may_be_done() -> None:
    """Some may work later, after a mend or without; one says that the person wants nothing."""
    errors = [refuses(api().send(MESSAGE), code) for code in REFUSALS]
    assert {error.code for error in errors if error.retryable} == {
        *("-100", "-300", "-411", "-501", "-511", "-512", "-513", "-514", "-515", "-522"),
    }
    assert [error.code for error in errors if error.tomorrow] == ["-411"]
    assert [error.code for error in errors if error.unknown] == ["-301"]
    assert [error.code for error in errors if error.opted_out] == ["-412"]
    error = refuses(api().send(MESSAGE), "-999")
    assert (str(error), error.retryable) == ("unknown code (-999)", False)


@pytest.mark.parametrize(
    "text",
    ["", " \n", "OK", "Error", "<h1>91532</h1>", "91532 91533", "91532,-401", "-", ",", "é1"],
)
def test_an_answer_without_an_id_is_unknown(text: str) -> None:
    """The message may have been sent, so it is not sent again."""
    error = refuses(api().send(MESSAGE), text)
    assert (error.unknown, error.retryable) == (True, False)


@pytest.mark.parametrize(
    ("status", "retryable", "unknown"),
    [(301, False, False), (401, True, False), (429, True, False), (500, False, True)],
)
def test_http_may_refuse_too(status: int, retryable: bool, unknown: bool) -> None:
    """Though it is not documented; an id with such a status is none."""
    error = refused(api().send(MESSAGE), answer(status, b"91532", retry_after="7"))
    assert (error.retryable, error.unknown) == (retryable, unknown)
    assert (error.code, error.retry_after) == (str(status), 7)


@pytest.mark.parametrize("amount", ["0", "105", "12.50", "\ufeff7\r\n"])
def test_the_credit_is_told(amount: str) -> None:
    """In credits, as it stands there."""
    expected = Balance(amount=amount.strip("\ufeff\r\n"), unit="credits")
    assert reads(api().balance(), amount) == expected
    assert reads(call("check_credits"), amount) == expected


@pytest.mark.parametrize("text", ["", "plenty", "1.", "-1.5", "<p>7</p>"])
def test_what_is_no_number_is_no_credit(text: str) -> None:
    """Nothing is guessed."""
    assert refuses(api().balance(), text).unknown


# What became of it


@pytest.mark.parametrize(
    ("word", "status"),
    [
        *(("Sent", Status.SENT), ("DELIVERED", Status.DELIVERED), ("failed", Status.FAILED)),
        *(("Undelivered", Status.UNDELIVERED), ("Not delivered", Status.UNDELIVERED)),
        *(("Queued", Status.QUEUED), ("Scheduled", Status.QUEUED), ("Expired", Status.EXPIRED)),
        *(("Rejected", Status.REJECTED), ("Canceled", Status.CANCELLED)),
        *(("Cancelled", Status.CANCELLED), ("Buffered", Status.SENT)),
        *(("Acknowledged", Status.SENT), ("Delivered (1)", Status.DELIVERED)),
        *(("DELIVRD", Status.DELIVERED), ("UNDELIV", Status.UNDELIVERED)),
        ("Lost in the post", Status.UNKNOWN),
    ],
)
def test_a_status_is_read(word: str, status: Status) -> None:
    """In any case; a word that is not known is kept; each is one event, however often it comes."""
    request = api().look_up("91532", "+447777777777")
    for text in (word, f"\ufeff{word} \r\n"):
        assert reads(request, text) == Parsed(
            type=EventType.DELIVERY_UPDATED,
            data=DeliveryReport(
                message_id="91532",
                to="+447777777777",
                status=status,
                raw_status=word,
                final=status.final,
            ),
            key=f"delivery:91532:{word.lower()}",
            time=pushes.ARRIVAL,
        )


@pytest.mark.parametrize("text", ["", "7", "<p>Sent</p>", "x" * 65, "Sent\ufffd", "Sent\x00"])
def test_what_is_no_word_is_no_status(text: str) -> None:
    """No event is made of it."""
    assert refuses(api().look_up("91532", None), text).unknown


def test_a_message_that_is_not_known_is_told() -> None:
    """It will not be known later, either."""
    error = refuses(call("check_message_status", MessageID="1"), "-503\nUnknown message id")
    assert (str(error), error.retryable) == ("Unknown message id (-503)", False)


# Sending by hand


def test_a_message_is_sent_by_hand() -> None:
    """With what else there is to say of it; a SourceTON that is given stays."""
    options = {"SourceTON": "0", "ScheduleDate": "20261201090000", "ValidityPeriod": "3600"}
    request = call(
        "send", DestinationAddress="07777 777777", SourceAddress="+447786200000", **BODY, **options
    )
    assert fields(request) == {
        "Action": "Send",
        "DestinationAddress": "447777777777",
        "SourceAddress": "447786200000",
        "GetAllMessageIDs": "1",
        **BODY,
        **options,
    }
    assert reads(request, "91532") == Sent(message_id="91532", to="+447777777777")
    with pytest.raises(ProviderError, match="expected one number"):
        call("send", **THREE)
    with pytest.raises(ProviderError, match="the text is empty"):
        call("send", DestinationAddress="07777777777", Body="")


def test_many_are_sent_to_at_once() -> None:
    """Numbers with commas between them, each once."""
    request = call(
        "send_many", **{**THREE, "DestinationAddress": f"447777777771,{','.join(NUMBERS)}"}
    )
    assert request.bulk
    assert fields(request) == {
        "Action": "Send",
        "DestinationAddress": "447777777771,447777777772,447777777773",
        "SourceAddress": "SHOP",
        "SourceTON": "5",
        **BODY,
    }
    for wrong in ({"DestinationAddress": " ,"}, {"DestinationAddress": "07777777771,List"}):
        with pytest.raises(ProviderError, match=r"expected .*number"):
            call("send_many", **{**THREE, **wrong})
    with pytest.raises(ProviderError, match="takes 459"):
        call("send_many", **{**THREE, "Body": "x" * 460})


def taken(*answers: list[str] | tuple[str, str]) -> list[Addressed] | Partly:
    """Each number has the ids of its message, or code and words: then not all were taken."""
    found = [
        Addressed(to=to, code=said[0], words=said[1])
        if isinstance(said, tuple)
        else Addressed(to=to, message_ids=said)
        for to, said in zip(NUMBERS, answers, strict=True)
    ]
    no = sum(each.code is not None for each in found)
    return Partly(found, f"{no} of 3 numbers were refused") if no else found


BLOCKED = "the number is blacklisted"
INVALID = "invalid destination address"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,2,3", taken(["1"], ["2"], ["3"])),
        ("\ufeff1 , 2 , 3\r\n", taken(["1"], ["2"], ["3"])),
        ("1,2,3,4,5,6", taken(["1", "2"], ["3", "4"], ["5", "6"])),
        ("1,-412,3", taken(["1"], ("-412", BLOCKED), ["3"])),
        ("-401,2,3,-412", taken(("-401", INVALID), ["2", "3"], ("-412", BLOCKED))),
        ("-401,-412,3\nBad\nBarred", taken(("-401", "Bad"), ("-412", "Barred"), ["3"])),
        ("-401,-412,3\nBad", taken(("-401", INVALID), ("-412", BLOCKED), ["3"])),
        ("-401,-412,-401", taken(("-401", INVALID), ("-412", BLOCKED), ("-401", INVALID))),
    ],
)
def test_each_number_has_an_answer(text: str, expected: list[Addressed] | Partly) -> None:
    """A code, or the ids of all its parts, of which all texts that are the same have as many."""
    assert reads(call("send_many", **THREE, GetAllMessageIDs="1"), text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", "1,2", "1,2,3,4", "-401,-401", "-401,-401,-401,-401", "-401,2", "OK,OK,OK"),
        *("1,2,x", "1,-401,2,3,4", "-401,-401,1,-401", "<1,2,3>"),
    ],
)
def test_answers_that_do_not_add_up_are_unknown(text: str) -> None:
    """Nobody can tell whose they are."""
    assert refuses(call("send_many", **THREE), text).unknown


def test_many_may_be_refused_together() -> None:
    """One code alone is about all of them."""
    error = refuses(call("send_many", **THREE), "-501\nUnknown token")
    assert (str(error), error.retryable) == ("Unknown token (-501)", True)


@pytest.mark.parametrize(
    ("text", "ids", "words"),
    [
        ("-400", [], "some numbers failed"),
        ("-400\nSome numbers failed\n447777777771", [], "Some numbers failed; 447777777771"),
        ("71,-400", ["71"], "some numbers failed"),
    ],
)
def test_some_of_many_may_fail(text: str, ids: list[str], words: str) -> None:
    """Then it is known neither who nor how many, and the others have the message already."""
    expected = Partly(SomeFailed(ids=ids, code="-400", words=words), words)
    for operation, name in (("send_list", "ListName"), ("send_group", "GroupName")):
        assert reads(call(operation, **{name: "Staff"}, **BODY), text) == expected
    if not ids:
        assert reads(call("send_many", **THREE), text) == expected
    one = call("send_many", DestinationAddress="07777777771", **BODY)
    assert isinstance(outcome(one, answer(200, text.encode())), ProviderError)
    assert refuses(call("send_list", ListName="Staff", **BODY), "-400,Done").unknown


@pytest.mark.parametrize(("operation", "kind"), [("send_list", "List"), ("send_group", "Group")])
def test_a_list_or_group_is_sent_to(operation: str, kind: str) -> None:
    """By its name; there are ids to ask about if they were asked for."""
    name = {f"{kind}Name": "Staff"}
    request = call(operation, **name, **BODY)
    assert request.bulk
    assert fields(request) == {
        "Action": "Send",
        "DestinationAddress": kind,
        "SourceAddress": "SHOP",
        "SourceTON": "5",
        **name,
        **BODY,
    }
    assert reads(request, "1") == []
    request = call(operation, **name, **BODY, GetBGSendID="1")
    assert fields(request)["GetBGSendID"] == "1"
    assert reads(request, "71,72") == ["71", "72"]
    assert refuses(request, "-409").words == "the group is empty"
    assert refuses(request, "Done").unknown
    with pytest.raises(ProviderError, match="the text is empty"):
        call(operation, **name, Body=" ")


# Other operations


def test_every_documented_call_can_be_made() -> None:
    """With the provider's own parameters."""
    sending = ("SourceAddress", "SourceTON", "ScheduleDate", "ValidityPeriod")
    user = ("ChildUsername", "ChildPassword", "AccessLevel", "FirstName", "LastName", "Email")
    known = api().operations()
    assert {name: (each.required, each.optional) for name, each in known.items()} == {
        "send": (("DestinationAddress", "Body"), sending),
        "send_many": (("DestinationAddress", "Body"), (*sending, "GetAllMessageIDs")),
        "send_list": (("ListName", "Body"), (*sending, "GetBGSendID")),
        "send_group": (("GroupName", "Body"), (*sending, "GetBGSendID")),
        "background_send": (("BGSendID",), ()),
        "check_message_status": (("MessageID",), ()),
        "check_credits": ((), ()),
        "report": (("ReportType",), ("From", "To")),
        "create_user": ((*user, "Credits"), ("Telephone", "CreditReminder", "Alert")),
        "update_credits": (("ChildUsername", "Quantity"), ()),
        "import_contacts_csv": (("ContactsCSV",), ("IgnoreDupes", "OverwriteDupes")),
        "delete_all_contacts": ((), ()),
        "delete_all_groups": ((), ()),
        "empty_group": (("GroupName",), ()),
        "delete_group": (("GroupName",), ()),
    }
    assert all(each.summary.endswith(".") for each in known.values())
    deleting = {name for name, each in known.items() if each.deletes}
    assert deleting == {
        *("delete_all_contacts", "delete_all_groups", "empty_group", "delete_group"),
    }
    reading = {name for name, each in known.items() if each.reads}
    assert reading == {"background_send", "check_message_status", "check_credits", "report"}


@pytest.mark.parametrize(
    ("operation", "given", "action"),
    [
        ("create_user", {"ChildUsername": "ann", "Credits": "10", "Alert": "1"}, "CreateUser"),
        ("update_credits", {"ChildUsername": "ann", "Quantity": "-5"}, "UpdateCredits"),
        ("delete_all_contacts", {}, "DeleteAllContacts"),
        ("delete_all_groups", {}, "DeleteAllGroups"),
        ("empty_group", {"GroupName": "Staff & co"}, "EmptyGroup"),
        ("delete_group", {"GroupName": "Staff"}, "DeleteGroup"),
    ],
)
def test_some_calls_are_answered_with_1(operation: str, given: dict[str, str], action: str) -> None:
    """Anything else is no yes; reasons are told after a code."""
    request = call(operation, **given)
    assert fields(request) == {"Action": action, **given}
    assert reads(request, "1\r\n") == "1"
    assert refuses(request, "2").unknown
    error = refuses(request, "-507\nEmail is missing\n\nDetails missing")
    assert str(error) == "Email is missing; Details missing (-507)"


def test_names_that_are_not_printed_are_settings() -> None:
    """For accounts that know them by others."""
    names = {
        "empty_group": "ClearGroup",
        "delete_group": "RemoveGroup",
        "background_send": "CheckBGSend",
        "group_parameter": "Group",
        "credit_reminder": "Credit Reminder",
    }
    known = api(names=Names(**names)).operations()
    for operation, action in (("empty_group", "ClearGroup"), ("delete_group", "RemoveGroup")):
        request = known[operation].make({"GroupName": "Staff"})
        assert fields(request) == {"Action": action, "Group": "Staff"}
    assert fields(known["background_send"].make({"BGSendID": "7"}))["Action"] == "CheckBGSend"
    asked = {"ChildUsername": "ann", "CreditReminder": "5"}
    assert fields(known["create_user"].make(asked)) == {
        "Action": "CreateUser",
        "ChildUsername": "ann",
        "Credit Reminder": "5",
    }
    assert fields(call("create_user", **asked))["CreditReminder"] == "5"
    assert fields(call("background_send", BGSendID="7")) == {
        "Action": "BackgroundSend",
        "BGSendID": "7",
    }


def test_a_report_is_a_table() -> None:
    """In CSV, as it came."""
    request = call("report", ReportType="Usage", From="20260101000000", To="20260201000000")
    assert fields(request)["ReportType"] == "Usage"
    table = 'Date,Credits\r\n2026-01-05,"1,000"'
    assert reads(request, f"\ufeff{table}\r\n") == table
    assert refuses(request, "-523\nNo messages").code == "-523"
    assert refuses(request, "<html>").unknown


def test_a_report_may_be_empty_and_of_all_times() -> None:
    """Of the outbox no times are asked for; an answer without a line is a report, too."""
    request = call("report", ReportType="Outbox")
    assert fields(request) == {"Action": "Report", "ReportType": "Outbox"}
    assert reads(request, " \r\n") == ""
    assert refused(request, answer(500)).unknown


def test_contacts_are_imported() -> None:
    """Each line has a result, and reasons where it is not a success."""
    request = call("import_contacts_csv", ContactsCSV="Ann,447777777771,a@example.com,Staff\nBob,1")
    assert fields(request) == {
        "Action": "ImportContactsCSV",
        "ContactsCSV": "Ann,447777777771,a@example.com,Staff\nBob,1",
    }
    text = "1 : Success\r\n2 : Partial\r\n3:Duplicate Name\r\n\r\n2 : no e-mail: x\r\n2 : no group"
    assert reads(request, text) == [
        Imported(line=1, result="Success"),
        Imported(line=2, result="Partial", reasons=["no e-mail: x", "no group"]),
        Imported(line=3, result="Duplicate Name"),
    ]
    assert refuses(request, "-507").words == "details missing"
    for wrong in ("", "1", "Imported", "x : Success"):
        assert refuses(request, wrong).unknown


def test_an_import_may_end_in_words() -> None:
    """What was done with each line is known all the same."""
    request = call("import_contacts_csv", ContactsCSV="Ann,447777777771\nBob,1")
    text = "1 : Success\n2 : Failed\n\n2 : no number\n\n1 of 2 imported. Thank you!"
    assert reads(request, text) == [
        Imported(line=1, result="Success"),
        Imported(line=2, result="Failed", reasons=["no number"]),
        Note("1 of 2 imported. Thank you!"),
    ]


def test_the_messages_of_a_background_send_are_listed() -> None:
    """Each with its status, numbers as texts or not."""
    request = call("background_send", BGSendID="7")
    said = [
        {"MessageID": 91532, "Destination": "447777777771", "Status": "Delivered"},
        {"MessageID": "91533", "Destination": None, "Status": "Odd"},
        {"MessageID": "91534"},
    ]
    assert request.read(answer(200, said)) == [
        DeliveryReport(
            message_id="91532",
            to="+447777777771",
            status=Status.DELIVERED,
            raw_status="Delivered",
            final=True,
        ),
        DeliveryReport(message_id="91533", raw_status="Odd"),
        DeliveryReport(message_id="91534"),
    ]
    assert request.read(answer(200, [])) == []


def test_a_background_send_may_be_refused() -> None:
    """In JSON, or with a code as everything else."""
    request = call("background_send", BGSendID="7")
    for code in ("-522", -522):
        error = refused(request, answer(200, {"error": code, "message": "Not finished"}))
        assert (str(error), error.retryable) == ("Not finished (-522)", True)
    assert refuses(request, "-501\nUnknown token").code == "-501"
    wrongs: list[object] = [[{}], [1], {}, {"error": "no"}, "7", 7, None]
    for wrong in wrongs:
        assert refused(request, answer(200, wrong)).unknown


@pytest.mark.anyio
async def test_the_fake_provider_understands() -> None:
    """The fake was written after the same documentation: every call is made."""
    async with trying(balance=100) as (fake, _):
        here = api(url=f"{fake.url}/text-connect")
        async with aclosing(Caller(lambda: NOW, here.send_settings)) as caller:

            async def make(operation: str, /, **given: str) -> Any:
                return await caller.perform(here.operations()[operation].make(given))

            sent = await caller.perform(here.send(MESSAGE))
            assert [sent.message_id] == [message.id for message in fake.sent]
            assert fake.sent[0].text == MESSAGE.text
            await until_ended(fake)
            parsed = await caller.perform(here.look_up(sent.message_id or "", MESSAGE.to))
            assert isinstance(parsed.data, DeliveryReport)
            assert parsed.data.status is Status.DELIVERED
            assert await caller.perform(here.balance()) == Balance(amount="99", unit="credits")
            some = "447777799903,447777777772"
            long = await make(
                "send_many", DestinationAddress=some, Body="x" * 200, GetAllMessageIDs="1"
            )
            assert [len(each.message_ids) for each in long.answer] == [0, 2]
            assert long.answer[0].code == "-412"
            contacts = "Ann,447777777771,a@example.com,Staff\n,1"
            results = await make("import_contacts_csv", ContactsCSV=contacts)
            assert [each.result for each in results] == ["Success", "Failed"]
            assert results[1].reasons == ["no name"]
            [send] = await make("send_group", GroupName="Staff", GetBGSendID="1", **BODY)
            [listed] = await make("background_send", BGSendID=send)
            assert listed.to == "+447777777771"
            assert await make("send_list", ListName="everybody", **BODY) == []
            times = {"From": "20200101000000", "To": "20991231235959"}
            assert "Hello & goodbye" in await make("report", ReportType="Messages", **times)
            user = dict.fromkeys(here.operations()["create_user"].required, "5")
            assert await make("create_user", **{**user, "AccessLevel": "Normal"}) == "1"
            assert await make("update_credits", ChildUsername="5", Quantity="-5") == "1"
            for group in ("empty_group", "delete_group"):
                assert await make(group, GroupName="Staff") == "1"
            assert await make("delete_all_groups") == await make("delete_all_contacts") == "1"
            with pytest.raises(ProviderError, match="-520"):
                await make("empty_group", GroupName="Staff")


# Totality

REQUESTS: list[Request[Any]] = [
    api().send(MESSAGE),
    api().look_up("91532", "+447777777777"),
    api().balance(),
    call("send_many", **THREE, GetAllMessageIDs="1"),
    *(
        operation.make(dict.fromkeys(operation.required, "447777777777"))
        for operation in api().operations().values()
    ),
]
pieces = st.sampled_from(
    ["1", "91532", ",", "-412", "-401", "-999", "\n", " : ", "Success", "Sent", "\ufeff", "<", '"']
)
plain = st.lists(pieces | st.text(max_size=3), max_size=12).map(
    lambda said: answer(200, "".join(said).encode())
)


@given(anything(["MessageID", "Destination", "Status", "error", "message"]) | plain)
def test_any_answer_is_read_or_refused(response: Response) -> None:
    """Whatever comes, it is a result that can be stored or a `ProviderError`."""
    for request in REQUESTS:
        came = outcome(request, response)
        if not isinstance(came, ProviderError):
            assert msgspec.json.encode(came)
            continue
        assert came.words.encode()
        assert (came.code or "").encode()
        assert not (came.retryable and came.unknown)
