"""Sending through Tilil: its requests, and every answer that there may be."""

from __future__ import annotations

import json
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.config.convert import Secret
from receiver.errors import ProviderError
from receiver.events import DeliveryReport, Status
from receiver.jobs.calling import Caller
from receiver.outgoing import OutgoingMessage, Sent
from receiver.providers import Parsed
from receiver.providers.contract import Request, Response
from receiver.providers.tilil import Tilil
from receiver.providers.tilil.reports import STATUSES
from receiver.providers.tilil.sending import REFUSALS, TililApi
from receiver.providers.tilil.settings import TililSend, TililSource
from tests.fake.trying import trying, until_ended
from tests.harness import NOW
from tests.providers import pushes
from tests.providers.answers import answer, anything, outcome, refused

BASE = "https://api.tililsms.com/sms/v3"
REPORTS = "https://api.tililsms.com/sms/v3/report"
MESSAGE = OutgoingMessage(to="+254726770792", text="Karibu")
ID = "sms.5ed0e9e9619937.17151728"
#: As documented.
SENT = {
    "status_code": "1000",
    "status_desc": "Success",
    "message_id": 288369252,
    "mobile_number": "254726770792",
    "network_id": "1",
    "message_cost": 0.80,
    "credit_balance": "5046.20",
}
REPORT = f"{ID};Success;1;DeliveredToTerminal;2020-05-13 08:47:03;00:00:06"


def api(**send: Any) -> TililApi:
    """The API of a source with these settings for sending."""
    settings = TililSend(**{"api_key": Secret("key/1"), "sender": "22915", **send})
    return TililApi(Tilil(TililSource(provider="tilil")), settings)


def look_up(to: str | None = None, **send: Any) -> Request[Parsed]:
    """The request for a report."""
    request = api(**{"report_url": REPORTS, **send}).look_up(ID, to)
    assert request is not None
    return request


def report(text: str = REPORT, to: str | None = None) -> DeliveryReport:
    """The delivery report in an answer."""
    data = look_up(to).read(answer(200, text.encode())).data
    assert isinstance(data, DeliveryReport)
    return data


# Requests


def test_a_message_is_sent_as_documented() -> None:
    """To digits, with the key in the body; service 0 and an empty link_id where there is none."""
    request = api().send(MESSAGE)
    assert (request.method, request.url) == ("POST", f"{BASE}/sendsms")
    assert request.headers == {"content-type": "application/json"}
    assert json.loads(request.body) == {
        "api_key": "key/1",
        "sender_name": "22915",
        "mobile": "254726770792",
        "message": "Karibu",
        "service_id": "0",
        "link_id": "",
    }
    assert not request.bulk


def test_a_message_says_more() -> None:
    """Its sender and service go before those of the source; its link_id is handed back."""
    message = OutgoingMessage(
        to="0726770792", text="x", sender="70700", service_id="32", link_id="763"
    )
    request = api(url="http://127.0.0.1:9/v3/", service_id="7").send(message)
    assert request.url == "http://127.0.0.1:9/v3/sendsms"
    sent = json.loads(request.body)
    assert (sent["sender_name"], sent["service_id"], sent["link_id"]) == ("70700", "32", "763")
    assert sent["mobile"] == "254726770792"
    assert json.loads(api(service_id="7").send(MESSAGE).body)["service_id"] == "7"


@pytest.mark.parametrize(
    ("message", "send", "words"),
    [
        (OutgoingMessage(to="1", text=" "), {}, "the text is empty"),
        (OutgoingMessage(to="1", text="x" * 921), {}, "921 characters.* takes 920"),
        (MESSAGE, {"sender": None}, r"needs a sender: set send\.sender"),
    ],
)
def test_what_would_be_refused_does_not_leave(
    message: OutgoingMessage, send: dict[str, Any], words: str
) -> None:
    """An empty or long text, and a message that comes from nobody."""
    with pytest.raises(ProviderError, match=words) as caught:
        api(**send).check(message)
    assert (caught.value.retryable, caught.value.unknown) == (False, False)


def test_what_is_taken_may_leave() -> None:
    """A text of 920 characters, and a sender that the message has itself."""
    message = OutgoingMessage(to="1", text="x" * 920, sender="70700")
    api(sender=None).check(message)


def test_reports_are_pushed() -> None:
    """So the status is asked for on demand only; the credit cannot be asked for."""
    assert Tilil.api is TililApi
    assert not api().polls
    assert api().balance() is None
    assert api().look_up(ID, None) is None


@pytest.mark.parametrize("url", [REPORTS, f"{REPORTS}?v=3"])
def test_a_report_is_asked_for_where_the_settings_say(url: str) -> None:
    """By GET, with the key and the id in the query string beside what is there."""
    request = look_up(report_url=url)
    parts = urlsplit(request.url)
    assert (request.method, request.body) == ("GET", b"")
    assert request.url.startswith(url)
    fixed = [("v", "3")] if "?" in url else []
    assert parse_qsl(parts.query) == [*fixed, ("api_key", "key/1"), ("message_id", ID)]


# Answers


def test_a_message_is_taken() -> None:
    """With its id, what it costs and what is left."""
    assert api().send(MESSAGE).read(answer(200, SENT)) == Sent(
        message_id="288369252", to="+254726770792", cost="0.8", balance="5046.20"
    )


@pytest.mark.parametrize("code", ["1", "1000", 1, 1000, " 1000 "])
@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\r\n "])
def test_a_yes_has_many_shapes(code: object, many: bool, before: bytes) -> None:
    """One object or a list that holds it, both codes, texts or numbers, a byte order mark."""
    said = {"status_code": code, "message_id": ID}
    body = before + json.dumps([said] if many else said).encode()
    assert api().send(MESSAGE).read(answer(200, body)) == Sent(message_id=ID)


@pytest.mark.parametrize("unknown", ["", "-1", -1, "-1.00", -1.0, None, [], True])
def test_amounts_may_be_unknown(unknown: object) -> None:
    """Then nothing is said of cost and balance; 0 is an amount."""
    said = {"status_code": "1", "message_id": "7", "message_cost": unknown}
    sent = api().send(MESSAGE).read(answer(200, {**said, "credit_balance": unknown}))
    assert (sent.cost, sent.balance) == (None, None)
    sent = api().send(MESSAGE).read(answer(200, {**said, "credit_balance": 0}))
    assert sent.balance == "0"


@pytest.mark.parametrize("id_", ["0", 0, "", None, {}])
def test_a_message_may_be_taken_without_an_id(id_: object) -> None:
    """The code says yes, so it is not sent again."""
    said = {"status_code": "1", "message_id": id_}
    assert api().send(MESSAGE).read(answer(200, said)).message_id is None


@pytest.mark.parametrize(
    ("code", "retryable"),
    [
        *(("1001", False), ("1002", False), ("1003", False), ("1004", True)),
        *(("1005", True), ("1006", True), ("1007", True), ("1008", True), ("1009", False)),
        *(("1010", False), ("1011", False), ("1013", True), ("1099", False)),
    ],
)
@pytest.mark.parametrize("many", [False, True])
def test_refusals_come_with_200(code: str, retryable: bool, many: bool) -> None:
    """A code says whether it may work later; an unknown one is no yes. Nothing was sent."""
    for written in (code, int(code)):
        said = {"status_code": written, "status_desc": "Not  now", "message_id": "0"}
        error = refused(api().send(MESSAGE), answer(200, [said] if many else said))
        assert (error.code, error.words) == (code, "Not now")
        assert (error.retryable, error.unknown) == (retryable, False)
    assert (code in REFUSALS) is (code != "1099")


@pytest.mark.parametrize("code", ["0", 0])
def test_an_unknown_error_is_unknown(code: object) -> None:
    """The provider itself does not know what happened: the message is not sent again."""
    said = {"status_code": code, "status_desc": "Unknown error", "message_id": "0"}
    error = refused(api().send(MESSAGE), answer(200, said))
    assert (error.code, error.unknown, error.retryable) == ("0", True, False)


def test_a_refusal_has_words() -> None:
    """The provider's, or what its documentation says."""
    error = refused(api().send(MESSAGE), answer(200, {"status_code": "1004"}))
    assert str(error) == "credit too low (1004)"


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"OK", b"null", b"[]", b"{}", b'"1000"', b"1000", b"[[]]", b'{"status_code":'),
        *(b'{"status_code": ""}', b'{"status_code": "OK"}', b'{"status_code": true}'),
        b'[{"status_code": "1"}, {"status_code": "1"}]',
        b"<h1>1000</h1>",
    ],
)
def test_an_answer_without_a_code_is_unknown(body: bytes) -> None:
    """The message may have been sent, so it is not sent again."""
    error = refused(api().send(MESSAGE), answer(200, body))
    assert (error.unknown, error.retryable) == (True, False)


@pytest.mark.parametrize(
    ("status", "retryable", "unknown"),
    [(400, False, False), (401, True, False), (429, True, False), (500, False, True)],
)
def test_http_may_refuse_too(status: int, retryable: bool, unknown: bool) -> None:
    """Though it is not documented; a yes with such a status is none."""
    for request in (api().send(MESSAGE), look_up()):
        error = refused(request, answer(status, SENT, retry_after="7"))
        assert (error.retryable, error.unknown) == (retryable, unknown)
        assert (error.code, error.retry_after) == (str(status), 7)


# What became of it


@pytest.mark.parametrize("code", [*STATUSES, "99"])
def test_a_look_up_and_a_push_are_the_same_event(code: str) -> None:
    """Whichever comes first, the other is a repeat of it."""
    name = STATUSES.get(code, ("NeverHeardOf",))[0]
    push = {"messageId": ID, "dlrStatus": code, "dlrDesc": name, "dlrTime": "2020-05-13 08:47:03"}
    pushed = pushes.parse(pushes.provider("tilil"), pushes.push(body=json.dumps(push).encode()))
    text = f"{ID};Success;{code};{name};2020-05-13 08:47:03;00:00:06\n"
    assert look_up().read(answer(200, text.encode())) == pushed


def test_a_report_is_read() -> None:
    """With the local time of it, and the person that was asked about."""
    parsed = look_up("+254726770792").read(answer(200, REPORT.encode()))
    assert parsed.time == datetime(2020, 5, 13, 5, 47, 3, tzinfo=UTC)
    assert parsed.data == DeliveryReport(
        message_id=ID,
        to="+254726770792",
        status=Status.DELIVERED,
        raw_status="DeliveredToTerminal",
        raw_code="1",
        final=True,
    )


@pytest.mark.parametrize(
    ("text", "code", "status"),
    [
        (f"\ufeff {ID} ; success ; 5 ; DeliveredToNetwork ", "5", Status.SENT),
        (f"{ID};SUCCESS;18", "18", Status.DELIVERED),
        (f"{ID};Success;;userinblacklist;yesterday", "10", Status.REJECTED),
        (f"{ID};Success;77;Odd;;;;", "77", Status.UNKNOWN),
    ],
)
def test_reports_are_read_leniently(text: str, code: str, status: Status) -> None:
    """With spaces, without a time, with the code or the name alone, with unknown ones."""
    data = report(text)
    assert (data.raw_code, data.status) == (code, status)
    assert look_up().read(answer(200, text.encode())).time == pushes.ARRIVAL


@pytest.mark.parametrize(
    ("code", "invalid", "opted_out"),
    [("8", True, False), ("10", False, True), ("1", False, False)],
)
def test_a_report_may_say_more_than_the_status(code: str, invalid: bool, opted_out: bool) -> None:
    """That the link_id is used up, that the person wants nothing more: by push and look-up."""
    name = STATUSES[code][0]
    for fields in ({"dlrStatus": code}, {"dlrDesc": name}):
        body = json.dumps({"messageId": ID, **fields}).encode()
        parsed = pushes.parse(pushes.provider("tilil"), pushes.push(body=body))
        assert parsed.link_invalid is invalid
    asked = look_up().read(answer(200, f"{ID};Success;{code};{name};;".encode()))
    assert asked.link_invalid is invalid
    assert report(f"{ID};Success;{code};{name}").opted_out is opted_out


@pytest.mark.parametrize("text", ["1009;No dlr", "\ufeff1009;No dlr\r\n", "1009", "1009;;"])
def test_there_may_be_no_report_yet(text: str) -> None:
    """It is worth asking again."""
    error = refused(look_up(), answer(200, text.encode()))
    assert str(error) == "no report yet (1009)"
    assert (error.retryable, error.unknown) == (True, False)


def test_a_look_up_may_be_refused() -> None:
    """By the same codes as everything else."""
    error = refused(look_up(), answer(200, b"1006;Invalid credentials"))
    assert (str(error), error.retryable) == ("Invalid credentials (1006)", True)


@pytest.mark.parametrize(
    "text",
    [
        *("", "OK", ";", ";;;;", f"{ID};Success", f"{ID};Success;;;2020-05-13 08:47:03"),
        *("other;Success;1;DeliveredToTerminal;;", f"{ID};Failed;1;x;;", "<h1>Not here</h1>"),
        "288369252;1",
    ],
)
def test_an_answer_about_something_else_is_no_report(text: str) -> None:
    """It must name the message, and say what became of it."""
    assert refused(look_up(), answer(200, text.encode())).unknown


# Operations


def test_every_documented_call_can_be_made() -> None:
    """By its own name and with its own parameters."""
    known = api().operations()
    assert {name: (each.required, each.optional) for name, each in known.items()} == {
        "sendsms": (("mobile", "message"), ("sender_name", "service_id", "link_id")),
        "subscribermanage": (("service_id", "mobile", "option"), ()),
        "delivery_report": (("message_id",), ()),
    }
    assert all(each.summary.endswith(".") for each in known.values())


def test_a_message_is_sent_by_hand() -> None:
    """As any other, and the provider's own answer comes of it."""
    call = api(service_id="7").operations()["sendsms"].make
    request = call({"mobile": "0726 770 792", "message": "Karibu"})
    assert request.url == f"{BASE}/sendsms"
    assert json.loads(request.body) == {
        **json.loads(api().send(MESSAGE).body),
        "service_id": "7",
    }
    said = {**SENT, "message_cost": "0.80"}
    assert request.read(answer(200, [said])) == [said]
    assert refused(request, answer(200, {"status_code": 1003})).code == "1003"
    given = {"sender_name": "70700", "service_id": "32", "link_id": "763"}
    sent = json.loads(call({"mobile": "1", "message": "x", **given}).body)
    assert {name: sent[name] for name in given} == given
    with pytest.raises(ProviderError, match="921 characters"):
        call({"mobile": "1", "message": "x" * 921})


def test_a_subscription_is_managed() -> None:
    """Activated or deactivated, nothing else."""
    call = api().operations()["subscribermanage"].make
    given = {"service_id": "44", "mobile": "+254708400000", "option": "Activation"}
    request = call(given)
    assert (request.method, request.url) == ("POST", f"{BASE}/subscribermanage")
    assert json.loads(request.body) == {
        "api_key": "key/1",
        "service_id": "44",
        "mobile": "254708400000",
        "option": "activation",
    }
    said = {"status_code": "1", "status_desc": "Success", "mobile": "254708400000"}
    assert request.read(answer(200, said)) == said
    assert refused(request, answer(200, {"status_code": "1011"})).words == "invalid user state"
    with pytest.raises(ProviderError, match="option: expected activation or deactivation"):
        call({**given, "option": "pause"})


def test_a_subscription_is_ended() -> None:
    """By the same call; a yes says nothing more, a no is told apart from a fault of theirs."""
    request = api().deactivate("+254708400000", "44")
    given = {"service_id": "44", "mobile": "+254708400000", "option": "deactivation"}
    by_hand = api().operations()["subscribermanage"].make(given)
    assert (request.method, request.url) == (by_hand.method, by_hand.url)
    assert (request.headers, request.body) == (by_hand.headers, by_hand.body)
    request.read(answer(200, {"status_code": "1", "status_desc": "Success"}))
    assert not refused(request, answer(200, {"status_code": "1003"})).retryable
    assert refused(request, answer(200, {"status_code": "1005"})).retryable
    assert refused(request, answer(200, b"<html>")).unknown


def test_a_report_is_asked_for_by_hand() -> None:
    """If the settings say where."""
    request = api(report_url=REPORTS).operations()["delivery_report"].make({"message_id": ID})
    assert (request.url, request.method) == (look_up().url, "GET")
    assert request.read(answer(200, REPORT.encode())) == look_up().read(
        answer(200, REPORT.encode())
    )
    with pytest.raises(ProviderError, match=r"set send\.report_url"):
        api().operations()["delivery_report"].make({"message_id": ID})


@pytest.mark.anyio
async def test_the_fake_provider_understands() -> None:
    """The fake was written after the same documentation: a message, a report, a subscription."""
    async with trying(balance=10) as (fake, _):
        here = api(url=f"{fake.url}/tilil", report_url=f"{fake.url}/tilil/report")
        async with aclosing(Caller(lambda: NOW, here.send_settings)) as caller:
            sent = [await caller.perform(here.send(MESSAGE)) for _ in range(2)]
            await until_ended(fake)
            assert [each.message_id for each in sent] == [message.id for message in fake.sent]
            assert [float(each.balance or 0) for each in sent] == [9, 8]
            request = here.look_up(sent[0].message_id or "", MESSAGE.to)
            assert request is not None
            parsed = await caller.perform(request)
            assert isinstance(parsed.data, DeliveryReport)
            assert parsed.data.status is Status.DELIVERED
            given = {"service_id": "44", "mobile": "0708400000", "option": "deactivation"}
            managed = await caller.perform(here.operations()["subscribermanage"].make(given))
            assert managed["status_code"] == "1"


# Totality

REQUESTS: list[Request[Any]] = [
    api().send(MESSAGE),
    api().deactivate("+254726770792", "44"),
    look_up("+254726770792"),
    *(
        operation.make(
            {**dict.fromkeys(operation.required, "254726770792"), "option": "activation"}
        )
        for operation in api(report_url=REPORTS).operations().values()
    ),
]
FIELDS = ["status_code", "status_desc", "message_id", "mobile_number", "message_cost"]
pulled = st.lists(
    st.sampled_from([ID, "Success", "success", "1", "8", "1009", "No dlr", "2020-05-13 08:47:03"])
    | st.text(),
    max_size=7,
).map(lambda fields: answer(200, ";".join(fields).encode()))
refusals = st.builds(
    lambda code, words: answer(200, {"status_code": code, "status_desc": words}),
    st.sampled_from([*REFUSALS, "1", "1000"]) | st.integers() | st.text(),
    st.text(st.characters(exclude_categories=())),
)


@given(anything(FIELDS) | pulled | refusals)
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
