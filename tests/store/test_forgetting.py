"""A person who is forgotten is nowhere in the store, but still not messaged after a STOP."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from receiver.actions import Action, OptIn, OptOut, Send, Subscribe
from receiver.config import StoreAddress
from receiver.errors import Malformed
from receiver.handlers import Reply
from receiver.providers import Parsed, Push
from receiver.providers.tilil import Tilil
from receiver.providers.tilil.settings import TililSource
from receiver.service.forget import forget, obstacles
from receiver.store import (
    HandlerActions,
    PurgeKind,
    ReplyState,
    Store,
    messages,
    pack_request,
    purges,
    quarantine,
    replies,
    to_micros,
)
from receiver.store.people import StoredPeople
from receiver.store.tx import Tx
from receiver.text.msisdn import national_digits, spellings
from tests.harness import NOW, inbound, push_of
from tests.store.rows import PERSON, RAW, begin, intake, opened, opted_in
from tests.store.sql import content, look

pytestmark = pytest.mark.anyio

OTHER = "+254711000000"


def handler_actions(*actions: Action) -> tuple[HandlerActions, ...]:
    """What a handler asks for."""
    return (HandlerActions(handler="mine.it", actions=actions),)


async def fill(store: Store) -> None:
    """A little of everything about the person, and the same about another one."""
    for number, person in enumerate((PERSON, OTHER)):
        asked = (
            OptOut(person, "STOP", short_code="22915"),
            Subscribe(msisdn=person, service_id="32"),
            Send(to="0726770792" if person == PERSON else person, text="hello"),
        )
        push = intake(
            store,
            number,
            subject=person,
            sender=person,
            handler_actions=handler_actions(*asked),
            jobs=["mine.late"],
        )
        await store.take(push)
        await store.run(
            quarantine.add,
            source="tilil",
            authenticated=True,
            outcome="malformed",
            reason="no id",
            received_at=NOW,
            client="192.0.2.1",
            request=push.row.request.replace(b"a", person.removeprefix("+254").encode()),
            max_rows=10,
            max_bytes=10_000,
        )


async def test_nothing_of_the_person_is_left(address: StoreAddress) -> None:
    """No table has the number in any spelling; all of the other person is there."""
    async with opened(address) as store:
        await fill(store)
        forgotten = await forget(store, PERSON)
        assert forgotten.left == []
        assert forgotten.gone == {
            "events": 1,
            "messages": 1,
            "jobs": 1,
            "subscriptions": 1,
            "subscription changes": 1,
            "opt-out changes": 1,
            "opt-outs kept without the number": 1,
            "quarantine": 1,
        }
        assert await obstacles(store, OTHER) != []
        for table in ("messages", "jobs", "subscriptions", "opt_out_history", "quarantine"):
            assert len(look(store.address, f"SELECT * FROM {table}")) == (
                2 if table == "jobs" else 1
            )
    digits = national_digits(PERSON).encode()
    others = national_digits(OTHER).encode()
    raw = content(address)
    assert digits not in raw
    assert others in raw


async def test_who_opted_out_stays_opted_out(address: StoreAddress) -> None:
    """Replies, messages and handlers find the opt-out in its scope; START lifts it."""
    async with opened(address) as store:
        people = StoredPeople(store.address)
        await fill(store)
        await forget(store, PERSON)
        ((name,), _) = look(store.address, "SELECT msisdn FROM opt_outs ORDER BY msisdn")
        assert name.startswith("#")
        assert people.has_opted_out(PERSON, short_code="22915")
        assert not people.has_opted_out(PERSON, short_code="70700")
        assert not people.has_opted_out("+254799000000", short_code="22915")
        reader = store.reader.opt_outs
        assert await reader.blocking(PERSON, sender="22915", service_id=None)
        assert [line.msisdn for line in await reader.find(PERSON)] == [name]
        # A reply in the answer, and a message.
        taken = await store.take(intake(store, "new", reply=Reply("hello"), answer=b"hello"))
        assert taken.answer == b"plain"
        await store.take(
            intake(store, "more", handler_actions=handler_actions(Send(to=PERSON, text="hello")))
        )
        ((message,),) = look(store.address, "SELECT max(id) FROM messages")
        assert await begin(store, message, sender="22915") is not None
        # START.
        assert await opted_in(store, OptIn(PERSON, "START", short_code="22915"), NOW)
        assert not people.has_opted_out(PERSON, short_code="22915")
        assert (await store.take(intake(store, "last", reply=Reply("hello")))).answer == b"answer"
        people.close()


async def test_a_repeat_of_what_was_forgotten_is_known(address: StoreAddress) -> None:
    """The provider's next try of a forgotten message does not bring the person back."""
    async with opened(address) as store:
        await store.take(intake(store, "one"))
        await forget(store, PERSON)
        assert not (await store.take(intake(store, "one"))).new
        assert look(store.address, "SELECT * FROM events WHERE type <> ''") == []


async def test_what_is_under_way_is_named(address: StoreAddress) -> None:
    """A message that is being sent and an answer that is open stay for now; again, they go."""
    async with opened(address) as store:
        asked = handler_actions(Send(to=PERSON, text="hello"))
        taken = await store.take(intake(store, "one", handler_actions=asked, state=ReplyState.OPEN))
        await begin(store, 1)
        forgotten = await forget(store, PERSON)
        assert [line.split(";")[0] for line in forgotten.left] == [
            "1 events are being answered just now",
            "1 messages are being sent just now",
        ]
        await store.run(replies.settle, taken.seq)
        await store.run(messages.recover, to_micros(NOW), [])
        assert (await forget(store, PERSON)).left == []
        assert look(store.address, "SELECT * FROM messages") == []


async def test_a_subscriber_is_not_forgotten_unseen(address: StoreAddress) -> None:
    """Each active subscription is a reason not to, by its source, short code and service."""
    async with opened(address) as store:
        assert await obstacles(store, PERSON) == []
        asked = Subscribe(msisdn=PERSON, short_code="22915", service_id="32")
        await store.take(intake(store, "one", handler_actions=handler_actions(asked)))
        assert await obstacles(store, PERSON) == ["subscribed at tilil to 22915 service 32"]


WRITTEN = {
    "spaced": b"mobile=0726 770 792",
    "dashed": b'{"mobile": "0726-770-792"}',
    "dashes of another kind": '{"mobile": "+254 (0)726\u2013770\u00a0792"}'.encode(),
    "dashes of Windows": "mobile=0726\u2013770\u2013792".encode("cp1252"),
    "a form": b"mobile=%2B254726770792",
    "a form within a form": b"data=mobile%253D%252B254%2520726770792",
    "digits of a form": b"mobile=%37%32%36%37%37%30%37%39%32",
    "spaces of a form": b"mobile=0726+770+792",
    "JSON": rb'{"mobile": "\u002b\u0032\u0035\u0034726770792"}',
    "JSON in JSON": rb'{"body": "{\"mobile\": \"\\u0037\\u0032\\u00367 70792\"}"}',
    "XML": b"<msisdn>&#43;254&#55;&#x32;6770792</msisdn>",
    "UTF-16": '{"mobile": "0726 770 792"}'.encode("utf-16"),
    "UTF-16, the other way round": "mobile=0726\u2013770792".encode("utf-16-be"),
    "other digits": "\u0660\u0667\u0662\u0666\u0667\u0667\u0660\u0667\u0669\u0662".encode(),
    "a number with a point": b'{"mobile": 254726770792.0}',
    "an exponent": b'{"mobile": 2.54726770792e11}',
    "what nobody sees": "mobile=0726\u200b770\u200d792".encode(),
    "an id": b'{"messageId": "m-254726770792"}',
}
#: Of somebody else, or of nobody.
UNLIKE = (b"mobile=0726770793", b"mobile=0726 77 a 0792", b'{"id": 72677, "n": 9079}', b"\xff\x00")


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
async def test_a_request_of_the_quarantine_goes_however_it_is_written(
    address: StoreAddress, written: bytes
) -> None:
    """Whatever our readers would undo; what is somebody else's stays."""
    async with opened(address) as store:
        for body in (written, *UNLIKE):
            await keep(store, pack_request("POST", None, b"", [], body, "192.0.2.1"))
        for where in ((None, b"mobile=0726-770-792", []), (None, b"", [(b"from", b"0726 770792")])):
            await keep(store, pack_request("GET", *where, b"", "192.0.2.1"))
        await keep(store, RAW, reason="expected a number, got '0726 770 792 x'")
        assert (await forget(store, PERSON)).gone == {"quarantine": 4}
        assert len(look(store.address, "SELECT id FROM quarantine")) == len(UNLIKE)


async def keep(store: Store, request: bytes, *, reason: str = "no id") -> None:
    """Puts a request into the quarantine."""
    await store.run(
        quarantine.add,
        source="tilil",
        authenticated=True,
        outcome="malformed",
        reason=reason,
        received_at=NOW,
        client="192.0.2.1",
        request=request,
        max_rows=50,
        max_bytes=100_000,
    )


async def test_what_a_provider_reads_as_the_number_goes(address: StoreAddress) -> None:
    """Also where no search finds it: the digits are apart, and its reader brings them together."""

    class Apart(Tilil):
        """Reads a number in two parts."""

        def parse(self, push: Push) -> Sequence[Parsed | Malformed]:  # type: ignore[override] # wider
            first, second = push.body.split(b" and then ")
            return [
                Malformed("an item that cannot be read"),
                *super().parse(push_of(inbound(1, mobile=(first + second).decode()))),
            ]

    async with opened(address) as store:
        for body in (b"0726 and then 770792", b"0726 and then 770793", b"nothing and then more"):
            await keep(store, pack_request("POST", None, b"", [], body, "192.0.2.1"))
        providers = {"tilil": Apart(TililSource(provider="tilil"))}
        assert (await forget(store, PERSON, providers)).gone == {"quarantine": 1}


async def test_keys_that_have_the_number_in_them_lose_it(address: StoreAddress) -> None:
    """Of reports that name nobody, and of what was purged before; others' keys stay."""
    keys = ("m-254726770792", "+254726770792-1", "00254726770792", "0726770792/2")
    others = ("m-2547267707921", "726770792", "m-254711000000")
    async with opened(address) as store:
        for key in (*keys, *others):
            await store.take(intake(store, key, subject=None))
        await store.take(intake(store, "0726770792 of another", subject=OTHER))
        for key in keys[:2]:
            purged = intake(store, f"old {key}", subject=None)
            await store.take(purged)
            await store.run(purges.drop, PurgeKind.EVENTS, [purged.row.seq])
        assert (await forget(store, PERSON)).gone == {"events": 4}
        left = {key for (key,) in look(store.address, "SELECT key FROM events WHERE key >= 'm'")}
        assert left == {f"message:{key}" for key in (*others, "0726770792 of another")}
        assert look(store.address, "SELECT count(*) FROM events WHERE type = ''") == [(6,)]


async def test_purging_takes_the_number_out_of_keys(address: StoreAddress) -> None:
    """By age, too: the key outlives its event."""
    async with opened(address) as store:
        seqs = []
        for key in ("m-254726770792", "4448236"):
            push = intake(store, key)
            await store.take(push)
            seqs.append(push.row.seq)
        await store.run(purges.drop, PurgeKind.EVENTS, seqs)
        (other,) = look(store.address, "SELECT key FROM events WHERE key NOT LIKE '#%'")
        assert other == ("message:4448236",)


async def test_reports_of_their_messages_go(address: StoreAddress) -> None:
    """A report says whose message it is about by an id alone, mostly."""
    async with opened(address) as store:
        for person in (PERSON, OTHER):
            asked = handler_actions(Send(to=person, text="hello"))
            await store.take(intake(store, person[-4:], handler_actions=asked))
        for n in (1, 2):
            report = intake(store, f"report {n}", subject=None)
            await store.take(report)

            def join(tx: Tx, seq: int = report.row.seq, message: int = n) -> None:
                columns = "(event, source, key, status, message)"
                values = (seq, "tilil", "key", "sent", message)
                tx.execute(f"INSERT INTO reports {columns} VALUES (?, ?, ?, ?, ?)", values)

            await store.writer.run(join)
        await forget(store, PERSON)
        left = look(store.address, "SELECT key FROM events WHERE type <> '' AND subject IS NULL")
        assert left == [("message:report 2",)]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (
            "+254726770792",
            ["+254726770792", "254726770792", "00254726770792", "0726770792", "726770792"],
        ),
        ("+447786200000", ["+447786200000", "447786200000", "00447786200000", "07786200000"]),
    ],
)
def test_spellings_are_those_people_use(number: str, expected: list[str]) -> None:
    """International and national, with and without prefixes; the number itself first."""
    assert spellings(number)[: len(expected)] == expected
    assert all(one.endswith(national_digits(number)) for one in spellings(number))
