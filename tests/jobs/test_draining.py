"""What is under way ends in order, at a stop and a reload: on a slow disk, at a slow provider."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from receiver.handlers import Send
from receiver.service.parts import Service
from receiver.service.reload import reload
from receiver.store.commits import Commits
from tests import stored
from tests.harness import inbound, opened, take, until_async, with_plugin, write
from tests.listening import Listener, listening

pytestmark = pytest.mark.anyio

TAKEN = json.dumps({"status_code": "1000", "status_desc": "Success", "message_id": "7"})
PERSON = "+254711000001"


@pytest.fixture(autouse=True)
def _slow_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit takes a hundredth of a second longer than it does."""
    store = Commits._store

    def slow(commits: Commits, work: Any) -> Any:
        time.sleep(0.01)
        return store(commits, work)

    monkeypatch.setattr(Commits, "_store", slow)


def configuration(folder: Path, provider: Listener, name: str) -> dict[str, Any]:
    """A plugin that notes what it does, and a source that sends."""
    note = f"with open({str(folder / 'log')!r}, 'a') as file:\n        file.write"
    raw = with_plugin(
        "import asyncio\nfrom receiver.handlers import on_message\n"
        f"def stop(context):\n    {note}('{name} stop -\\n')\n"
        "@on_message()\nasync def slow(event, context):\n    await asyncio.sleep(0.05)\n"
        f"    {note}('{name} handled ' + event.data.external_id + '\\n')\n"
    )
    send = {"api_key": "key", "sender": "SHOP", "url": provider.url}
    raw["sources"]["tilil"].update(send=send, reply_within=0.001)
    return raw


async def begun(service: Service, provider: Listener) -> None:
    """Returns when a message is on its way, whose provider does not answer, and work waits."""
    provider.behaviour = lambda _: None
    await service.store.add_message(
        Send(source="tilil", to=PERSON, text="hello"), service.intake.clock()
    )

    async def under_way() -> bool:
        return provider.under_way == 1

    await until_async(under_way, "a request under way")
    # Three people write ten messages each.
    pushes = [inbound(n, f"{n}", mobile=f"25471100010{n % 3}") for n in range(30)]
    await asyncio.gather(*(take(service, push) for push in pushes))


def noted(folder: Path) -> list[list[str]]:
    """What the plugins have noted: their name, what they did, to which message."""
    return [line.split() for line in (folder / "log").read_text().splitlines()]


def states(service: Service) -> list[str]:
    """The states of our messages."""
    return [message.state for message in stored.messages(service.store.address)]


async def test_a_stop_ends_handlers_before_their_plugin(tmp_path: Path) -> None:
    """Requests under way are answered, what was not begun is left as it was, and is done later."""
    async with listening() as provider:
        raw = configuration(tmp_path, provider, "old")
        async with opened(tmp_path, raw) as service:
            await begun(service, provider)
            provider.says(200, body=TAKEN)
            asyncio.get_running_loop().call_later(0.05, provider.release)  # the end has begun
        assert states(service) == ["sent"]
        first = noted(tmp_path)
        assert first[-1] == ["old", "stop", "-"]
        assert stored.claims(service.store.address) == {}
        left = stored.jobs(service.store.address, "handle")
        assert {job.attempts for job in left} <= {0}
        assert len(left) == 30 - (len(first) - 1)
        async with opened(tmp_path, raw) as service:

            async def done() -> bool:
                return not stored.jobs(service.store.address, "handle")

            await until_async(done, "all handled")
        handled = [id_ for _, what, id_ in noted(tmp_path) if what == "handled"]
        assert Counter(handled) == Counter(map(str, range(30)))
        for person in range(3):
            assert [id_ for id_ in handled if int(id_) % 3 == person] == [
                str(n) for n in range(person, 30, 3)
            ]


async def test_a_reload_ends_old_handlers_before_their_plugin(tmp_path: Path) -> None:
    """Nothing is handled by a plugin that has stopped, and the request under way lives on."""
    async with listening() as provider:
        async with opened(tmp_path, configuration(tmp_path, provider, "old")) as service:
            await begun(service, provider)
            write(tmp_path, configuration(tmp_path, provider, "new"))
            late = asyncio.create_task(
                take(service, inbound("late", "late", mobile="254722000000"))
            )
            await asyncio.sleep(0)  # it waits for its commit
            await reload(service)
            await late
            await take(service, inbound("after", "after", mobile="254722000000"))

            async def retired() -> bool:
                return not service.retiring and not service.workers.held

            await until_async(retired, "the old configuration let go of")
            assert provider.under_way == 1
            provider.says(200, body=TAKEN)
            provider.release()

            async def sent() -> bool:
                return states(service) == ["sent"]

            await until_async(sent, "sent")
        lines = noted(tmp_path)
        assert ["old", "handled", "late"] in lines
        assert ["new", "handled", "after"] in lines
        stopped = lines.index(["old", "stop", "-"])
        assert not [line for line in lines[stopped + 1 :] if line[0] == "old"]
        assert len([line for line in lines if line[1] == "handled"]) == 32
        assert len(provider.pushed) == 1
