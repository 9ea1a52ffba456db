"""Words for a status: one table for every provider."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.events import Status
from receiver.providers.statuses import _BY_WORD, _STATUSES, status_of, without_zeros


@pytest.mark.parametrize(
    ("word", "status"),
    [
        *(("ENROUTE", Status.SENT), ("ACCEPTD", Status.SENT), ("DELIVRD", Status.DELIVERED)),
        *(("UNDELIV", Status.UNDELIVERED), ("REJECTD", Status.REJECTED)),
        *(("EXPIRED", Status.EXPIRED), ("DELETED", Status.CANCELLED), ("UNKNOWN", Status.UNKNOWN)),
        *(("canceled", Status.CANCELLED), ("Cancelled", Status.CANCELLED)),
        *(("Not delivered", Status.UNDELIVERED), ("NOT_DELIVERED", Status.UNDELIVERED)),
        *(("non-delivered", Status.UNDELIVERED), ("Delivered (1)", Status.DELIVERED)),
        *(("DeliveredToNetwork", Status.SENT), ("delivered_to_network", Status.SENT)),
        *(("MessageWaiting", Status.QUEUED), ("Delivery Failed", Status.FAILED)),
        *(("sms.delivery.failed", Status.FAILED), ("message_delivered", Status.DELIVERED)),
        *(("message.status.not_delivered", Status.UNDELIVERED), ("SMSRejected", Status.REJECTED)),
        *(("messageDelivered", Status.DELIVERED), ("sms.delivered.v2", Status.DELIVERED)),
    ],
)
def test_words_of_a_status(word: str, status: Status) -> None:
    """GSM words, both spellings, any case and separators, and words within names of events."""
    assert status_of(word) == (word, status)


@pytest.mark.parametrize(
    "word",
    [
        *("parked", "delivered_to_gateway", "not yet delivered", "undelivered then delivered"),
        *("failed to be delivered", "campaign.done", "sms", "message.status", "001", "?", "DLR"),
        "delivered" * 9,
    ],
)
def test_unknown_words(word: str) -> None:
    """What says something else beside a word of the table is no word of it."""
    assert status_of(word) == (word, Status.UNKNOWN)


def test_the_first_name_that_tells_counts() -> None:
    """A word that is unknown to us gives way to the name of the event; none at all is no word."""
    assert status_of("failed", "message.delivered") == ("failed", Status.FAILED)
    assert status_of("parked", "message.delivered") == ("message.delivered", Status.DELIVERED)
    assert status_of(None, "delivered") == ("delivered", Status.DELIVERED)
    assert status_of("parked", "still.parked") == ("parked", Status.UNKNOWN)
    assert status_of(None, None) == (None, Status.UNKNOWN)


def test_no_word_has_two_meanings() -> None:
    """Each stands in the table once, in the form in which it is looked for."""
    words = [word for words in _STATUSES.values() for word in words]
    assert len(words) == len(set(words)) == len(_BY_WORD)
    assert all(word.isalpha() and word == word.casefold() for word in words)


@given(st.text(st.characters(exclude_categories=())))
def test_any_name_is_read(name: str) -> None:
    """There is no name that fails."""
    status_of(name, f"sms.{name}")


@pytest.mark.parametrize(
    ("code", "expected"),
    [("01", "1"), ("0025", "25"), ("0", "0"), ("000", "0"), ("10", "10"), ("0x1", "0x1")],
)
def test_codes_without_zeros(code: str, expected: str) -> None:
    """A numeric code is the number, however many digits it is written with."""
    assert without_zeros(code) == expected


def test_no_code_has_no_zeros() -> None:
    """An absent code stays absent."""
    assert without_zeros(None) is None
