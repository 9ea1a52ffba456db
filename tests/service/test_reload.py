"""A running service takes in another configuration, whole or not at all."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import signal
import subprocess
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from receiver import fake
from receiver.actions import Send
from receiver.errors import ConfigError
from receiver.fake import Options
from receiver.jobs.channel import open_lines
from receiver.service import control
from receiver.service.commands import Outcome, Reload
from receiver.service.parts import Service
from receiver.service.reload import reload
from receiver.store import deactivations
from tests import stored
from tests.cli import program
from tests.harness import (
    PROGRAM,
    TOKEN,
    Client,
    inbound,
    opened,
    serve,
    settings,
    take,
    until,
    until_async,
    with_plugin,
    write,
)
from tests.listening import Listener, listening
from tests.store.rows import held
from tests.stored import file_of

pytestmark = pytest.mark.anyio


def answering(reply: str, **sections: Any) -> dict[str, Any]:
    """A configuration that answers GAME with `reply`."""
    raw = settings(**sections)
    raw["plugins"]["keyword_reply"] = {"rules": [{"keyword": "GAME", "reply": reply}]}
    return raw


def game(n: int, **fields: Any) -> bytes:
    """GAME from a person of its own: nobody is answered twice for the same text."""
    return inbound(n, "GAME", mobile=f"2547{n:08}", **fields)


def reply_in(body: bytes) -> str:
    """The reply in Tilil's answer."""
    return str(json.loads(body)["result_message"])


def provider_file(folder: Path, code: str = "") -> dict[str, Any]:
    """A configuration with a source of a provider that is a file in `folder`."""
    write_provider(folder, code)
    raw = answering("old", providers={"path": ["providers"]})
    raw["sources"]["acme"] = {"provider": "acme", "tokens": [TOKEN]}
    return raw


def write_provider(folder: Path, code: str) -> None:
    """Writes the file: a provider that comes with the program, under a name of its own."""
    file = folder / "providers" / "acme.py"
    file.parent.mkdir(exist_ok=True)
    base = "from receiver.providers.tilil import Tilil\nclass Acme(Tilil):\n    name = 'acme'\n"
    file.write_text(base + code, "utf-8")


def handler(body: str) -> str:
    """A plugin with one handler of messages."""
    return f"import asyncio\nfrom receiver.handlers import *\n{body}\n"


async def test_providers_are_read_again(tmp_path: Path) -> None:
    """One with faults changes nothing; mended, it takes the next push."""
    async with opened(tmp_path, provider_file(tmp_path)) as service:
        assert reply_in((await take(service, game(1), source="acme")).body) == "old"
        write_provider(tmp_path, "    def parse(self, push)\n")
        with pytest.raises(ConfigError, match=r"sources\.acme\.provider: .*acme\.py:4: SyntaxErr"):
            await reload(service)
        assert reply_in((await take(service, game(2), source="acme")).body) == "old"
        write_provider(tmp_path, "    def takes_reply(self, parsed):\n        return False\n")
        await reload(service)
        assert reply_in((await take(service, game(3), source="acme")).body) == ""
        assert reply_in((await take(service, game(1), source="acme")).body) == "old"


@pytest.mark.parametrize("by", ["command", "call"])
async def test_new_rules_answer_from_then_on(tmp_path: Path, by: str) -> None:
    """Without a restart; a repeat still gets what it was answered first."""
    async with opened(tmp_path, answering("old")) as service, control.listening(service):
        assert reply_in((await take(service, game(1))).body) == "old"
        write(tmp_path, answering("new"))
        if by == "command":
            outcome = await control.ask(file_of(service.store), Reload())
            assert outcome == Outcome(1)
        else:
            await reload(service)
        assert reply_in((await take(service, game(2))).body) == "new"
        assert reply_in((await take(service, game(1))).body) == "old"


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        (answering("{{ nobody }}"), "plugins.keyword_reply.rules[0].reply"),
        (settings(plugins={"enabled": ["nothing"]}), "plugins"),
        (settings(server={"port": 1}), "server.port: changed; that takes a restart"),
        (settings(store={"url": "sqlite:other.db"}), "store.url: changed; that takes a restart"),
        (settings(sources={"x": {"provider": "tilil"}}), "sources.x"),
        (with_plugin("def broken("), "SyntaxError"),
    ],
)
async def test_with_any_fault_the_old_stays(
    tmp_path: Path, wrong: dict[str, Any], fault: str
) -> None:
    """The fault is told by the command and in the log, and everything goes on as it was."""
    async with opened(tmp_path, answering("old")) as service, control.listening(service):
        before = service.parts
        write(tmp_path, wrong)
        outcome = await control.ask(file_of(service.store), Reload())
        assert outcome.changed == 0
        assert any(fault in line for line in outcome.failures), outcome.failures
        assert service.parts is before
        assert reply_in((await take(service, game(1))).body) == "old"


async def test_sources_come_and_go(tmp_path: Path) -> None:
    """A new source is pushed to at once; one that is gone is unknown; tokens rotate."""
    async with opened(tmp_path, answering("old")) as service:
        raw = answering("new")
        raw["sources"] = {"second": {"provider": "tilil", "tokens": ["another-token-0123456789"]}}
        write(tmp_path, raw)
        await reload(service)
        assert set(service.intake.endpoints) == {"second"}
        body = game(1, api_token="another-token-0123456789")
        assert reply_in((await take(service, body, source="second")).body) == "new"


async def test_a_plugin_file_is_read_again(tmp_path: Path) -> None:
    """Also when its file changed within the same second; a handler under way ends as it began."""
    go = tmp_path / "go"
    slow = handler(
        "from pathlib import Path\n"
        "@on_message()\nasync def slow(event, context):\n"
        f"    while not Path({str(go)!r}).exists():\n        await asyncio.sleep(0.01)\n"
        "    return 'old'"
    )
    raw = with_plugin(slow, sources={"tilil": {"provider": "tilil", "tokens": [TOKEN]}})
    async with opened(tmp_path, raw) as service:
        waiting = asyncio.create_task(take(service, inbound(1, "hello")))
        await until_async(_busy(service), "a handler under way")
        quick = handler("@on_message()\ndef slow(event, context):\n    return 'new'")
        write(tmp_path, with_plugin(quick, sources=raw["sources"]))
        await reload(service)
        assert reply_in((await take(service, inbound(2, mobile="254711000000"))).body) == "new"
        assert service.retiring
        go.touch()
        assert reply_in((await waiting).body) == "old"

        async def retired() -> bool:
            return not service.retiring

        await until_async(retired, "the old configuration let go of")


async def test_plugins_start_before_and_stop_after(tmp_path: Path) -> None:
    """The new one starts before the old one stops; one that does not start changes nothing."""
    log = tmp_path / "log"

    def plugin(name: str, start: str = "") -> dict[str, Any]:
        note = f"with open({str(log)!r}, 'a') as file:\n        file.write('{{}} {name}\\n')"
        return with_plugin(
            handler(
                f"def start(context):\n    {note.format('start')}\n    {start or 'pass'}\n"
                f"async def stop(context):\n    {note.format('stop')}\n"
                f"@on_message(inline=True)\ndef say(event, context):\n    return {name!r}"
            )
        )

    async with opened(tmp_path, plugin("one")) as service:
        write(tmp_path, plugin("broken", "raise OSError('no')"))
        with pytest.raises(ConfigError, match=r"mine\.py:\d+: OSError: no"):
            await reload(service)
        assert reply_in((await take(service, inbound(1))).body) == "one"
        write(tmp_path, plugin("two"))
        await reload(service)
        assert reply_in((await take(service, inbound(2, "again"))).body) == "two"

        async def retired() -> bool:
            return not service.retiring

        await until_async(retired, "the old configuration let go of")
    assert log.read_text().splitlines() == [
        "start one",
        "start broken",
        "start two",
        "stop one",
        "stop two",
    ]


async def test_what_cannot_send_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the new way of sending does not come up, the old one goes on, and so does the rest."""
    async with fake.running(Options(seed=1)) as providers:
        raw = answering("old")
        url = providers.urls["tilil"]
        raw["sources"]["tilil"]["send"] = {"api_key": "key", "sender": "SHOP", "url": url}
        async with opened(tmp_path, raw) as service:
            old, failing = service.parts, iter([True])

            async def lines(*arguments: Any, **options: Any) -> Any:
                if next(failing, False):
                    raise OSError("no certificates")
                return await open_lines(*arguments, **options)

            monkeypatch.setattr("receiver.service.sending.open_lines", lines)
            write(tmp_path, answering("new"))
            with pytest.raises(OSError, match="no certificates"):
                await reload(service)
            assert service.parts is old
            assert reply_in((await take(service, game(1))).body) == "old"
            wish = Send(source="tilil", to="+254711000000", text="karibu")
            message = await service.store.add_message(wish, service.intake.clock())

            async def sent() -> bool:
                (found,) = await service.store.reader.messages.find(id_=message)
                return found.state == "sent"

            await until_async(sent, "a message sent")


def _busy(service: Service) -> Any:
    async def busy() -> bool:
        return service.workers.held > 0

    return busy


async def test_messages_leave_with_the_new_key(tmp_path: Path) -> None:
    """What waits goes on waiting in the store, and leaves through the API as it is now."""
    async with fake.running(Options(seed=1)) as providers:
        raw = settings()
        url = providers.urls["tilil"]
        raw["sources"]["tilil"]["send"] = {
            "api_key": "key",
            "sender": "SHOP",
            "url": "http://127.0.0.1:1",
        }
        async with opened(tmp_path, raw) as service:
            wish = Send(source="tilil", to="+254711000000", text="karibu")
            message = await service.store.add_message(wish, service.intake.clock())

            async def state() -> str:
                (found,) = await service.store.reader.messages.find(id_=message)
                return found.state if found.attempts else ""

            await until_async(state, "a first attempt")
            raw["sources"]["tilil"]["send"]["url"] = url
            write(tmp_path, raw)
            await reload(service)
            await service.store.revive(None, service.intake.clock())
            service.intake.clock.move(seconds=30)  # type: ignore[attr-defined] # a Clock

            async def sent() -> bool:
                return await state() == "sent"

            await until_async(sent, "a message sent")


async def test_two_at_once_are_done_one_after_the_other(tmp_path: Path) -> None:
    """However many ask, each takes in a whole configuration."""
    async with opened(tmp_path, answering("old")) as service:
        write(tmp_path, answering("new"))
        await asyncio.gather(*[reload(service) for _ in range(5)])
        assert reply_in((await take(service, game(1))).body) == "new"


async def test_the_error_names_everything(tmp_path: Path) -> None:
    """All faults at once, as at a start."""
    async with opened(tmp_path, answering("old")) as service:
        raw = answering("{{ nobody }}")
        raw["sources"]["x"] = {"provider": "nobody", "tokens": ["a"]}
        write(tmp_path, raw)
        with pytest.raises(ConfigError) as caught:
            await reload(service)
        assert len(caught.value.faults) == 2


async def test_a_push_inside_a_commit_is_handled_before_its_plugin_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its handlers are in use from the moment it waits for the store."""
    log = tmp_path / "log"

    def plugin(name: str) -> dict[str, Any]:
        note = f"with open({str(log)!r}, 'a') as file:\n        file.write('{{}} {name}\\n')"
        return with_plugin(
            handler(
                f"def stop(context):\n    {note.format('stop')}\n"
                f"@on_message()\ndef later(event, context):\n    {note.format('later')}\n"
                f"@on_message(inline=True)\ndef once(event, context):\n    {note.format('once')}"
            )
        )

    async with opened(tmp_path, plugin("old")) as service:
        service.sending = None  # it would wait for the store, too
        write(tmp_path, plugin("new"))
        run = service.store.run
        # What a reload writes before it takes over would wait for the push.
        waiting = (deactivations.manage, service.store.membership.uses)

        async def unless_held(change: Any, *args: Any) -> Any:
            return None if change in waiting else await run(change, *args)

        monkeypatch.setattr(service.store, "run", unless_held)
        async with held(service.store):
            taking = asyncio.create_task(take(service, inbound(1)))
            await asyncio.sleep(0)  # it waits for the commit
            await reload(service)
            for _ in range(5):  # turns in which what retires the old one could go on
                await asyncio.sleep(0)
        await taking

        async def retired() -> bool:
            return not service.retiring

        await until_async(retired, "the old configuration let go of")
    assert log.read_text().splitlines() == ["once old", "later old", "stop old", "stop new"]


# Sending


TAKEN = json.dumps({"status_code": "1000", "status_desc": "Success", "message_id": "7"})


def sending_to(listener: Listener, key: str = "key", reply: str = "old") -> dict[str, Any]:
    """A configuration whose Tilil source sends to a listener."""
    raw = answering(reply)
    send = {"api_key": key, "sender": "SHOP", "url": listener.url, "connections": 2}
    raw["sources"]["tilil"]["send"] = send
    return raw


async def asked(service: Service, to: str) -> int:
    """A message that is to be sent; its id."""
    wish = Send(source="tilil", to=to, text="karibu")
    return await service.store.add_message(wish, service.intake.clock())


async def until_pushed(listener: Listener, requests: int) -> None:
    """Returns when so many requests have come."""

    async def there() -> bool:
        return len(listener.pushed) >= requests

    await until_async(there, f"{requests} requests")


async def until_sent(service: Service, message: int) -> None:
    """Returns when the message is sent; fails when it is anything else for good."""

    async def sent() -> bool:
        (found,) = await service.store.reader.messages.find(id_=message)
        assert found.state in ("waiting", "sending", "sent"), found
        return found.state == "sent"

    await until_async(sent, f"message {message} sent")


async def test_a_request_under_way_outlives_a_reload(tmp_path: Path) -> None:
    """Where the source is as it was, its connections go on, and so does what waits behind."""
    async with listening() as provider:
        provider.behaviour = lambda _: None
        async with opened(tmp_path, sending_to(provider)) as service:
            slow = await asked(service, "+254711000001")
            await until_pushed(provider, 1)
            assert service.sending is not None
            line = service.sending.lines["tilil"]
            write(tmp_path, sending_to(provider, reply="new"))
            await reload(service)
            assert service.sending.lines["tilil"] is line
            assert reply_in((await take(service, game(1))).body) == "new"
            provider.says(200, body=TAKEN)
            await until_sent(service, await asked(service, "+254711000002"))
            assert provider.under_way == 1
            provider.release()
            await until_sent(service, slow)
        assert len(provider.pushed) == 2


async def test_a_source_that_changes_ends_its_requests_first(tmp_path: Path) -> None:
    """The reload does not wait for them; what comes after leaves with the new key, behind them."""
    async with listening() as provider:
        provider.behaviour = lambda _: None
        async with opened(tmp_path, sending_to(provider, "old-key")) as service:
            slow = await asked(service, "+254711000001")
            await until_pushed(provider, 1)
            write(tmp_path, sending_to(provider, "new-key", "new"))
            await reload(service)
            assert reply_in((await take(service, game(1))).body) == "new"
            after = await asked(service, "+254711000001")
            provider.says(200, body=TAKEN)
            assert len(provider.pushed) == 1
            provider.release()
            await until_sent(service, slow)
            await until_sent(service, after)
        assert [json.loads(each.body)["api_key"] for each in provider.pushed] == [
            "old-key",
            "new-key",
        ]


async def test_a_source_that_is_gone_ends_its_requests(tmp_path: Path) -> None:
    """And is known no more; what waited for it is a dead letter."""
    async with listening() as provider:
        provider.behaviour = lambda _: None
        async with opened(tmp_path, sending_to(provider)) as service:
            slow = await asked(service, "+254711000001")
            await until_pushed(provider, 1)
            write(tmp_path, answering("new"))
            await reload(service)
            provider.says(200, body=TAKEN)
            provider.release()
            await until_sent(service, slow)
            assert service.sending is not None
            assert service.sending.lines == {}


# The real program


def test_signal_and_command(tmp_path: Path) -> None:
    """SIGHUP and `receiver reload` do the same, audited; faults go to the log and to the asker."""
    command = [*PROGRAM, "reload", "--config", str(tmp_path / "receiver.toml")]
    with serve(tmp_path, answering("one")) as running:
        assert reply_in(running.post(game(1)).body) == "one"
        write(tmp_path, answering("two"))
        running.process.send_signal(signal.SIGHUP)
        until(lambda: '"reloaded"' in running.log or "reloaded" in running.log, "a reload")
        assert reply_in(running.post(game(2)).body) == "two"
        write(tmp_path, answering("three"))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "reloaded\n")
        assert reply_in(running.post(game(3)).body) == "three"
        write(tmp_path, answering("{{ nobody }}"))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "unknown variable nobody" in done.stderr
        assert "nothing was changed" in done.stderr
        assert "not reloaded" in running.log
        assert reply_in(running.post(game(4)).body) == "three"
        running.process.send_signal(signal.SIGHUP)
        until(lambda: len(stored.acts(running.store)) == 4, "the last act")
    acts = stored.acts(running.store)
    assert {act.act for act in acts} == {"reload"}
    user = pwd.getpwuid(os.getuid()).pw_name
    assert [act.who for act in acts] == ["signal", user, user, "signal"]
    assert acts[3].details["failures"] == 1
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no service runs on" in done.stderr


def test_no_push_is_refused_or_answered_by_half_a_configuration(tmp_path: Path) -> None:
    """Under load, with the token and the rule changing together again and again.

    Whoever knows the token of one configuration is answered by its rule, or refused for the token
    of the other; never by the other's rule, never with an error.
    """
    tokens = {"one": "token-one-0123456789", "two": "token-two-0123456789"}

    def configuration(name: str) -> dict[str, Any]:
        source = {"provider": "tilil", "tokens": [tokens[name]]}
        return answering(name, sources={"tilil": source})

    stop = threading.Event()
    seen: Counter[tuple[str, int, str]] = Counter()

    async def push(port: int, worker: int) -> None:
        client, number = Client(port), 0
        while not stop.is_set():
            for name, token in tokens.items():
                number += 1
                body = game(worker * 1_000_000 + number, api_token=token)
                answer = await client.post(body)
                reply = reply_in(answer.body) if answer.status == 200 else ""
                seen[name, answer.status, reply] += 1
        client.close()

    async def pushing(port: int) -> None:
        await asyncio.gather(*[push(port, worker) for worker in range(8)])

    with serve(tmp_path, configuration("one")) as running:
        clients = threading.Thread(target=lambda: asyncio.run(pushing(running.port)))
        clients.start()
        for name in ("two", "one") * 10:
            write(tmp_path, configuration(name))
            program.told(tmp_path, "reload")
            answered = seen[name, 200, name]
            until(lambda: seen[name, 200, name] > answered, "an answer by the new rule")  # noqa: B023 - called at once
        stop.set()
        clients.join()
    assert set(seen) == {
        ("one", 200, "one"),
        ("two", 200, "two"),
        ("one", 401, ""),
        ("two", 401, ""),
    }
