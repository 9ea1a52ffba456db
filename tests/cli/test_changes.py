"""Commands that change the store, beside a running service and without one."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from receiver.errors import Malformed, PushError
from receiver.events import utc_now
from receiver.store import forwards, jobs, to_micros
from receiver.store.tx import Tx
from tests.cli.program import run, table, told
from tests.harness import (
    NOW,
    TOKEN,
    Running,
    delivery,
    inbound,
    opened,
    settings,
    take,
    until,
    until_async,
    with_plugin,
    write,
)
from tests.store.rows import fail
from tests.stored import change

NUMBER = "+254712345678"


@pytest.fixture(params=["a service runs", "no service runs"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with a configuration, with a service on its store or without."""
    if request.param == "a service runs":
        running: Running = request.getfixturevalue("service")
        return running.folder
    write(tmp_path, settings())
    return tmp_path


def test_people_are_opted_out_and_in(place: Path) -> None:
    """By any form of their number; a second time is no failure."""
    assert told(place, "opt-outs", "add", "0712345678") == f"{NUMBER} opted out\n"
    assert told(place, "opt-outs", "add", NUMBER) == f"{NUMBER} already opted out\n"
    [entry] = table(place, "opt-outs")
    assert (entry["msisdn"], entry["reason"], entry["source"]) == (NUMBER, "operator", None)
    assert NUMBER in told(place, "opt-outs")
    removed = told(place, "opt-outs", "remove", "254712345678")
    assert removed == f"{NUMBER} may be messaged\n"
    assert told(place, "opt-outs", "remove", NUMBER) == f"{NUMBER} already may be messaged\n"
    assert told(place, "opt-outs", "list") == "nobody has opted out\n"


def test_the_service_obeys_at_once(service: Running) -> None:
    """Who is opted out by a command gets no reply from then on."""
    assert b"Welcome" in service.post(inbound(1, "GAME", mobile=NUMBER)).body
    assert run(service.folder, "opt-outs", "add", NUMBER).returncode == 0
    assert b"Welcome" not in service.post(inbound(2, "GAME", mobile=NUMBER)).body
    assert '"command carried out"' in service.log
    assert NUMBER not in service.log


@pytest.mark.parametrize("text", ["nobody", "22915", "SAFARICOM", "+12x", ""])
def test_only_numbers_of_people_are_opted_out(tmp_path: Path, text: str) -> None:
    """Anything else is wrong usage, and told with what would be right."""
    write(tmp_path, settings())
    result = run(tmp_path, "opt-outs", "add", text)
    assert result.returncode == 2
    assert "expected a number such as +254712345678" in result.stderr
    assert not (tmp_path / "receiver.db").exists()


async def _quarantine(folder: Path, count: int) -> None:
    """Reports without a message id from before the program understood them, and a forgery."""
    async with opened(folder) as service:
        pushes = [take(service, delivery("", 1, n=n), token=TOKEN) for n in range(count)]
        refused = await asyncio.gather(*pushes, return_exceptions=True)
        assert all(isinstance(error, Malformed) for error in refused)
        with pytest.raises(PushError):
            await take(service, inbound(1, api_token="guess"))


def test_requests_are_taken_again(tmp_path: Path) -> None:
    """What has become right leaves the quarantine as an event; a failure is told by its id."""
    asyncio.run(_quarantine(tmp_path, 1))
    result = run(tmp_path, "quarantine", "retry", "--all")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        "receiver: 1: expected inbox_id, update_type or messageId; none of them came",
        "receiver: 2: The credential is wrong.",
    ]
    # The token that was a guess yesterday is right today.
    source = {"provider": "tilil", "tokens": ["guess", TOKEN]}
    write(tmp_path, settings(sources={"tilil": source}))
    assert told(tmp_path, "quarantine", "retry", "2") == "1 taken out of the quarantine\n"
    assert [entry["id"] for entry in table(tmp_path, "quarantine")] == [1]
    assert [event["data"]["external_id"] for event in table(tmp_path, "events")] == ["1"]
    result = run(tmp_path, "quarantine", "retry", "2")
    assert (result.returncode, result.stderr) == (1, "receiver: 2: no such request\n")


def test_the_service_takes_requests_again(service: Running) -> None:
    """Many failures fit into its answer, too."""
    for number in range(40):
        body = delivery("", 1, n=number, dlrTime="x" * 100)
        assert service.post(body, f"/hooks/tilil/{TOKEN}").status == 400
    result = run(service.folder, "quarantine", "retry", "--all")
    assert (result.returncode, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 40


def test_all_means_all(tmp_path: Path) -> None:
    """However many there are."""
    asyncio.run(_quarantine(tmp_path, 1100))
    assert len(table(tmp_path, "quarantine")) == 1001  # 1000 of the provider, one of a stranger
    result = run(tmp_path, "quarantine", "retry", "--all")
    assert len(result.stderr.splitlines()) == 1001


def test_the_quarantine_is_shown(filled: Path) -> None:
    """As a table, as JSON, and one request as it came."""
    head, forged, broken = told(filled, "quarantine").splitlines()
    assert head.split() == ["ID", "RECEIVED", "(UTC)", "SOURCE", "FROM", "OUTCOME", "REASON"]
    assert forged.startswith("2   2026-11-20 09:00:00  tilil   192.0.2.1  credential_wrong")
    assert broken.startswith("1   ")
    assert [entry["id"] for entry in table(filled, "quarantine")] == [2, 1]
    assert "raw" not in table(filled, "quarantine")[0]
    [whole] = table(filled, "quarantine", "1")
    assert (whole["authenticated"], whole["raw"]["body"]) == (True, '{"mobile": "2547')
    [whole] = table(filled, "quarantine", "2")
    assert whole["raw"]["body_base64"] == "eyJtb2JpbGUiOiAi/yIsICJhcGlfdG9rZW4iOiAiZ3Vlc3MifQ=="
    shown = told(filled, "quarantine", "2")
    assert 'body           {"mobile": "\\xff", "api_token": "guess"}\n' in shown
    assert "authenticated  no\n" in shown
    result = run(filled, "quarantine", "77")
    expected = "receiver: 77: no such request in the quarantine\n"
    assert (result.returncode, result.stderr) == (1, expected)


_PLUGIN = """
from receiver.handlers import on_message

@on_message()
def mine(event, context):
    if event.data.text != "good":
        raise RuntimeError("no\\x1b[2J")
    return "fine"
"""


async def _fail(folder: Path, count: int) -> None:
    async with opened(folder, with_plugin(_PLUGIN)) as service:
        for number in range(count):
            await take(service, inbound(number, "bad"))

        async def failed() -> bool:
            jobs = await service.store.reader.jobs()
            return len(jobs) == count and all(job.attempts for job in jobs)

        await until_async(failed, "all have failed once")
        for job in (await service.store.reader.jobs())[1:]:
            await fail(service.store, job.id, None, "gave up")


def test_dead_letters_are_shown_and_retried(tmp_path: Path) -> None:
    """One or all; what is not dead is told."""
    asyncio.run(_fail(tmp_path, 4))
    assert [job["state"] for job in table(tmp_path, "jobs")] == ["due", "dead", "dead", "dead"]
    dead = table(tmp_path, "jobs", "--state", "dead")
    assert [(job["id"], job["due_at"], job["error"]) for job in dead] == [
        (number, None, "gave up") for number in (2, 3, 4)
    ]
    assert dead[0]["event"] == table(tmp_path, "events")[2]["id"]
    first = told(tmp_path, "jobs").splitlines()[1]
    assert first.startswith("1   handle  due    mine.mine  ")
    assert first.endswith("  RuntimeError")  # its words may be somebody's
    assert told(tmp_path, "jobs", "retry", "2") == "1 due again\n"
    result = run(tmp_path, "jobs", "retry", "2")
    assert (result.returncode, result.stderr) == (1, "receiver: 2: no such dead job\n")
    assert told(tmp_path, "jobs", "retry", "--all") == "2 due again\n"
    assert told(tmp_path, "jobs", "retry", "--all") == "0 due again\n"
    assert told(tmp_path, "jobs", "--state", "dead") == "no jobs\n"


def test_jobs_are_hurried_and_given_up(tmp_path: Path) -> None:
    """What waits for later is due now; what is dropped is gone. Both are audited."""
    asyncio.run(_fail(tmp_path, 2))
    change(tmp_path / "receiver.db", jobs.claim, 1, [1])
    change(tmp_path / "receiver.db", jobs.fail, 1, 1, 2**52, "not yet")
    [waiting] = table(tmp_path, "jobs", "--state", "due")
    assert datetime.fromisoformat(waiting["due_at"]) > utc_now()
    assert told(tmp_path, "jobs", "run", "1") == "1 due now\n"
    assert told(tmp_path, "jobs", "run", "2") == "1 due now\n"
    for job in table(tmp_path, "jobs"):
        assert job["state"] == "due"
        assert datetime.fromisoformat(job["due_at"]) <= utc_now()
    assert table(tmp_path, "jobs")[0]["created_at"] == waiting["created_at"]
    assert told(tmp_path, "jobs", "drop", "1") == "1 given up\n"
    assert [job["id"] for job in table(tmp_path, "jobs")] == [2]
    for command in ("run", "drop"):
        result = run(tmp_path, "jobs", command, "1")
        assert (result.returncode, result.stderr) == (1, "receiver: 1: no such job\n")
    acts = [act for act in table(tmp_path, "audit") if act["details"].get("changed")]
    assert [(act["act"], act["details"]["id"]) for act in acts] == [
        ("jobs.drop", 1),
        ("jobs.run", 2),
        ("jobs.run", 1),
    ]
    assert acts[0]["details"]["counts"] == {"handle": 1}


def test_the_service_carries_out_what_is_done_to_jobs(service: Running) -> None:
    """It has the store; a message that is given up is not sent and says so."""
    raw = settings()
    raw["sources"]["tilil"]["send"] = {"api_key": "k", "sender": "S", "url": "http://127.0.0.1:9"}
    write(service.folder, raw)
    told(service.folder, "reload")
    sent = run(service.folder, "send", "--to", NUMBER, "--text", "hello")
    assert sent.stdout == "1\n"
    [job] = table(service.folder, "jobs", "--kind", "send")

    def does(what: str, done: str) -> None:
        """It may be under way just then, and is refused."""
        command = ("jobs", what, str(job["id"]))
        until(lambda: run(service.folder, *command).stdout == f"1 {done}\n", done)

    does("run", "due now")
    does("drop", "given up")
    [message] = table(service.folder, "messages")
    assert (message["state"], message["status"]) == ("dead", "cancelled")
    assert "`receiver jobs drop`" in message["error"]
    assert table(service.folder, "jobs") == []


_FORWARDS = """
from receiver.handlers import Forward, on_message

@on_message(inline=True)
def mine(event, context):
    return Forward(url="http://secret.invalid/hook?key=secret"), Forward(target="crm")
"""


async def _forward(folder: Path) -> None:
    async with opened(folder, with_plugin(_FORWARDS)) as service:
        await take(service, inbound(1))

        async def dead() -> bool:
            return len(await service.store.reader.jobs(state="dead")) == 1

        await until_async(dead, "a dead letter")


def test_where_events_were_to_be_forwarded_is_shown(tmp_path: Path) -> None:
    """By the name of the target; of a URL only the host. Dead letters are retried like others."""
    asyncio.run(_forward(tmp_path))
    shown = told(tmp_path, "jobs")
    assert "TARGET" in shown
    assert "secret.invalid" in shown
    assert "key=secret" not in shown
    [dead] = table(tmp_path, "jobs", "--state", "dead")
    assert dead["target"] == "crm"
    assert told(tmp_path, "jobs", "retry", str(dead["id"])) == "1 due again\n"


async def _answered(folder: Path) -> str:
    """A target has refused an event and then taken it; returns the id of the event."""
    async with opened(folder, settings()) as service:
        await take(service, inbound(1))
        [stored] = [each async for each in service.store.reader.events()]
        for change_, words in ((forwards.failed, "503 Service Unavailable"), (_taken, "200 OK")):
            attempt = forwards.Attempted(
                job=7,
                event=stored.seq,
                target="http://crm.invalid/in?key=secret",
                handler="mine.mine",
                answer=words,
            )
            await service.store.run(change_, attempt, 0, 0, to_micros(NOW))
        return stored.event.id


def _taken(tx: Tx, attempt: forwards.Attempted, owner: int, _: int, now: int) -> None:
    job = jobs.NewJob(kind="forward", handler="x", due_at=2**52, target=attempt.target)
    id_ = jobs.add_job(tx, jobs.by_operator(NOW), job)
    forwards.taken(tx, msgspec.structs.replace(attempt, job=id_), owner, now)


def test_what_targets_answered_is_listed_and_an_event_posted_again(tmp_path: Path) -> None:
    """Of a URL only the host is shown; an event that waits for its target is not posted twice."""
    id_ = asyncio.run(_answered(tmp_path))
    found = table(tmp_path, "jobs", "forwards", id_[:18])
    assert [(each["event"], each["taken"], each["answer"]) for each in found] == [
        (id_, True, "200 OK"),
        (id_, False, "503 Service Unavailable"),
    ]
    assert {each["target"] for each in found} == {"crm.invalid"}
    shown = told(tmp_path, "jobs", "forwards")
    assert "503 Service Unavailable" in shown
    assert "secret" not in shown
    assert told(tmp_path, "jobs", "forward-again", id_[:18]) == "1 to be posted\n"
    [job] = table(tmp_path, "jobs")
    assert (job["kind"], job["event"], job["target"]) == ("forward", id_, "crm.invalid")
    url = "http://crm.invalid/in?key=secret"
    result = run(tmp_path, "jobs", "forward-again", id_, "--target", url)
    assert result.returncode == 1
    assert "it was posted to no such target, or waits for it" in result.stderr
    refused, done = table(tmp_path, "audit", "-n", "2")
    assert (done["act"], done["details"]["changed"]) == ("jobs.forward-again", 1)
    assert refused["details"]["target"] == "crm.invalid"
