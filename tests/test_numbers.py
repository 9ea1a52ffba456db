"""Numbers have one form from their entry on, whoever writes them: gateways, plugins, people."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from receiver.errors import PushError
from receiver.jobs.channel import apis
from receiver.outgoing import OutgoingMessage
from receiver.service.parts import Service
from receiver.store import StoredMessage
from tests import stored
from tests.cli.program import run, table, told
from tests.harness import (
    TOKEN,
    inbound,
    opened,
    parts,
    settings,
    subscription,
    take,
    until_async,
    with_plugin,
    write,
)
from tests.jobs.test_send import sending
from tests.service.test_replay import judged

pytestmark = pytest.mark.anyio

PERSON = "+254726770792"
#: One number of ours in the United Kingdom, as people and gateways write it.
OURS = ["+447786200000", "447786200000", "00447786200000", "07786 200000", "07786200000"]
APIS = ["tilil", "talkntalk", "tsconect", "rayprotech", "text-connect"]
FRACTIONS = ["254726770792.0", "254726770792.00", "2.54726770792E+11", "0726770792.0", "254726.5"]

each_spelling = pytest.mark.parametrize("ours", OURS)
each_fraction = pytest.mark.parametrize("text", FRACTIONS)


def british(**plugins: Any) -> dict[str, Any]:
    """One source, of the United Kingdom."""
    enabled = [name for name in ("opt_out", "keyword_reply", "subscriptions") if name in plugins]
    made = settings()
    made["plugins"] = {"enabled": enabled, **plugins}
    for source in made["sources"].values():
        source["region"] = "GB"
    made["sources"]["text-connect"]["send"] = {"api_key": "key", "sender": "Shop"}
    return made


def with_service(
    folder: Path, made: dict[str, Any], what: Callable[[Service], Awaitable[Any]]
) -> None:
    """Does something with a service that has ended afterwards; the clock stands still."""

    async def run_it() -> None:
        async with opened(folder, made) as service:
            await what(service)

    asyncio.run(run_it())


async def text(service: Service, body: str, id_: str = "1", **fields: str) -> None:
    """A message to our number in the United Kingdom."""
    given = {"source": "447777777777", "dest": "447786200000", "msg": body, "id": id_}
    query = urlencode({**given, "auth": TOKEN, **fields}).encode()
    await take(service, b"", source="text-connect", method="GET", query=query)


def raw(body: bytes, **numbers: str) -> bytes:
    """A JSON object in which these fields are numbers, with the digits given."""
    texts = json.loads(body)
    marked = json.dumps({**texts, **{name: f"<{name}>" for name in numbers}})
    for name, digits in numbers.items():
        marked = marked.replace(f'"<{name}>"', digits)
    return marked.encode()


# Pushes


@pytest.mark.parametrize("digits", ["254726770792.0", "2.54726770792E+11", "254726770792.00"])
async def test_a_number_with_a_point_is_its_integer_in_json(tmp_path: Path, digits: str) -> None:
    """Gateways that keep numbers as floats mean the same person, the same ids, the same code."""
    async with opened(tmp_path) as service:
        body = raw(
            inbound("1", "hello"),
            mobile=digits,
            inbox_id="4448236.0",
            service_id="32.0",
            shortcode="22915.0",
            timestamp="20261120115900.0",
        )
        await take(service, body)
        [stored] = [event async for event in service.store.reader.events()]
        data: Any = stored.event.data
        assert (stored.event.subject, data.from_) == (PERSON, PERSON)
        assert (data.external_id, data.service_id, data.to) == ("4448236", "32", "22915")
        assert stored.event.time.isoformat() == "2026-11-20T08:59:00+00:00"


@each_fraction
async def test_a_decimal_fraction_in_text_is_refused(tmp_path: Path, text: str) -> None:
    """It is nobody's number: the push is kept, with the reason, and nobody else is written to."""
    async with opened(tmp_path) as service:
        with pytest.raises(PushError, match="decimal"):
            await take(service, inbound("1", "hello", mobile=text))
        with pytest.raises(PushError, match="decimal"):
            await take(service, subscription("activation", "20261120115900", mobile=text))
        assert len(await service.store.reader.quarantined()) == 2
        assert [event async for event in service.store.reader.events()] == []


async def test_reports_of_every_gateway_have_whole_numbers(tmp_path: Path) -> None:
    """Ids, codes and numbers that came as floats."""
    async with opened(tmp_path) as service:
        tilil = b'{"messageId": 288369252.0, "dlrStatus": 1.0}'
        await take(service, tilil, token=TOKEN)
        data = b'{"id": 9041.0, "mobile": 254726770792.0, "sender_id": 254700000001.0}'
        talkntalk = b'{"event": "sms.delivered", "data": %b}' % data
        await take(service, talkntalk, source="talkntalk", token=TOKEN)
        tsconect = b'{"message_id": 12.0, "to": 254726770792.0, "status": "delivered"}'
        await take(service, tsconect, source="tsconect", token=TOKEN)
        stored = [event.event async for event in service.store.reader.events()]
        found: list[Any] = [event.data for event in reversed(stored)]
    assert [(each.message_id, each.to, each.sender) for each in found] == [
        ("288369252", None, None),
        ("9041", PERSON, "+254700000001"),
        ("12", PERSON, None),
    ]
    assert [str(each.status) for each in found] == ["delivered"] * 3


@each_spelling
async def test_our_own_number_has_one_form_in_events(tmp_path: Path, ours: str) -> None:
    """However a gateway writes it; a short code stays."""
    async with opened(tmp_path, british()) as service:
        await text(service, "one", "1", dest=ours)
        await take(service, inbound("2", shortcode=ours))
        await take(service, subscription("activation", "20261120115900", shortcode=ours))
        report = json.dumps({"data": {"id": "3", "sender_id": ours, "status": "sent"}}).encode()
        await take(service, report, source="talkntalk", token=TOKEN)
        await take(service, inbound("4", shortcode="22915"))
        data: list[Any] = [event.event.data async for event in service.store.reader.events()]
    to, sender, short_code, second, first = data
    assert (first.to, second.to, short_code.short_code, sender.sender) == ("+447786200000",) * 4
    assert to.to == "22915"


# Configuration


@each_spelling
def test_a_rule_for_our_number_fires(tmp_path: Path, ours: str) -> None:
    """In the national form of the source's region as well; `explain` says what the service does."""
    made = british(keyword_reply={"rules": [{"keyword": "GAME", "to": ours, "reply": "Yes"}]})
    with_service(tmp_path, made, lambda service: text(service, "game"))
    assert [message.text for message in stored.messages(tmp_path / "receiver.db")] == ["Yes"]
    for to in OURS:
        *_, outcome = table(tmp_path, "explain", "game", "--to", to, "--source", "text-connect")
        assert outcome["reply"] == "Yes", to


@each_spelling
def test_a_service_at_our_number_is_joined(tmp_path: Path, ours: str) -> None:
    """By its word, and found under the number again."""
    service_ = {"name": "News", "short_code": ours, "join": ["JOIN"], "leave": ["LEAVE"]}
    made = british(subscriptions={"services": [service_]})
    with_service(tmp_path, made, lambda service: text(service, "join"))
    [line] = table(tmp_path, "subscribers", "--short-code", ours)
    assert (line["short_code"], line["state"]) == ("+447786200000", "active")
    assert len(table(tmp_path, "subscribers", "counts", "--short-code", ours)) == 1


@each_spelling
async def test_our_own_numbers_get_no_reply(tmp_path: Path, ours: str) -> None:
    """`own_numbers` are known as senders in whatever form they are written."""
    made = british(keyword_reply={"rules": [{"keyword": "GAME", "reply": "Yes"}]})
    made["loop_guard"] = {"enabled": True, "own_numbers": [ours]}
    async with opened(tmp_path, made) as service:
        await text(service, "game", source="447786200000", dest="447786200001")
    [event] = stored.events(tmp_path / "receiver.db")
    assert event.note == "reply held back: the sender is one of our own numbers"


@each_spelling
def test_an_opt_out_by_our_number_holds(tmp_path: Path, ours: str) -> None:
    """Written by hand in any form, it holds for replies from the number."""
    made = british(keyword_reply={"rules": [{"keyword": "GAME", "reply": "Yes"}]})
    write(tmp_path, made)
    told(tmp_path, "opt-outs", "add", "07777 777777", "--short-code", ours)
    with_service(tmp_path, made, lambda service: text(service, "game"))
    assert stored.messages(tmp_path / "receiver.db") == []
    [line] = table(tmp_path, "opt-outs")
    assert (line["msisdn"], line["short_code"]) == ("+447777777777", "+447786200000")


NATIONAL = "0712345678"  # of Kenya, and of Uganda


def bordering(**sections: Any) -> dict[str, Any]:
    """Two sources that write the same national number for different people."""
    sources = {
        "kenya": {"provider": "tilil", "tokens": [TOKEN]},
        "uganda": {"provider": "tilil", "tokens": [f"{TOKEN}-2"], "region": "UG"},
    }
    return {**settings(**sections), "sources": sources}


def test_a_number_of_two_regions_is_warned_of(tmp_path: Path) -> None:
    """`check` names the setting, and what the number may be."""
    rules = {"rules": [{"keyword": "GAME", "to": NATIONAL, "reply": "Yes"}]}
    made = bordering(plugins={"enabled": ["keyword_reply"], "keyword_reply": rules})
    made["loop_guard"] = {"own_numbers": [NATIONAL, "+254700000001", "7786200000.0"]}
    write(tmp_path, made)
    checked = run(tmp_path, "check")
    shown = checked.stdout + checked.stderr
    for key in ("plugins.keyword_reply.rules[0].to", "loop_guard.own_numbers[0]"):
        assert f"{key}: 0712345678 is +254712345678 or +256712345678" in shown
    assert "loop_guard.own_numbers[1]" not in shown
    assert "loop_guard.own_numbers[2]: 7786200000.0 is no number" in shown


def test_commands_refuse_a_number_of_two_regions(tmp_path: Path) -> None:
    """Unless the source says which; nobody else's opt-out is written."""
    write(tmp_path, bordering())
    refused = run(tmp_path, "opt-outs", "add", NATIONAL)
    assert refused.returncode == 2
    assert "+254712345678 (kenya) or +256712345678 (uganda)" in refused.stderr
    assert told(tmp_path, "opt-outs", "add", "+256712345678").startswith("+256712345678")


# Commands and lists


@pytest.mark.parametrize(
    "arguments",
    [
        ("opt-outs", "add", "NUMBER"),
        ("opt-outs", "remove", "NUMBER"),
        ("opt-outs", "add", PERSON, "--short-code", "NUMBER"),
        ("opt-outs", "history", "--msisdn", "NUMBER"),
        ("forget", "NUMBER"),
        ("events", "--msisdn", "NUMBER"),
        ("messages", "--msisdn", "NUMBER"),
        ("subscribers", "--msisdn", "NUMBER"),
        ("subscribers", "--short-code", "NUMBER"),
        ("subscribers", "counts", "--short-code", "NUMBER"),
        ("replay", "--msisdn", "NUMBER"),
        ("explain", "hello", "--to", "NUMBER"),
        ("explain", "hello", "--to", "22915", "--from", "NUMBER"),
        ("send", "--to", "NUMBER", "--text", "hello"),
        ("send", "--to", PERSON, "--sender", "NUMBER", "--text", "hello"),
    ],
    ids=" ".join,
)
def test_commands_refuse_a_decimal_fraction(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """With a word about it, and without doing anything.

    Of the forms of a fraction the likeliest: tests/text/test_msisdn.py has them all, for people and
    for addresses, and each command asks there.
    """
    made = settings()
    made["sources"]["tilil"]["send"] = {"api_key": "key", "sender": "SHOP"}
    write(tmp_path, made)
    filled = [FRACTIONS[0] if each == "NUMBER" else each for each in arguments]
    refused = run(tmp_path, *filled)
    assert refused.returncode == 2, refused
    assert "decimal" in refused.stderr


def test_a_list_with_fractions_changes_nothing(tmp_path: Path) -> None:
    """A spreadsheet's `.0` is an invalid line; a float of JSON is its integer."""
    body = subscription("activation", "20261120115900", mobile="254726770792")
    with_service(tmp_path, settings(), lambda service: take(service, body))
    rows = ["msisdn,service_id", "254726770792.0,44", "2.5E+11,44", "254726770792,44.0"]
    (tmp_path / "list.csv").write_text("\n".join(rows))
    refused = run(tmp_path, "subscribers", "reconcile", "list.csv", "--apply")
    assert "line 2: expected a number" in refused.stdout
    assert "line 3: expected a number" in refused.stdout
    assert "line 4: expected a service_id, got the decimal '44.0'" in refused.stdout
    assert "nothing was written" in refused.stderr
    line = '{"msisdn": 254726770792.0, "service_id": 44.0, "state": "active"}\n'
    (tmp_path / "list.jsonl").write_text(line)
    assert "0 invalid lines" in told(tmp_path, "subscribers", "reconcile", "list.jsonl")
    [left] = table(tmp_path, "subscribers")
    assert (left["msisdn"], left["state"]) == (PERSON, "active")


# Plugins


def doing(result: str, *plugins: str, inline: bool = True) -> dict[str, Any]:
    """A configuration whose one handler returns this for each message."""
    source = f"from receiver.handlers import *\n@on_message(inline={inline})\n"
    code = f"{source}def mine(event, context):\n    return {result}\n"
    return {**with_plugin(code, *plugins), "loop_guard": {}}


async def ended(service: Service, count: int) -> list[StoredMessage]:
    """The messages, oldest first, when there are so many and none is under way."""

    async def there() -> list[StoredMessage] | None:
        found = await service.store.reader.messages.find()
        waiting = [message for message in found if message.state in ("waiting", "sending")]
        return None if waiting or len(found) < count else found[::-1]

    return await until_async(there, f"{count} messages at their end")


@pytest.mark.parametrize("inline", [True, False])
async def test_whom_the_provider_blacklists_gets_nothing_more(tmp_path: Path, inline: bool) -> None:
    """Also where a plugin writes the number in another form each time."""
    spelled = "('07700 999903', '447700999903', '+44 7700 999903')[int(event.data.external_id)]"
    made = doing(f"Send(to={spelled}, text='hello', source='text-connect')", inline=inline)
    async with sending(tmp_path, "text-connect", raw=made) as (service, providers):
        for n in range(3):
            await take(service, inbound(n, f"hello {n}"))
            messages = await ended(service, n + 1)
        assert [message.to for message in messages] == ["+447700999903"] * 3
        assert [message.code for message in messages] == ["-412", None, None]
        assert {message.error for message in messages[1:]} == {"the person has opted out"}
        [line] = await service.store.reader.opt_outs.find()
        assert line.msisdn == "+447700999903"
        assert providers.sent == []


@pytest.mark.parametrize(
    ("action", "reading", "expected"),
    [
        (
            "Subscribe(msisdn='0726 770792', short_code='0700 000001')",
            lambda store: [(e.msisdn, e.short_code) for e in stored.subscriptions(store)],
            [(PERSON, "+254700000001")],
        ),
        (
            "Unsubscribe(msisdn='07777 777777', short_code='07786 200000', source='text-connect')",
            lambda store: [(e.msisdn, e.short_code) for e in stored.subscriptions(store)],
            [("+447777777777", "+447786200000")],
        ),
        (
            "OptOut('254726770792', 'x', short_code='254700000001')",
            lambda store: [(e.msisdn, e.short_code) for e in stored.opt_outs(store)],
            [(PERSON, "+254700000001")],
        ),
        (
            "[OptOut('0726770792', 'x'), OptIn('00254 726 770 792')]",
            lambda store: [(e.msisdn, e.short_code) for e in stored.opt_outs(store)],
            [],
        ),
        (
            "Send(to='0726770792', text='x', sender='0700 000001')",
            lambda store: [(e.to, e.sender) for e in stored.messages(store)],
            [(PERSON, "+254700000001")],
        ),
    ],
)
async def test_numbers_of_actions_have_one_form(
    tmp_path: Path, action: str, reading: Callable[[Path], Any], expected: list[tuple[str, str]]
) -> None:
    """By the region of the event's source, or of the source that the action names."""
    async with opened(tmp_path, doing(action)) as service:
        await take(service, inbound("1"))
    assert reading(tmp_path / "receiver.db") == expected


@each_fraction
async def test_a_handler_that_gives_a_fraction_fails(tmp_path: Path, text: str) -> None:
    """Better the handler fails, with a word, than somebody else gets the message."""
    async with opened(tmp_path, doing(f"Send(to={text!r}, text='x')")) as service:
        await take(service, inbound("1"))
        [job] = await service.store.reader.jobs()
        assert job.kind == "handle"
        assert "Send.to: expected a number" in (job.error or "")
    assert stored.messages(tmp_path / "receiver.db") == []


@pytest.mark.parametrize(
    ("source", "to"),
    [
        *(("tilil", to) for to in ["254726770792/3", "all", "", "٠٧٢٦"]),
        *((source, "+254726770792,+254726770793") for source in APIS),
    ],
)
async def test_a_message_goes_to_one_number(tmp_path: Path, source: str, to: str) -> None:
    """Several at once would reach those of them who have opted out: it is dead, and says why.

    What is one number is decided in one place; each provider has to ask there.
    """
    made = doing(f"Send(to={to!r}, text='hello', source={source!r})")
    async with sending(tmp_path, source, raw=made) as (service, providers):
        await take(service, inbound(1))
        [message] = await ended(service, 1)
        assert (message.state, message.status) == ("dead", "rejected")
        assert (message.error or "").startswith("expected one number to send to")
        assert providers.sent == []


# Opt-outs and replay


def test_replaying_an_old_start_changes_nothing(tmp_path: Path) -> None:
    """An address has one form in what is asked for and in what was done: nothing is missing."""
    made = british(opt_out={"scope": "short_code"})

    async def start_and_stop(service: Service) -> None:
        for n, word in enumerate(["start", "stop"]):
            await text(service, word, str(n))

    with_service(tmp_path, made, start_and_stop)
    found = judged(tmp_path, made)
    assert [one.added for one in found] == [(), ()]
    told(tmp_path, "replay", "--all-events", "--apply")
    assert len(table(tmp_path, "opt-outs")) == 1


# What leaves


@pytest.mark.parametrize(
    ("source", "field", "sender", "written"),
    [
        ("tilil", "sender_name", "+254700000001", "254700000001"),
        ("tilil", "sender_name", "22915", "22915"),
        ("tilil", "sender_name", "Shop", "Shop"),
        ("talkntalk", "sender_id", "+254700000001", "254700000001"),
        ("rayprotech", "sender_id", "+254700000001", "254700000001"),
        ("tsconect", "sender", "+254700000001", "+254700000001"),
    ],
)
async def test_the_sender_leaves_as_the_provider_writes_it(
    tmp_path: Path, source: str, field: str, sender: str, written: str
) -> None:
    """A number of ours that a person wrote to goes back in the provider's form of it."""
    made = settings()
    made["sources"].setdefault(source, {"provider": source})
    made["sources"][source]["send"] = {"api_key": "key", "sender": "0711 000 001"}
    prepared = parts(tmp_path, made)
    api = apis(prepared.config, prepared.providers)[source]
    request = api.send(OutgoingMessage(to=PERSON, text="x", sender=sender))
    assert json.loads(request.body)[field] == written
    # The source's own as the configuration has it, but compared in the one form.
    assert json.loads(api.send(OutgoingMessage(to=PERSON, text="x")).body)[field] == "0711 000 001"
    assert api.sender(OutgoingMessage(to=PERSON, text="x")) == "+254711000001"
