"""The event schema, held against CloudEvents and against interface.md."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import permutations
from typing import Any

import pytest
from cloudevents.core.formats.json import JSONFormat
from hypothesis import given
from hypothesis import strategies as st

from receiver.events import (
    Data,
    DeliveryReport,
    Event,
    EventType,
    Message,
    Status,
    SubscriptionChange,
    advance,
    decode_data,
    encode_data,
    encode_event,
    event_schema,
)
from tests.schema import validator

NOW = datetime(2026, 11, 20, 9, 0, 0, 123456, tzinfo=UTC)

# interface.md, "The event", word for word.
DOCUMENTED = """
{"specversion":"1.0","id":"0197…","source":"/sources/tilil","type":"sms.message.received",
 "time":"2018-02-17T03:50:28Z","subject":"+254726770792","datacontenttype":"application/json",
 "provider":"tilil","receivedat":"2026-11-20T09:00:00.123456Z",
 "data":{"external_id":"4448236","from":"+254726770792","to":"70700","text":"Test inbox",
         "keyword":"TEST","network":"safaricom","service_id":"32",
         "link_id":"763723672367236526261","fields":{}}}
"""

MESSAGE = Message(
    external_id="4448236",
    from_="+254726770792",
    to="70700",
    text="Test inbox",
    keyword="TEST",
    network="safaricom",
    service_id="32",
    link_id="763723672367236526261",
)
EXAMPLES: dict[str, Data] = {
    EventType.MESSAGE_RECEIVED: MESSAGE,
    EventType.DELIVERY_UPDATED: DeliveryReport(
        message_id="sms.5ed0e9e9619937.17151728",
        to="+254726770792",
        status=Status.REJECTED,
        raw_status="SenderName Blacklisted",
        raw_code="25",
        final=True,
        opted_out=True,
    ),
    EventType.SUBSCRIPTION_ACTIVATED: SubscriptionChange(msisdn="+254708400000", keyword="GAME"),
    EventType.SUBSCRIPTION_DEACTIVATED: SubscriptionChange(msisdn="+254708400000"),
}
BARE: dict[str, Data] = {
    EventType.MESSAGE_RECEIVED: Message(external_id="1", from_="+254726770792"),
    EventType.DELIVERY_UPDATED: DeliveryReport(message_id="1"),
    EventType.SUBSCRIPTION_ACTIVATED: SubscriptionChange(msisdn="+254708400000"),
}


def event(
    type_: str = EventType.MESSAGE_RECEIVED,
    data: Data = MESSAGE,
    subject: str | None = "+254726770792",
) -> Event[Data]:
    """An event of the source `tilil`."""
    return Event(
        id="01974c1e-2b3c-7000-8000-000000000001",
        source="/sources/tilil",
        type=type_,
        time=datetime(2018, 2, 17, 3, 50, 28, tzinfo=UTC),
        subject=subject,
        provider="tilil",
        receivedat=NOW,
        data=data,
    )


def test_event_is_the_documented_json() -> None:
    """The example in interface.md is what comes out, in the same order, but for the id."""
    expected = json.loads(DOCUMENTED)
    expected["id"] = "01974c1e-2b3c-7000-8000-000000000001"
    assert json.loads(encode_event(event())) == expected
    assert list(json.loads(encode_event(event()))) == list(expected)
    assert list(json.loads(encode_event(event()))["data"]) == list(expected["data"])


DOCUMENTED_FIELDS = {
    EventType.MESSAGE_RECEIVED: (
        "external_id, from, to, text, keyword, network, service_id, link_id, fields"
    ),
    EventType.DELIVERY_UPDATED: (
        "message_id, to, sender, status, raw_status, raw_code, reason, network, final, opted_out"
    ),
    EventType.SUBSCRIPTION_ACTIVATED: (
        "msisdn, short_code, keyword, service_id, subscriber_ref, network"
    ),
}


@pytest.mark.parametrize("type_", BARE)
def test_data_has_the_documented_fields_even_when_absent(type_: str) -> None:
    """Every documented field is there; what is absent is null."""
    data = json.loads(encode_data(BARE[type_]))
    assert ", ".join(data) == DOCUMENTED_FIELDS[EventType(type_)]
    empty = {"text": "", "fields": {}, "status": "unknown", "final": False, "opted_out": False}
    required = {"external_id", "from", "message_id", "msisdn"}
    assert all(data[name] == empty.get(name) for name in data.keys() - required)


@pytest.mark.parametrize("type_", EXAMPLES)
def test_cloudevents_sdk_accepts_events(type_: str) -> None:
    """The CNCF's own reader takes every kind of event for a CloudEvent 1.0."""
    read = JSONFormat().read(None, encode_event(event(type_, EXAMPLES[type_])))
    assert read.get_specversion() == "1.0"
    assert read.get_type() == type_
    assert read.get_source() == "/sources/tilil"
    assert read.get_subject() == "+254726770792"
    assert read.get_time() == datetime(2018, 2, 17, 3, 50, 28, tzinfo=UTC)
    assert read.get_extension("provider") == "tilil"
    assert read.get_extension("receivedat") == "2026-11-20T09:00:00.123456Z"
    assert read.get_data() == json.loads(encode_data(EXAMPLES[type_]))


def test_cloudevents_sdk_accepts_events_about_nobody() -> None:
    """An event whose person is not known is a CloudEvent, too."""
    data = BARE[EventType.DELIVERY_UPDATED]
    read = JSONFormat().read(None, encode_event(event(EventType.DELIVERY_UPDATED, data, None)))
    assert read.get_subject() is None


@pytest.mark.commit
@pytest.mark.parametrize("data", [*EXAMPLES.items(), *BARE.items()], ids=lambda case: case[0].value)
@pytest.mark.parametrize("subject", ["+254726770792", None])
def test_events_are_valid_against_the_schema(data: tuple[str, Data], subject: str | None) -> None:
    """`receiver schema` describes what comes out."""
    validator(event_schema()).validate(json.loads(encode_event(event(*data, subject))))


WRONG = {
    "no id": lambda event: event.pop("id"),
    "another version": lambda event: event.update(specversion="0.3"),
    "another type": lambda event: event.update(type="sms.message.lost"),
    "a type that is not that of the data": lambda event: event.update(type="sms.delivery.updated"),
    "an integer as an id": lambda event: event["data"].update(external_id=4448236),
    "no sender": lambda event: event["data"].pop("from"),
    "a text for fields": lambda event: event["data"].update(fields="MM1"),
}


@pytest.mark.commit
@pytest.mark.parametrize("spoil", WRONG.values(), ids=WRONG)
def test_the_schema_refuses_other_things(spoil: Any) -> None:
    """The schema is not so wide that everything is an event."""
    spoilt = json.loads(encode_event(event()))
    spoil(spoilt)
    assert not validator(event_schema()).is_valid(spoilt)


@pytest.mark.commit
def test_the_schema_is_one() -> None:
    """`receiver schema` is itself valid JSON Schema 2020-12, and JSON."""
    validator(event_schema()).check_schema(event_schema())
    json.dumps(event_schema())


texts = st.text() | st.text("\x00\n\r\x1b\u202e\u2028<>&\"'\\😀")
words = st.none() | texts
data_of = {
    Message: st.builds(
        Message,
        external_id=texts,
        from_=texts,
        to=words,
        text=texts,
        keyword=words,
        network=words,
        service_id=words,
        link_id=words,
        fields=st.dictionaries(texts, texts, max_size=3),
    ),
    DeliveryReport: st.builds(
        DeliveryReport,
        message_id=texts,
        to=words,
        sender=words,
        status=st.sampled_from(Status),
        raw_status=words,
        raw_code=words,
        reason=words,
        network=words,
        final=st.booleans(),
        opted_out=st.booleans(),
    ),
    SubscriptionChange: st.builds(
        SubscriptionChange,
        msisdn=texts,
        short_code=words,
        keyword=words,
        service_id=words,
        subscriber_ref=words,
        network=words,
    ),
}
any_event: st.SearchStrategy[tuple[EventType, Data]] = st.sampled_from(EventType).flatmap(
    lambda type_: st.tuples(st.just(type_), data_of[type(EXAMPLES[type_])])
)


@given(any_event)
def test_data_comes_back_from_the_store(case: tuple[EventType, Data]) -> None:
    """Whatever texts data holds, decoding what was encoded gives the same."""
    type_, data = case
    assert decode_data(type_, encode_data(data)) == data


@given(any_event)
def test_encoded_events_are_plain_json(case: tuple[EventType, Data]) -> None:
    """Any JSON reader finds the texts as they were, and the schema holds."""
    type_, data = case
    read = json.loads(encode_event(event(type_, data)))
    assert read["data"] == json.loads(encode_data(data))
    if isinstance(data, Message):
        assert read["data"]["text"] == data.text


# interface.md: forward is from unknown through queued and sent to the failures, among which
# the first stays, and from everywhere to delivered.
FAILURES = {Status.UNDELIVERED, Status.FAILED, Status.REJECTED, Status.EXPIRED, Status.CANCELLED}
ORDER = [{Status.UNKNOWN}, {Status.QUEUED}, {Status.SENT}, FAILURES, {Status.DELIVERED}]


def place(status: Status) -> int:
    """Where a status stands in the documented order."""
    return next(n for n, group in enumerate(ORDER) if status in group)


def test_every_status_has_its_place() -> None:
    """The documented order names every status once, and nothing else."""
    assert sorted(status for group in ORDER for status in group) == sorted(Status)


@given(st.lists(st.sampled_from(Status), min_size=1))
def test_status_only_moves_forward(reports: list[Status]) -> None:
    """However reports come, the status is the first of the furthest group reported."""
    status = Status.UNKNOWN
    for report in reports:
        after = advance(status, report)
        assert place(after) >= place(status)
        assert after is status or place(after) > place(status)
        status = after
    furthest = max(map(place, reports))
    assert status is next(report for report in reports if place(report) == furthest)


@pytest.mark.parametrize(
    "reports", [*permutations([Status.QUEUED, Status.SENT, Status.FAILED, Status.DELIVERED])]
)
def test_delivered_wins_in_any_order(reports: tuple[Status, ...]) -> None:
    """A handset's confirmation beats a failure, before or after it."""
    status = Status.UNKNOWN
    for report in reports:
        status = advance(status, report)
    assert status is Status.DELIVERED


def test_the_first_failure_stays() -> None:
    """Of two failures the first one is the status."""
    assert advance(Status.EXPIRED, Status.REJECTED) is Status.EXPIRED
    assert advance(Status.REJECTED, Status.EXPIRED) is Status.REJECTED


def test_final_is_what_nothing_is_expected_after() -> None:
    """Delivered and the failures are final; what is under way is not."""
    assert {status for status in Status if status.final} == FAILURES | {Status.DELIVERED}
