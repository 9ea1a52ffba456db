"""Pushes of described gateways: what they tell, and how they are answered."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.config.convert import Secret
from receiver.errors import (
    CredentialMissing,
    CredentialWrong,
    Malformed,
    Unreadable,
)
from receiver.events import DeliveryReport, EventType, Message, Status, SubscriptionChange
from receiver.providers.contract import Parsed, Push
from receiver.providers.described import compile_description
from receiver.providers.described.fields import UNDECODED
from receiver.repeats import STATE
from receiver.testing.providers import check
from tests.examples import examples
from tests.providers import pushes
from tests.providers.described import gateways
from tests.providers.described.gateways import SECRET, example, source, told

KINDS = [(name, kind) for name in gateways.NAMES for kind in gateways.gateway(name).sample_kinds]
every_kind = pytest.mark.parametrize(("name", "kind"), KINDS)


def batch(body: object, path: str = "/dlr", kind: str | None = None) -> Push:
    """A push of the gateway `batches`, with its credential."""
    headers = {"authorization": f"bearer {SECRET}", **({"x-kind": kind} if kind else {})}
    return pushes.push(path=path, headers=headers, body=json.dumps(body).encode())


def form(body: str) -> Push:
    """A push of the gateway `forms`, with its token."""
    return pushes.push(path="/user%3As3cret%20pass%2F%C3%BC", body=body.encode())


# Events


@pytest.mark.parametrize("name", gateways.NAMES)
def test_a_described_gateway_keeps_the_promises_of_every_provider(name: str) -> None:
    """Those of the suite for authors."""
    assert check(gateways.gateway(name)) == []


@every_kind
def test_an_example_is_a_push_of_its_source(name: str, kind: str) -> None:
    """The push of an example is authentic with the source's token, and with no other."""
    push = example(name, kind)
    assert told(source(name), push)
    with pytest.raises(CredentialWrong):
        source(name, tokens=[Secret("another:one")]).authenticate(example(name, kind))


@every_kind
def test_fresh_values_make_new_events(name: str, kind: str) -> None:
    """Examples of two instants are other events, those of one instant the same."""
    described_ = gateways.gateway(name)
    now = pushes.ARRIVAL.astimezone(described_.default_timezone)
    keys = []
    for instant in (now, now + timedelta(microseconds=1), now + timedelta(days=200), now):
        values = described_.fresh_values(kind, instant)
        keys.append([each.key for each in told(source(name), example(name, kind, **values))])
    assert keys[0] == keys[3]
    assert len({key for each in keys for key in each}) == 3 * len(keys[0])


def test_a_fresh_time_is_written_as_the_gateway_does() -> None:
    """Of each format, and in the zone that the description names."""
    now = datetime(2027, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    for name, kind, time in (
        ("batches", "messages", now.replace(microsecond=0)),
        ("batches", "reports", now.replace(second=0, microsecond=0)),
        ("queries", "left", now.replace(microsecond=0)),
    ):
        local = now.astimezone(gateways.gateway(name).default_timezone)
        values = gateways.gateway(name).fresh_values(kind, local)
        assert told(source(name), example(name, kind, **values))[0].time == time


def test_a_field_of_an_example_is_replaced_by_its_path_or_name() -> None:
    """Wherever it stands; a number stays a number, and what is not there is added."""
    for field in ("[0].sms.text", "text"):
        [parsed] = told(source("batches"), example("batches", "messages", **{field: "x"}))
        assert isinstance(parsed.data, Message)
        assert parsed.data.text == "x"
    sample = gateways.gateway("batches").sample("report", SECRET, {"id": "5", "new": "y"})
    assert json.loads(sample.body) == {"id": "5", "status": "DELIVRD", "new": "y"}
    sample = gateways.gateway("batches").sample("messages", SECRET, {"id": "5"})
    assert json.loads(sample.body)[0]["sms"]["id"] == 5


def test_each_item_of_a_list_is_an_event() -> None:
    """One that is malformed is told beside the others; if all are, the push is."""
    good, bad = {"id": "a", "state": 1}, {"state": 1}
    provider = source("batches")
    parsed = provider.parse(batch({"results": [good, bad, 5, {**good, "id": "b"}]}))
    assert [type(each) for each in parsed] == [Parsed, Malformed, Malformed, Parsed]
    assert str(parsed[1]) == "expected id, the id that sending returned; it is absent"
    with pytest.raises(Malformed, match="expected id, "):
        provider.parse(batch({"results": [bad]}))
    assert len(provider.parse(batch({"results": good}))) == 1  # no list around the only one


@pytest.mark.parametrize("body", [{"results": []}, {"results": None}, {}, [], 5, "x", None])
def test_a_push_without_an_event_is_refused(body: object) -> None:
    """With what was expected of each kind."""
    with pytest.raises((Malformed, Unreadable)) as caught:
        source("batches").parse(batch(body))
    if isinstance(body, dict):
        assert str(caught.value) == (
            "expected message (., a list, header:x-kind in) or report[0] (results, a list,"
            " no header:x-kind, url:word dlr or status) or report[1] (no header:x-kind,"
            " no url:word); it is none of them"
        )


def test_a_word_in_the_url_is_no_token() -> None:
    """`/hooks/SOURCE/TOKEN/dlr`, `/hooks/SOURCE/dlr?token=TOKEN`, and the word in any case."""
    provider = source("batches", tokens=[Secret("t")])
    body = json.dumps({"results": [{"id": "a", "state": 1}]}).encode()
    for path in ("/t/dlr", "/t/STATUS/", "/dlr?token=t"):
        assert len(told(provider, pushes.push(path=path, body=body))) == 1
    for path in ("/dlr", "/x/dlr", "/dlr/t"):
        with pytest.raises((CredentialWrong, CredentialMissing)):
            provider.authenticate(pushes.push(path=path, body=body))


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("0", Status.DELIVERED),
        (100, Status.FAILED),
        ("0199", Status.FAILED),
        ("007", Status.FAILED),
        (200, Status.UNKNOWN),
        ("DELIVRD", Status.DELIVERED),
        (7.0, Status.FAILED),
        ("\u0661\u0665\u0660", Status.UNKNOWN),
    ],
)
def test_a_code_means_what_the_description_says(state: Any, status: Status) -> None:
    """Numbers, ranges, usual words; what nobody knows is unknown, with the code kept."""
    [parsed] = source("batches").parse(batch({"results": [{"id": "a", "state": state}]}))
    assert isinstance(parsed, Parsed)
    assert isinstance(parsed.data, DeliveryReport)
    assert parsed.data.status is status
    assert parsed.data.raw_code is not None
    assert parsed.link_invalid is (state == 7)


def test_two_lists_of_one_push_are_two_kinds() -> None:
    """Without a condition: a push may have both."""
    raw: dict[str, Any] = {
        "title": "Lists",
        "documentation": ["none"],
        "region": "KE",
        "format": "json",
        "message": {"each": "messages", "id": "id", "from": "from", "text": "text"},
        "report": {"each": "reports", "message_id": "id", "status": "status"},
    }
    body = {
        "messages": [{"id": "1", "from": "254711082302", "text": "hi"}],
        "reports": [{"id": "2", "status": "delivered"}],
    }
    events = [{"type": "message"}, {"type": "delivery", "status": "delivered"}]
    raw["example"] = [{"name": "both", "request": {"json": body}, "events": events}]
    lists = compile_description("lists", raw)
    assert [kind.key for kind in lists.kinds.all] == ["message", "report"]


def test_reports_of_one_message_with_one_code_differ_by_their_words() -> None:
    """A code such as 0, no error, may stand beside every status."""
    keys = {
        parsed.key
        for status in ("Sent", "Success", "SENT")
        for parsed in told(source("forms"), form(f"id=1&status={status}&phoneNumber=254711082302"))
    }
    assert len(keys) == 2


def test_a_reason_may_say_that_the_person_opted_out() -> None:
    """As a code or a word may; the same word with another reason does not say so."""
    forms, opted_out = source("forms"), []
    for reason in ("UserInBlacklist", "AbsentSubscriber", "userinblacklist"):
        [parsed] = told(forms, form(f"id=1&status=Failed&failureReason={reason}"))
        assert isinstance(parsed.data, DeliveryReport)
        opted_out.append(parsed.data.opted_out)
    assert opted_out == [True, False, True]


def test_a_subscription_without_id_and_time_is_known_by_its_state() -> None:
    """Its key names person and service, whatever case the keyword has; not the change."""
    keys = []
    for update, keyword in (("addition", "news"), ("Deletion", "NEWS"), ("addition", "sport")):
        [parsed] = told(
            source("forms"),
            form(f"phoneNumber=0711082302&shortCode=22384&keyword={keyword}&updateType={update}"),
        )
        assert isinstance(parsed.data, SubscriptionChange)
        keys.append(parsed.key)
    assert keys[0] == keys[1] != keys[2]
    assert keys[0].startswith(STATE)
    with pytest.raises(Malformed, match=r"expected updateType addition \(activated\) or "):
        source("forms").parse(form("phoneNumber=0711082302&updateType=other"))


def test_a_message_without_an_id_is_known_by_sender_text_and_time() -> None:
    """And is refused without a time, for then a repeat could not be told."""
    changes: list[dict[str, str]] = [
        {},
        {"content": "x"},
        {"at": "2026-11-20 10:00:01"},
        {"from": "015119999999"},
        {},
    ]
    keys = {
        told(source("queries"), example("queries", "plain", **values))[0].key for values in changes
    }
    assert len(keys) == 4
    with pytest.raises(Malformed, match="expected at, without which a repeat cannot be told"):
        source("queries").parse(example("queries", "plain", at=""))


@pytest.mark.parametrize("binary", ["0048zz", "004", "ÿÿ"])
def test_a_text_that_is_not_encoded_as_described_is_kept(binary: str) -> None:
    """As it came, with a note."""
    push = example("queries", "unicode", binary=binary)
    [parsed] = told(source("queries"), push)
    assert isinstance(parsed.data, Message)
    assert parsed.data.text == binary
    assert push.notes == [UNDECODED]


@pytest.mark.parametrize(
    ("time", "moment"),
    [
        (1795165200000, datetime(2026, 11, 20, 9, tzinfo=UTC)),
        ("1795165200000", datetime(2026, 11, 20, 9, tzinfo=UTC)),
        (1795165200000.5, datetime(2026, 11, 20, 9, 0, 0, 0, tzinfo=UTC)),
        ("nan", pushes.ARRIVAL),
        ("inf", pushes.ARRIVAL),
        (10**30, pushes.ARRIVAL),
        (f"{'0' * 60}1795165200000", pushes.ARRIVAL),
        ("x", pushes.ARRIVAL),
        (None, pushes.ARRIVAL),
    ],
)
def test_an_impossible_time_is_that_of_the_arrival(time: object, moment: datetime) -> None:
    """Of any format."""
    item = {"sms": {"id": 1, "from": "07777777777", "at": time}}
    [parsed] = source("batches").parse(batch([item], "", "in"))
    assert isinstance(parsed, Parsed)
    assert abs(parsed.time - moment) < timedelta(milliseconds=1)


def test_what_a_push_has_twice_is_read_from_its_body() -> None:
    """Before its URL; what the body does not have is read from the URL."""
    push = pushes.push(path="?from=015111111111&to=1&at=x", body=b"from=015122222222&content=y")
    [parsed] = source("queries").parse(push)
    assert isinstance(parsed, Parsed)
    assert isinstance(parsed.data, Message)
    assert (parsed.subject, parsed.data.to) == ("+4915122222222", "1")


# Answers


def test_answers_are_those_of_the_description() -> None:
    """To what is taken, and to what is not."""
    provider = source("batches")
    push = example("batches", "reports")
    answer = provider.acknowledge(push, told(provider, push)[0], "not for a report")
    assert (answer.body, answer.content_type) == (b"<Response/>", b"text/xml")
    assert provider.refuse(Malformed()).body == b"<Refused/>"
    assert source("forms").refuse(Malformed()).body == b"Bad Request\n"


@examples(60)
@given(text=st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1))
def test_a_reply_is_found_again_in_the_answer(text: str) -> None:
    """In XML and in JSON, whatever is in it."""
    provider = source("batches")
    push = example("batches", "messages")
    [parsed] = told(provider, push)
    assert provider.takes_reply(parsed)
    assert provider.reply_in(provider.acknowledge(push, parsed, text).body) == text
    assert provider.reply_in(provider.acknowledge(push, parsed, "").body) == ""
    assert provider.reply_in(b"{}") == ""


def test_what_xml_cannot_say_does_not_break_it() -> None:
    """Control characters become U+FFFD: a gateway refuses XML with them in it."""
    push = example("batches", "messages")
    [parsed] = told(source("batches"), push)
    answer = source("batches").acknowledge(push, parsed, "a\0b\r\n").body.decode()
    assert answer == "<Response><Message>a\ufffdb&#13;\n</Message></Response>"


def test_types_of_events_are_those_of_the_examples() -> None:
    """Joining and leaving are two types."""
    [left] = told(source("queries"), example("queries", "left"))
    assert left.type is EventType.SUBSCRIPTION_DEACTIVATED
    [joined] = told(source("queries"), example("queries", "left", state="x"))
    assert joined.type is EventType.SUBSCRIPTION_ACTIVATED
