"""The pages of the console, as somebody of a role sees them."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from html import unescape
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from starlette.requests import Request

import receiver.console
from receiver.console import lists, traffic
from receiver.console.access import Visitor
from receiver.console.app import create_app
from receiver.console.menu import MENU
from receiver.console.pages import PAGES
from receiver.console.roles import Role
from receiver.console.seen import HIDDEN
from receiver.console.web import Visit
from tests.console.api.calling import ANN, Caller, calling, fill
from tests.harness import TOKEN, inbound, subscription, take

_PASSWORD = "correct horse battery"
_VENDOR = Path(receiver.console.__file__).parent / "static" / "vendor"


class Reader:
    """Somebody who has logged in."""

    def __init__(self, caller: Caller, role: Role) -> None:
        accounts = caller.console.accounts
        accounts.add_user(role.word, role, _PASSWORD, "test")
        secret = accounts.log_in(role.word, _PASSWORD, "127.0.0.1")
        assert secret is not None
        self._token = Visitor(name=role.word, role=role, secret=secret).form_token
        self._client = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(create_app(caller.console)),
            base_url="http://localhost",
            cookies={"receiver": secret},
        )

    async def page(self, path: str, status: int = 200) -> str:
        """The text of a page."""
        found = await self._client.get(path)
        assert found.status_code == status, found.text
        return found.text

    async def post(self, path: str, **fields: str) -> httpx2.Response:
        """The answer to a form."""
        return await self._client.post(path, data={"form_token": self._token, **fields})


def run(folder: Path, steps: Callable[[Caller], Awaitable[None]]) -> None:
    """Does the steps at a console beside a service that took some pushes."""

    async def do() -> None:
        async with calling(folder) as caller:
            await fill(caller.service)
            await steps(caller)

    asyncio.run(do())


def rows(page: str) -> list[list[str]]:
    """The cells of the rows of a page's last table."""
    body = page.rpartition("<tbody>")[2]
    return [
        [unescape(re.sub(r"<[^>]*>", "", cell)).strip() for cell in row.split("</td>")[:-1]]
        for row in body.split("</tr>")[:-1]
    ]


def following(page: str) -> str | None:
    """The address of a list's next page."""
    found = re.search(r'href="([^"]*)" rel="next"', page)
    return unescape(found[1]) if found else None


async def send(caller: Caller, text: str) -> None:
    """Has a message sent, which nobody takes: it and its job stay."""
    body = {"to": ANN, "text": text, "source": "tilil"}
    answer = await caller.call(
        "POST", "/messages", role=Role.CARE, headers={"idempotency-key": text}, json=body
    )
    assert answer.is_success, answer.text


async def every_row(reader: Reader, path: str) -> list[list[str]]:
    """The rows of all pages of a list."""
    found: list[list[str]] = []
    for _ in range(30):
        page = await reader.page(path)
        found += rows(page) if "<tbody>" in page else []
        following_ = following(page)
        if following_ is None:
            return found
        path = following_
    raise AssertionError(f"the list does not end: {path}")


@pytest.mark.parametrize(
    "path", ["/events", "/jobs", "/quarantine", "/subscribers", "/subscribers/history"]
)
def test_pages_of_a_list_are_the_whole_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Whatever the order of a list is, its pages have each record once, in the same order."""

    async def steps(caller: Caller) -> None:
        for number in range(4):
            await take(caller.service, inbound(f"w{number}", f"word {number}"))
            await send(caller, f"word {number}")
        reader = Reader(caller, Role.OPERATOR)
        whole = [row[0] for row in await every_row(reader, path)]
        monkeypatch.setattr(lists, "PAGE", 1)
        assert [row[0] for row in await every_row(reader, path)] == whole

    run(tmp_path, steps)


def test_subscribers_go_on_after_the_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However far back a page is, it begins at the line before it, whose number nobody reads."""

    async def steps(caller: Caller) -> None:
        for number in range(3):
            joins = subscription("activation", "20261119100000", mobile=f"25471100000{number}")
            await take(caller.service, joins)
        monkeypatch.setattr(lists, "PAGE", 1)
        reader, path, seen = Reader(caller, Role.VIEWER), "/subscribers", 0
        while following_ := following(await reader.page(path)):
            path, seen = following_, seen + 1
            assert re.fullmatch(r"/subscribers\?place=\d{1,2}&skip=1", path)
        assert seen == 3
        assert "begin the list anew" in await reader.page("/subscribers?place=999", 400)

    run(tmp_path, steps)


def test_words_are_looked_for_a_stretch_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that found nothing in its stretch says so, and the next one goes on after it."""

    async def steps(caller: Caller) -> None:
        reader = Reader(caller, Role.CARE)
        for text in ("the needle", "hay", "more hay"):
            await send(caller, text)
        assert len(await every_row(reader, "/messages")) == 3
        monkeypatch.setattr(lists.ListPage.read, "__defaults__", (1,))
        first = await reader.page("/messages?words=NEEDLE")
        assert "Older ones may have it" in first
        [found] = await every_row(reader, "/messages?words=NEEDLE")
        assert "the needle" in found

    run(tmp_path, steps)


def test_each_entry_of_the_menu_is_a_page_of_its_role() -> None:
    """Nobody is led to a page that refuses them."""
    roles = {page.path: page.role for page in PAGES if page.method == "GET"}
    tabs = [tab for section in MENU for tab in section.tabs]
    assert {tab.path: tab.role for tab in tabs} == {tab.path: roles[tab.path] for tab in tabs}


def test_plots_hold_the_numbers_of_their_tables(tmp_path: Path) -> None:
    """Who sees no plot reads the same: each time with the value of each line."""

    async def steps(caller: Caller) -> None:
        page = await Reader(caller, Role.VIEWER).page("/subscribers/growth")
        found = re.search(r'data-plot="([^"]*)"', page)
        assert found is not None
        drawn = msgspec.json.decode(unescape(found[1]))
        values = [line["values"] for line in drawn["lines"]]
        table = page.partition("<figure")[2].partition("</figure>")[0]
        told = [[float(cell) for cell in row[1:]] for row in rows(table)]
        assert told == [list(each) for each in zip(*values, strict=True)][::-1]
        assert told == [[0, 1], [1, 0]]

    run(tmp_path, steps)


def test_an_event_says_why_no_rule_answers(tmp_path: Path) -> None:
    """Care sees the rules' verdicts; a viewer, who may see no texts, does not."""

    async def steps(caller: Caller) -> None:
        care = await Reader(caller, Role.CARE).page("/events?type=sms.message.received")
        link = re.findall(r'href="(/events/[^"/]*)"', care)[-1]
        assert "rules of today" in await Reader(caller, Role.OPERATOR).page(link)
        assert "rules of today" not in await Reader(caller, Role.VIEWER).page(link)

    run(tmp_path, steps)


def test_the_raw_request_is_shown_without_our_token(tmp_path: Path) -> None:
    """An operator sees the request as it came, but no credential of the configuration."""

    async def steps(caller: Caller) -> None:
        page = await Reader(caller, Role.OPERATOR).page("/events?type=sms.message.received")
        link = re.findall(r'href="(/events/[^"/]*)"', page)[-1]
        shown = await Reader(caller, Role.ADMIN).page(link)
        assert "api_token" in shown
        assert TOKEN not in shown

    run(tmp_path, steps)


def test_a_token_is_shown_once_and_opens_the_api(tmp_path: Path) -> None:
    """The page after adding it has its secret; the list does not."""

    async def steps(caller: Caller) -> None:
        admin = Reader(caller, Role.ADMIN)
        answer = await admin.post("/tokens", name="crm", role="viewer")
        found = re.search(r"rcv_[\w-]+", answer.text)
        assert found is not None
        caller.tokens[Role.VIEWER] = found[0]
        assert await caller.get("/events", Role.VIEWER)
        assert found[0] not in await admin.page("/tokens")

    run(tmp_path, steps)


def test_another_role_holds_from_the_next_page_on(tmp_path: Path) -> None:
    """An admin makes a viewer an operator and back; the session of the viewer goes on."""

    async def steps(caller: Caller) -> None:
        admin, viewer = Reader(caller, Role.ADMIN), Reader(caller, Role.VIEWER)
        await viewer.page("/audit", 403)
        await admin.post("/users/viewer/role", role="operator")
        await viewer.page("/audit")
        await admin.post("/users/viewer/role", role="viewer")
        await viewer.page("/audit", 403)

    run(tmp_path, steps)


def test_the_live_tail_sends_what_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New events come once each, masked as the role is, with the number to go on after."""

    async def steps(caller: Caller) -> None:
        monkeypatch.setattr(traffic, "_POLL", 0)
        monkeypatch.setattr(traffic, "_LOOKS", 2)
        async with caller.console.desk.reader() as reader:
            after = await reader.last_seq()
        await take(caller.service, inbound("live", "a secret"))
        visitor = Visitor(name="vera", role=Role.VIEWER)
        scope: dict[str, Any] = {"type": "http", "headers": [], "query_string": b"", "path": "/"}
        visit = Visit(console=caller.console, request=Request(scope), visitor=visitor)
        sent = [part async for part in traffic.tail(visit, {}, after)]
        [row] = [part for part in sent if "data: " in part]
        seq = int(row.partition("\n")[0].removeprefix("id: "))
        assert seq > after
        assert [part for part in sent if part.startswith(f"id: {seq}\n:")]
        assert "a secret" not in row
        assert ANN not in row
        assert HIDDEN in row

    run(tmp_path, steps)


def test_a_broken_configuration_is_a_finding(tmp_path: Path) -> None:
    """The overview still shows its numbers when the file cannot be read any more."""

    async def steps(caller: Caller) -> None:
        caller.console.desk.settings.file.write_text("[", "utf-8")
        while await caller.console.desk.prepared.examined() is None:
            pass  # it waits a moment each time
        page = await Reader(caller, Role.OPERATOR).page("/")
        assert "the configuration cannot be used" in page
        assert "dead letters" in page

    run(tmp_path, steps)


def test_what_is_vendored_is_what_was_published() -> None:
    """Nobody has changed a file of others, and each comes with its licence."""
    lines = (_VENDOR / "SHA256SUMS").read_text("utf-8").splitlines()
    sums = {name: digest for digest, name in (line.split() for line in lines)}
    files = [each for each in _VENDOR.glob("*/*") if each.is_file()]
    found = {
        str(each.relative_to(_VENDOR)): hashlib.sha256(each.read_bytes()).hexdigest()
        for each in files
    }
    assert found == sums
    assert {each.parent for each in files} == {
        each.parent for each in files if each.name == "LICENSE"
    }
