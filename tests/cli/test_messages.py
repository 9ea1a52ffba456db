"""`receiver messages`: what we sent, for people and programs."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from receiver.actions import Send
from receiver.events import DeliveryReport, EventType, Status
from receiver.outgoing import Sent
from receiver.providers import Parsed
from receiver.service.parts import Service, open_service
from receiver.store import Failure, messages, to_micros
from tests.cli.conftest import NASTY
from tests.cli.program import on_terminal, run, table, told
from tests.harness import NOW, TOKEN, Clock, delivery, parts, settings, take, write
from tests.store.rows import begin

#: In the order of their ids: what `_fill` makes of them.
WAITING, PUT_OFF, SENDING, TAKEN, DELIVERED, UNKNOWN, DEAD = range(1, 8)
NUMBER = "+254712345678"
#: As people see it.
NASTY_SHOWN = r"\x1b[31mred\r\n2026 forged \u202eover\u2028[bold]x[/bold]\x9b\x7f {{ 7*7 }}"
LATER = NOW + timedelta(seconds=15)


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a message in each state: nobody may change it."""
    folder = tmp_path_factory.mktemp("sent")
    asyncio.run(_fill(folder))
    return folder


async def _fill(folder: Path) -> None:
    source = {"provider": "tilil", "tokens": [TOKEN], "send": {"api_key": "k"}}
    raw = settings(sources={**settings()["sources"], "tilil": source})
    async with open_service(parts(folder, raw), Clock(), work=False) as service:
        store, now = service.store, to_micros(NOW)
        await store.add_message(Send(source="tilil", to=NUMBER, text="new"), NOW)
        await _begin(service, Send(source="talkntalk", to=NUMBER, text="x" * 41))
        await store.run(
            messages.put_off,
            PUT_OFF,
            now,
            to_micros(LATER),
            Failure("no credit", Status.QUEUED, "402"),
        )
        await _begin(service, Send(source="tilil", to="+254711000222", text="on its way"))
        await _begin(service, Send(source="tsconect", to=NUMBER, text="taken"))
        await store.run(
            messages.sent,
            TAKEN,
            now,
            Sent(message_id="msg_1", status=Status.QUEUED, cost="1", balance="9"),
        )
        wish = Send(source="tilil", to=NUMBER, text=NASTY, sender="22915", link_id="l-1")
        await _begin(service, wish)
        accepted = Sent(message_id="m-5", status=Status.QUEUED, cost="0.8", balance="41.20")
        await store.run(messages.sent, DELIVERED, now, accepted)
        await take(service, delivery("M-5", 5), token=TOKEN)
        await take(service, delivery("m-5", 1), token=TOKEN)
        await _begin(service, Send(source="tilil", to=NUMBER, text="lost"))
        await store.run(
            messages.lose, UNKNOWN, now, Failure("no answer within 30 s", code="timeout")
        )
        await _begin(service, Send(source="tilil", to=NUMBER, text="refused"))
        await store.run(messages.kill, DEAD, now, Failure("evil\x1b[2J", Status.REJECTED, "1003"))


async def _begin(service: Service, wish: Send) -> None:
    """Makes a message and begins to send it."""
    id_ = await service.store.add_message(wish, NOW)
    await begin(service.store, id_, wish.to)


def test_people_get_a_table(sent: Path) -> None:
    """Newest first, with what is next or why there is nothing."""
    head, *rows = told(sent, "messages").splitlines()
    assert head.split("  ")[0] == "ID"
    assert [int(row.split()[0]) for row in rows] == list(range(DEAD, 0, -1))
    by_id = {int(row.split()[0]): row for row in rows}
    start = "1   2026-11-20 09:00:00  tilil      +254712345678  queued     1      new"
    assert by_id[WAITING].startswith(start)
    for id_, end in (
        (WAITING, "  due 2026-11-20 09:00:00"),
        (PUT_OFF, "  due 2026-11-20 09:00:15: no credit (402)"),
        (SENDING, "  request under way"),
        (TAKEN, "  accepted by the provider"),
        (UNKNOWN, "  no answer within 30 s (timeout)"),
        (DEAD, r"  dead: evil\x1b[2J (1003)"),
    ):
        assert by_id[id_].endswith(end)
    assert f"  {'x' * 39}…  " in by_id[PUT_OFF]
    assert r"\x1b[31mred\r\n2026 forged \u202eover" in by_id[DELIVERED]
    assert "  delivered  1" in by_id[DELIVERED]


def test_a_terminal_gets_the_same(sent: Path) -> None:
    """Fitted to its width; nothing that a stranger wrote reaches it."""
    shown = on_terminal(sent, "messages")
    assert "\x1b[31mred" not in shown
    assert "under way" in shown


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        ([], [7, 6, 5, 4, 3, 2, 1]),
        (["--limit", "2"], [7, 6]),
        (["--limit", str(2**70)], [7, 6, 5, 4, 3, 2, 1]),
        (["--status", "delivered"], [DELIVERED]),
        (["--status", "queued"], [TAKEN, SENDING, PUT_OFF, WAITING]),
        (["--state", "waiting"], [PUT_OFF, WAITING]),
        (["--state", "sending"], [SENDING]),
        (["--state", "sent"], [DELIVERED, TAKEN]),
        (["--state", "unknown"], [UNKNOWN]),
        (["--state", "dead", "--status", "rejected"], [DEAD]),
        (["--source", "tsconect"], [TAKEN]),
        (["--msisdn", "0711 000 222"], [SENDING]),
        ([str(DEAD)], [DEAD]),
    ],
)
def test_messages_are_found(sent: Path, arguments: list[str], ids: list[int]) -> None:
    """By status, state, source and person, in any form of the number."""
    assert [message["id"] for message in table(sent, "messages", *arguments)] == ids


def test_nothing_is_a_sentence(sent: Path) -> None:
    """Where a table would be empty; no line at all for programs."""
    assert told(sent, "messages", "--until", "2020-01-01") == "no messages\n"
    assert table(sent, "messages", "--until", "2020-01-01") == []


def test_json_has_every_field(sent: Path) -> None:
    """A line a message; what is absent is null."""
    [message] = table(sent, "messages", "--state", "dead")
    assert message == {
        "id": DEAD,
        "source": "tilil",
        "event": None,
        "handler": "operator",
        "to": NUMBER,
        "sender": None,
        "text": "refused",
        "service_id": None,
        "link_id": None,
        "encoding": "GSM-7",
        "parts": 1,
        "state": "dead",
        "status": "rejected",
        "provider_id": None,
        "cost": None,
        "balance": None,
        "attempts": 1,
        "created_at": "2026-11-20T09:00:00.123456Z",
        "sent_at": "2026-11-20T09:00:00.123456Z",
        "updated_at": "2026-11-20T09:00:00.123456Z",
        "code": "1003",
        "campaign": None,
        "error": "evil\x1b[2J",
        "due_at": None,
    }


def test_one_message_is_shown_with_its_reports(sent: Path) -> None:
    """Whole, with cost, balance and the ids of the events that told its status."""
    later, earlier = [event["id"] for event in table(sent, "events")]
    [message] = table(sent, "messages", str(DELIVERED))
    assert message["text"] == NASTY
    assert message["reports"] == [
        {
            "event": event,
            "status": status,
            "raw_status": word,
            "raw_code": code,
            "reason": None,
        }
        for event, status, word, code in (
            (earlier, "sent", "DeliveredToNetwork", "5"),
            (later, "delivered", "DeliveredToTerminal", "1"),
        )
    ]
    lines = told(sent, "messages", str(DELIVERED)).splitlines()
    shown = [tuple(line.split("  ", 1)) for line in lines]
    assert [(name, value.strip()) for name, value in shown] == [
        ("id", str(DELIVERED)),
        ("source", "tilil"),
        ("to", NUMBER),
        ("sender", "22915"),
        ("text", NASTY_SHOWN),
        ("parts", "1 of UCS-2"),
        ("link_id", "l-1"),
        ("requested by", "operator"),
        ("state", "sent"),
        ("status", "delivered"),
        ("created", "2026-11-20 09:00:00 UTC"),
        ("sent", "2026-11-20 09:00:00 UTC"),
        ("changed", "2026-11-20 09:00:00 UTC"),
        ("attempts", "1"),
        ("provider's id", "m-5"),
        ("cost", "0.8"),
        ("balance after", "41.20"),
        ("report", f"{earlier} sent: DeliveredToNetwork (5)"),
        ("report", f"{later} delivered: DeliveredToTerminal (1)"),
    ]


def test_what_the_provider_remarks_is_shown(tmp_path: Path) -> None:
    """That it only plays sending, and why a message failed; our key in its words is masked."""
    asyncio.run(_fill_with_remarks(tmp_path))
    [line] = told(tmp_path, "messages").splitlines()[1:]
    assert line.endswith("  simulated")
    shown = told(tmp_path, "messages", "1")
    assert "\nreason         simulated\n" in shown
    assert shown.endswith(" failed: no such key …\n")
    [message] = table(tmp_path, "messages", "1")
    assert message["reports"][0]["reason"] == "no such key …"


async def _fill_with_remarks(folder: Path) -> None:
    source = {"provider": "rayprotech", "send": {"api_key": "key-of-the-tests"}}
    raw = settings(sources={"rayprotech": source})
    async with open_service(parts(folder, raw), Clock(), work=False) as service:
        await _begin(service, Send(source="rayprotech", to=NUMBER, text="x"))
        accepted = Sent(message_id="API-1", note="simulated")
        await service.store.run(messages.sent, 1, to_micros(NOW), accepted)
        failed = DeliveryReport(
            message_id="API-1",
            to=NUMBER,
            status=Status.FAILED,
            raw_status="failed",
            reason="no such key key-of-the-tests",
            final=True,
        )
        parsed = Parsed(type=EventType.DELIVERY_UPDATED, data=failed, key="k", time=NOW)
        await service.intake.observe("rayprotech", parsed, b"{}")


def test_a_dead_one_is_shown_with_what_revives_it(sent: Path) -> None:
    """The job that is its dead letter, to call `receiver jobs retry` with."""
    shown = told(sent, "messages", str(DEAD))
    assert "reason        evil\\x1b[2J (1003)\n" in shown
    [job] = table(sent, "jobs", "--state", "dead")
    assert shown.endswith(f"{job['id']} dead; `receiver jobs retry {job['id']}`\n")
    assert "due           2026-11-20 09:00:15 UTC\n" in told(sent, "messages", str(PUT_OFF))


@pytest.mark.parametrize("id_", ["77", "0", str(2**80)])
def test_a_message_that_is_not_there_is_told(sent: Path, id_: str) -> None:
    """By its id; exit status 1."""
    result = run(sent, "messages", id_)
    assert (result.returncode, result.stderr) == (1, f"receiver: {id_}: no such message\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--status", "gone"], "'unknown', 'queued', 'sent', 'undelivered', 'failed', 'rejected'"),
        (["--state", "gone"], "'waiting', 'sending', 'sent', 'unknown', 'dead'"),
        (["--limit", "0"], "Invalid value for '--limit'"),
        (["m-5"], "'m-5' is not a valid int"),
    ],
)
def test_wrong_usage_is_refused(sent: Path, arguments: list[str], message: str) -> None:
    """With what would be right; exit status 2."""
    result = run(sent, "messages", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert message in result.stderr


def test_a_missing_store_is_told(tmp_path: Path) -> None:
    """With what makes it."""
    write(tmp_path, settings())
    result = run(tmp_path, "messages")
    assert result.returncode == 1
    assert result.stderr.endswith("receiver.db: no such store; `receiver serve` makes it\n")
