"""The promises of a provider about what it is and what it does with pushes.

Each function is one promise: it raises `Broken` if the provider does not keep it.
"""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import Any
from urllib.parse import quote_plus

from receiver.errors import CredentialMissing, PushError
from receiver.events import EventType, decode_data, encode_data
from receiver.providers import Answer, Provider, Push
from receiver.testing import junk
from receiver.testing.subject import (
    ARRIVAL,
    SECRET,
    Promise,
    Subject,
    events,
    expect,
    expect_equal,
    refusal,
)
from receiver.text.msisdn import is_region

_UNREADABLE = (b"", b"\xff\xfe\x00", b'{"', b"[]", b"null", b"%")


# What it is


def says_what_it_is(subject: Subject) -> None:
    """Title, methods, region and kinds are there and usable."""
    provider = subject.provider
    expect(provider.title, "a title")
    expect(provider.methods <= {"GET", "POST"}, f"methods GET or POST, got {set(provider.methods)}")
    expect(is_region(provider.default_region), f"a region, got {provider.default_region!r}")
    expect(len(set(provider.sample_kinds)) == len(provider.sample_kinds), "no kind twice")
    for name in ("methods", "sample_kinds", "push_urls"):
        there = bool(getattr(provider, name))
        expect_equal(there, provider.pushes, f"bool({name}), as pushes is {provider.pushes},")


def says_what_its_portal_needs(subject: Subject) -> None:
    """Every URL to hand out has a label of its own."""
    labels = [url.label for url in subject.provider.push_urls]
    expect(all(labels) and len(set(labels)) == len(labels), f"labels of push_urls, got {labels}")


def pushes_nothing(subject: Subject) -> None:
    """A provider that does not push refuses whatever comes."""
    if subject.provider.pushes:
        return
    made, push = subject.made(), Push(method="POST", body=b"{}", token="guess", received_at=ARRIVAL)  # noqa: S106 - a wrong one
    missing = isinstance(refusal(made.authenticate, push), CredentialMissing)
    expect(missing, "CredentialMissing for any push")
    expect(refusal(made.parse, push), "Malformed for any push")


# Samples


def samples_are_taken(subject: Subject) -> None:
    """A sample is authentic, and becomes events with a key, a time in UTC, a person or an id."""
    for kind in subject.kinds:
        sample = subject.sample(kind)
        expect(sample.method in subject.provider.methods, f"{kind} by one of methods")
        for parsed in subject.taken(sample.push(ARRIVAL), f"the sample {kind}"):
            expect(parsed.key, f"a key of {kind}")
            expect(parsed.time.tzinfo is UTC, f"the time of {kind} in UTC")
            report = parsed.type is EventType.DELIVERY_UPDATED
            person = (parsed.subject or "").startswith("+")
            expect(report or person, f"a person in E.164 in {kind}, got {parsed.subject!r}")
            if parsed.type is EventType.MESSAGE_RECEIVED:
                expect(subject.provider.receives_messages, f"receives_messages, as {kind} is one")


def samples_are_repeatable(subject: Subject) -> None:
    """The same sample twice is the same event, and every kind is another one."""
    keys: list[tuple[str, str]] = []
    for kind in subject.kinds:
        one, two = (subject.taken(subject.push(kind), kind) for _ in range(2))
        expect_equal(two, one, f"the second {kind}")
        # Where a key names a state, who joins and who leaves have the same.
        keys += [(each.key, each.type) for each in one if each.type != EventType.MESSAGE_RECEIVED]
    expect_equal(len(set(keys)), len(keys), "the number of different keys of reports and changes")


def samples_know_their_secret(subject: Subject) -> None:
    """A sample with another secret is refused with 401."""
    for kind in subject.kinds:
        error = refusal(subject.made().authenticate, subject.push(kind, f"{SECRET}!"))
        expect_equal(
            getattr(error, "status", None), 401, f"the status of {kind} with a wrong secret"
        )


def fresh_samples_are_new_events(subject: Subject) -> None:
    """Samples of two instants are two events; those of one instant are repeats."""
    now = ARRIVAL.astimezone(subject.provider.default_timezone)
    for kind in subject.kinds:
        keys = []
        for instant in (now, now + timedelta(microseconds=1), now + timedelta(days=200), now):
            values = subject.provider.fresh_values(kind, instant)
            sample = subject.provider.sample(kind, SECRET, subject.made().with_credential(values))
            push = sample.push(ARRIVAL)
            keys.append([each.key for each in subject.taken(push, f"a fresh {kind}")])
        expect_equal(keys[3], keys[0], f"the key of a fresh {kind} of the same instant")
        expect(keys[0] != keys[1] != keys[2], f"another key of a fresh {kind} of another instant")


# Credentials


def nothing_is_no_credential(subject: Subject) -> None:
    """An empty request is a stranger's."""
    for method in subject.provider.methods:
        error = refusal(subject.made().authenticate, Push(method=method, received_at=ARRIVAL))
        known = isinstance(error, CredentialMissing) or (error is not None and error.status == 400)
        expect(known, f"CredentialMissing for an empty {method}, got {error!r}")


def without_authentication_anybody_is_taken(subject: Subject) -> None:
    """Where the configuration says "none", what a push carries is not looked at."""
    for kind in subject.kinds:
        made = subject.made(tokens=[], authentication="none")
        push = subject.provider.sample(kind, "anything", {}).push(ARRIVAL)
        error = refusal(made.authenticate, push)
        expect_equal(error, None, f'the refusal of {kind} with authentication = "none"')


def an_unreadable_body_is_answered_400(subject: Subject) -> None:
    """With a right token in the URL, a body that no event can be made of is our provider's."""
    for body in _UNREADABLE if subject.provider.pushes else ():
        push = Push(
            method="POST",
            query=f"token={quote_plus(SECRET)}".encode(),
            body=body,
            received_at=ARRIVAL,
        )
        made = subject.made()
        error = refusal(made.authenticate, push) or refusal(made.parse, push)
        expect_equal(getattr(error, "status", None), 400, f"the status of {body!r} with a token")


# Reading and answering


def pushes_are_read_once(subject: Subject) -> None:
    """Authenticating and parsing share one reading."""
    for kind in subject.kinds:
        made, push = subject.made(), subject.push(kind)
        made.authenticate(push)
        first = made.payload(push)
        made.parse(push)
        expect(made.payload(push) is first, f"one reading of {kind}: use self.payload(push)")


def data_come_back_from_the_store(subject: Subject) -> None:
    """The stored data of a sample decode to the parsed data."""
    for kind in subject.kinds:
        for parsed in events(subject.made(), subject.push(kind)):
            stored = decode_data(parsed.type, encode_data(parsed.data))
            expect_equal(stored, parsed.data, f"the stored data of {kind}")


def replies_are_found_again(subject: Subject) -> None:
    """The reply stands in the answer if the provider takes one, and `reply_in` finds it."""
    for kind in subject.kinds:
        made, push = subject.made(), subject.push(kind)
        parsed = events(made, push)[0]
        for text in ("karibu", "<&>'\" {reply} \U0001f600"):
            answer = made.acknowledge(push, parsed, text)
            wanted = text if made.takes_reply(parsed) else ""
            expect_equal(made.reply_in(answer.body), wanted, f"reply_in the answer to {kind}")
        plain = made.acknowledge(push, parsed, "")
        expect_equal(made.reply_in(plain.body), "", f"reply_in the plain answer to {kind}")


# Anything


def any_request_is_taken_or_refused(subject: Subject) -> None:
    """Whatever bytes a request holds, it becomes events or a `PushError`."""
    for kind in subject.kinds:
        for push in junk.pushes(subject.push(kind), SECRET):
            judge(subject.made(), push)


def judge(made: Provider[Any], push: Push) -> None:
    """Does with a push what the service does. Raises `Broken` for what no provider may return."""
    refused = refusal(made.authenticate, push)
    if refused is not None:
        expect(400 <= refused.status < 500, f"a status 4xx of {refused!r}")
        expect(isinstance(made.refuse(refused), Answer), "an Answer of refuse")
    try:
        found = events(made, push)
    except PushError as error:
        expect_equal(error.status, 400, f"the status of {error!r} by parse")
        return
    for parsed in found:
        expect(parsed.time.tzinfo is UTC, f"a time in UTC, got {parsed.time!r}")
        stored = decode_data(parsed.type, encode_data(parsed.data))
        expect_equal(stored, parsed.data, "the stored data")
        for text in (parsed.key, parsed.subject or ""):
            text.encode()
        answer = made.acknowledge(push, parsed, "karibu \U0001f600")
        expect(isinstance(answer, Answer), "an Answer of acknowledge")


ALL: tuple[Promise, ...] = (
    says_what_it_is,
    says_what_its_portal_needs,
    pushes_nothing,
    samples_are_taken,
    samples_are_repeatable,
    samples_know_their_secret,
    fresh_samples_are_new_events,
    nothing_is_no_credential,
    without_authentication_anybody_is_taken,
    an_unreadable_body_is_answered_400,
    pushes_are_read_once,
    data_come_back_from_the_store,
    replies_are_found_again,
    any_request_is_taken_or_refused,
)
