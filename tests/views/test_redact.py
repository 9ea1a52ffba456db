"""What commands show holds no credential and no words of people, however old the row is."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from receiver.actions import Forward, Send
from receiver.config import parse
from receiver.store import Failure, HandlerActions, messages, open_store, quarantine, to_micros
from receiver.views.redact import redact_target, secrets_of
from tests.cli.program import told
from tests.harness import NOW, settings, write
from tests.store.rows import RAW as PUSH
from tests.store.rows import fail, intake

KEY = "key/of the-tests"
RAW = settings(
    sources={
        "tilil": {
            "provider": "tilil",
            "tokens": ["t" * 16],
            "send": {"api_key": KEY, "sender": "X"},
        }
    }
)
#: As a provider may say it, in its URL or its JSON.
ECHOED = [f"bad api_key {KEY}", "bad ?api_key=key/of%20the-tests", "key%2Fof+the-tests is bad"]


async def _fill(folder: Path) -> None:
    """A store of an earlier program: errors as they came."""
    async with open_store(folder / "receiver.db") as store:
        for said in ECHOED:
            message = await store.add_message(
                Send(source="tilil", to="+254726770792", text="x"), NOW
            )
            await store.run(messages.kill, message, to_micros(NOW), Failure(said))
        forward = Forward(url="https://hooks.example/in/path-secret?key=query-secret")
        await store.take(
            intake(
                store,
                1,
                handler_actions=[HandlerActions(handler="mine.forwards", actions=(forward,))],
            )
        )
        taken = await store.take(intake(store, 2, jobs=["mine.fails"]))
        assert taken.new
        for job in await store.reader.jobs():
            if job.handler == "mine.fails":
                await fail(store, job.id, None, "ValueError: no account of Achieng")
        await store.run(
            quarantine.add,
            source="tilil",
            authenticated=False,
            outcome="malformed",
            reason=f"expected a number, got {KEY!r}",
            received_at=NOW,
            client="127.0.0.1",
            request=PUSH,
            max_rows=10,
            max_bytes=1000,
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with such a store."""
    folder = tmp_path_factory.mktemp("redact")
    asyncio.run(_fill(folder))
    write(folder, RAW)
    return folder


@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["table", "json"])
@pytest.mark.parametrize("command", [["jobs"], ["messages"], ["messages", "1"], ["quarantine"]])
def test_no_secret_is_shown(place: Path, command: list[str], as_json: list[str]) -> None:
    """Of what a provider echoed, of a URL, of an exception's words."""
    shown = told(place, *command, *as_json)
    for secret in (KEY, "of the-tests", "of%20the-tests", "of+the-tests"):
        assert secret not in shown
    for words in ("path-secret", "query-secret", "Achieng"):
        assert words not in shown


def test_no_secret_is_shown_with_an_event(place: Path) -> None:
    """Its details tell of its jobs as `receiver jobs` does."""
    events = [json.loads(line)["id"] for line in told(place, "events", "--json").splitlines()]
    shown = "".join(told(place, "events", event) for event in events)
    assert "ValueError" in shown
    for words in ("path-secret", "query-secret", "Achieng"):
        assert words not in shown


def test_what_is_left_is_of_use(place: Path) -> None:
    """Which key is bad, where it was to go, what kind of error it was."""
    assert "bad api_key …" in told(place, "messages")
    jobs = told(place, "jobs")
    assert "hooks.example" in jobs
    assert "ValueError" in jobs


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("crm", "crm"),
        ("https://user:pass@crm.example:8443/in?k=v", "crm.example"),
        ("https://[::1/in", "…"),
        ("file:///secret", "…"),
    ],
)
def test_of_a_target_its_host_is_shown(target: str, shown: str) -> None:
    """Or its name."""
    assert redact_target(target) == shown


@pytest.mark.parametrize("url", ["me:hid%2Fden@db/sms", "me@db/sms?password=hid%2Fden"])
def test_the_password_in_the_address_of_a_store_is_a_credential(tmp_path: Path, url: str) -> None:
    """As the server takes it, and what is set beside the address as well."""
    url = f"postgresql://{url}"
    raw = settings(store={"url": url, "password": "beside it"})
    found = secrets_of(parse(raw, tmp_path / "receiver.toml"))
    assert {"hid/den", "beside it"} <= set(found)
