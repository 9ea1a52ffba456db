"""A service asks another system what to reply: one reply at most, whatever happens between them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from standardwebhooks import Webhook

from receiver.events import encode_event, utc_now
from receiver.providers import Answer
from receiver.service.parts import Service
from receiver.store import Job, open_reader
from receiver.views.redact import redact_job
from tests.harness import TOKEN, Clock, inbound, opened, serve, settings, take, until, until_async
from tests.listening import Behaviour, Listener, answer, listening

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLjSw"
ANN = "254711000111"
TEXT = "Content-Type: text/plain"


def asking(url: str, *, reply_within: float = 10.0, **fields: Any) -> dict[str, Any]:
    """A configuration whose source can send, and whose plugins are opt_out and this one."""
    send = {"api_key": "key", "sender": "SHOP", "url": "http://127.0.0.1:1"}
    tilil = {
        "provider": "tilil",
        "tokens": [TOKEN],
        "reply_within": reply_within,
        "send": send,
    }
    raw = settings()
    raw["sources"] = {"tilil": tilil}
    shop = {"name": "shop", "url": url, "allow": ["127.0.0.0/8"], "secrets": [SECRET], **fields}
    raw["plugins"] = {"enabled": ["opt_out", "http_reply"], "http_reply": {"targets": [shop]}}
    return raw


def reply_in(taken: Answer) -> str:
    """The reply in an answer to Tilil."""
    return str(json.loads(taken.body)["result_message"])


async def texts(service: Service) -> list[str]:
    """The texts of what goes out by the API."""
    return [message.text for message in await service.store.reader.messages.find()]


async def jobs(service: Service) -> list[Job]:
    """The handlers' jobs that there are."""
    return await service.store.reader.jobs(kind="handle")


async def handled(service: Service) -> None:
    """Returns when nothing is to be asked any more."""

    async def idle() -> bool:
        return not await jobs(service)

    await until_async(idle, "handled")


async def failed(service: Service, attempts: int = 1) -> Job:
    """The one job, as soon as it has failed so often."""

    async def there() -> Job | None:
        found = await jobs(service)
        done = found and found[0].attempts >= attempts and not service.workers.held
        return found[0] if done else None

    return await until_async(there, f"{attempts} attempts")


@asynccontextmanager
async def asked(
    folder: Path, behaviour: Behaviour, clock: Clock | None = None, **fields: Any
) -> AsyncIterator[tuple[Service, Listener]]:
    """A service that asks a system which behaves like this."""
    async with listening() as shop:
        shop.behaviour = behaviour
        async with opened(folder, asking(shop.url, **fields), clock) as service:
            yield service, shop


@pytest.mark.anyio
async def test_the_reply_is_in_the_answer(tmp_path: Path) -> None:
    """In time; the request is the signed event, and its rule is kept with the event."""
    async with listening() as shop:
        shop.says(200, TEXT, body="Open till 6.\n")
        async with opened(tmp_path, asking(shop.url), utc_now) as service:
            assert reply_in(await take(service, inbound(1, "hours", mobile=ANN))) == "Open till 6."
            await handled(service)
            [stored] = [each async for each in service.store.reader.events()]
            assert await texts(service) == []
        (pushed,) = shop.pushed
        assert pushed.body == encode_event(stored.event)
        assert pushed.id == stored.event.id
        assert pushed.headers["accept"] == "application/json, text/plain"
        assert Webhook(SECRET).verify(pushed.body, pushed.headers)["id"] == pushed.id


@pytest.mark.anyio
async def test_a_late_reply_goes_out_by_the_api(tmp_path: Path) -> None:
    """And not in the answer: that is given without it, and is the same for a repeat."""
    async with asked(tmp_path, lambda _: None, reply_within=0.001) as (service, shop):
        first = await take(service, inbound(1, "hours", mobile=ANN))
        shop.behaviour = lambda _: answer(200, TEXT, body="Open till 6.")
        shop.release()
        await handled(service)
        assert reply_in(first) == ""
        assert (await take(service, inbound(1, "hours", mobile=ANN))).body == first.body
        assert await texts(service) == ["Open till 6."]
        assert len(shop.pushed) == 1


@pytest.mark.anyio
async def test_actions_are_done_with_the_reply(tmp_path: Path) -> None:
    """An opt-out with its confirmation, which is sent once; then replies are held to it."""
    body = {
        "reply": "Bye.",
        "actions": [{"type": "opt_out", "msisdn": f"+{ANN}", "reason": "ACHA"}],
    }
    said = answer(200, "Content-Type: application/json", body=json.dumps(body))
    async with asked(tmp_path, lambda _: said) as (service, _):
        taken = [
            reply_in(await take(service, inbound(n, f"leave me {n}", mobile=ANN))) for n in (1, 2)
        ]
        assert taken == ["Bye.", ""]
        found = [each.msisdn for each in await service.store.reader.opt_outs.find()]
        assert (found, await texts(service)) == ([f"+{ANN}"], [])


@pytest.mark.anyio
async def test_what_fails_is_asked_again(tmp_path: Path) -> None:
    """With the same `webhook-id`; the event waits, and its reply goes out in the end."""
    clock = Clock()
    async with asked(tmp_path, lambda _: answer(503), clock) as (service, shop):
        assert reply_in(await take(service, inbound(1, "hours", mobile=ANN))) == ""
        job = await failed(service)
        assert (job.state, job.error) == ("due", "target shop: 503 Service Unavailable")
        shop.says(200, TEXT, body="Open till 6.")
        clock.move(seconds=10)
        await handled(service)
        assert await texts(service) == ["Open till 6."]
        first, second = shop.pushed
        assert first.id == second.id


@pytest.mark.anyio
async def test_a_refusal_is_final(tmp_path: Path) -> None:
    """The event is a dead letter at once, with the reason; `receiver jobs retry` asks again."""
    async with asked(tmp_path, lambda _: answer(404)) as (service, shop):
        assert reply_in(await take(service, inbound(1, "hours", mobile=ANN))) == ""
        job = await failed(service)
        assert (job.state, job.error) == ("dead", "target shop: 404 Not Found")
        assert redact_job(job, []).error == job.error  # `receiver jobs` shows it whole
        assert len(shop.pushed) == 1


@pytest.mark.anyio
async def test_an_answer_that_is_none_costs_a_retry(tmp_path: Path) -> None:
    """What a broken program says: here PHP, whose warnings are HTML with status 200."""
    said = answer(200, "Content-Type: text/html; charset=UTF-8", body="<b>Warning</b>")
    async with asked(tmp_path, lambda _: said) as (service, _):
        assert reply_in(await take(service, inbound(1, "hours", mobile=ANN))) == ""
        job = await failed(service)
        expected = "expected Content-Type text/plain or application/json, got 'text/html'"
        assert job.error == f"target shop: its answer cannot be read: {expected}"
        assert job.state == "due"


@pytest.mark.anyio
async def test_no_reply_leaves_the_others_theirs(tmp_path: Path) -> None:
    """204 is no reply: a default rule answers then."""
    async with listening() as shop:
        raw = asking(shop.url)
        raw["plugins"]["enabled"].append("keyword_reply")
        raw["plugins"]["keyword_reply"] = {"rules": [{"match": "default", "reply": "Try GAME"}]}
        async with opened(tmp_path, raw) as service:
            assert reply_in(await take(service, inbound(1, "x", mobile=ANN))) == "Try GAME"


@pytest.mark.anyio
async def test_what_its_filters_keep_back_makes_no_work(tmp_path: Path) -> None:
    """No request, and no job for a handler that would have nothing to do."""
    async with asked(tmp_path, lambda _: answer(204), keywords=["GAME"]) as (service, shop):
        await take(service, inbound(1, "hours", mobile=ANN))
        assert service.workers.runs == {}
        await take(service, inbound(2, "game", mobile=ANN))
        await handled(service)
        assert [pushed.text for pushed in shop.pushed] == ["game"]


@pytest.mark.anyio
async def test_programs_that_reply_to_each_other_are_held_apart(tmp_path: Path) -> None:
    """The loop guard counts these replies as all others."""
    async with asked(tmp_path, lambda _: answer(200, TEXT, body="I am away.")) as (service, _):
        said = [
            reply_in(await take(service, inbound(n, "I am away.", mobile=ANN))) for n in range(3)
        ]
        assert said == ["I am away.", "", ""]


# The process ends


class Shop(BaseHTTPRequestHandler):
    """Is asked at /in; takes messages of Tilil's API at every other path."""

    def do_POST(self) -> None:
        """Kills whoever asks first, then answers."""
        body = self.rfile.read(int(self.headers["content-length"]))
        server: Any = self.server
        if self.path != "/in":
            server.sent.append(body)
            self.send_response(500)
            self.end_headers()
            return
        server.asked.append(self.headers["webhook-id"])
        if server.victim:
            os.kill(server.victim.pop(), signal.SIGKILL)
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write(b"Open till 6.")

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def shop_that_kills() -> Iterator[Any]:
    """The system, in a thread."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    server.asked, server.sent, server.victim = [], [], []
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def stored_texts(folder: Path) -> list[str]:
    """The texts of all messages of a store."""
    async with open_reader(folder / "receiver.db") as reader:
        return [message.text for message in await reader.messages.find()]


def test_kill_9_between_answer_and_commit_gives_one_reply(tmp_path: Path) -> None:
    """It is asked again with the same `webhook-id`, and the person gets one reply."""
    with shop_that_kills() as shop:
        url = f"http://127.0.0.1:{shop.server_port}"
        raw = asking(f"{url}/in")
        raw["sources"]["tilil"]["send"]["url"] = f"{url}/send"
        with serve(tmp_path, raw) as service:
            shop.victim.append(service.process.pid)
            with pytest.raises((EOFError, ConnectionError)):
                service.post(inbound(1, "hours", mobile=ANN))
            service.process.wait()
        with serve(tmp_path, raw) as service:
            until(lambda: len(shop.asked) == 2, "asked again")
            repeat = service.post(inbound(1, "hours", mobile=ANN)).json["result_message"]
            until(lambda: shop.sent, "the reply is sent")
            assert repeat == ""
        assert asyncio.run(stored_texts(tmp_path)) == ["Open till 6."]
    assert len(set(shop.asked)) == 1
