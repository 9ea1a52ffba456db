"""Campaigns, the log of logins, people of whom nothing is stored, and the preview of rules."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from receiver.console import lists
from receiver.console.roles import Role
from receiver.outgoing import Schedule
from receiver.store import Store, campaigns, to_micros
from receiver.store.campaigns import Person
from receiver.store.jobs import by_operator
from receiver.store.tx import Tx
from tests.console.api.calling import ANN, BEN
from tests.console.visiting import Browser, visited
from tests.harness import inbound, take

pytestmark = pytest.mark.anyio

NOBODY = "+254799000000"
START = datetime(2036, 1, 1, tzinfo=UTC)


async def campaign(store: Store, text: str = "Sale") -> int:
    """A campaign to two people, which begins in some years."""
    now = datetime.now(UTC)

    def make(tx: Tx) -> int:
        id_ = campaigns.create(tx, by_operator(now), "operator", "tilil", Schedule(start_at=START))
        campaigns.add(tx, id_, [Person(ANN, text), Person(BEN, text)], to_micros(now))
        campaigns.change(tx, id_, "start", to_micros(now))
        return id_

    return await store.run(make)


async def every_row(browser: Browser, path: str) -> list[list[str]]:
    """The cells of all pages of a list."""
    found = []
    while path:
        page = (await browser.get(path)).text
        found += [
            re.findall(r"<td[^>]*>(?:<[^>]*>)*([^<]*)", row)
            for row in page.partition("<tbody>")[2].split("</tr>")[:-1]
        ]
        path = "".join(re.findall(r'href="([^"]*)" rel="next"', page)).replace("&amp;", "&")
    return found


async def shown(browser: Browser, path: str) -> str:
    """The text of a page."""
    found = await browser.get(path)
    assert found.status_code == 200, found.text
    return re.sub(r"<[^>]*>|\s+", " ", found.text)


async def test_a_campaign_is_paused_resumed_and_cancelled(tmp_path: Path) -> None:
    """By an operator, as far as its state allows; care sees it, without a button."""
    async with visited(tmp_path) as there:
        id_ = await campaign(there.service.store)
        path = f"/campaigns/{id_}"
        browser, care = await there.browser(Role.OPERATOR), await there.browser(Role.CARE)
        assert f'href="{path}"' in (await browser.get("/campaigns")).text
        for act, state, acts in (
            ("pause", "paused", ["resume", "cancel"]),
            ("resume", "running", ["pause", "cancel"]),
            ("cancel", "cancelled", []),
        ):
            done = await browser.post(f"{path}/{act}")
            assert done.status_code == 303
            page = (await browser.get(done.headers["location"])).text
            assert 'role="status"' in page
            assert f"<dd>{state}</dd>" in page
            assert re.findall(rf'action="{path}/(\w+)"', page) == acts
            assert f'action="{path}' not in (await care.get(path)).text
        assert (await browser.post(f"{path}/resume")).status_code == 409
        assert (await browser.post("/campaigns/4711/pause")).status_code == 409


async def test_a_campaign_leads_to_its_messages_and_they_to_it(tmp_path: Path) -> None:
    """Of this campaign alone."""
    async with visited(tmp_path) as there:
        first = await campaign(there.service.store, "Sale")
        await campaign(there.service.store, "Another")
        browser = await there.browser(Role.CARE)
        page = (await browser.get(f"/campaigns/{first}")).text
        assert f'href="/messages?campaign={first}"' in page
        assert 'max="2"' in page
        listed = (await browser.get(f"/messages?campaign={first}")).text
        assert listed.count(">Sale<") == 2
        assert "Another" not in listed
        [link, *_] = re.findall(r'href="(/messages/\d+)"', listed)
        assert f'href="/campaigns/{first}"' in (await browser.get(link)).text


async def test_campaigns_and_the_log_have_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next page goes on after the last record, the newest first."""
    async with visited(tmp_path) as there:
        made = [await campaign(there.service.store) for _ in range(3)]
        browser = await there.browser(Role.ADMIN)
        monkeypatch.setattr(lists, "PAGE", 2)
        page = (await browser.get("/campaigns")).text
        assert re.findall(r'href="/campaigns/(\d+)"', page) == [str(made[2]), str(made[1])]
        [after] = re.findall(r'href="([^"]*)" rel="next"', page)
        page = (await browser.get(after.replace("&amp;", "&"))).text
        assert re.findall(r'href="/campaigns/(\d+)"', page) == [str(made[0])]
        first, *rest = await every_row(browser, "/users/log")
        assert first[2] == "login"
        assert rest[-1][2:] == ["token added", "token viewer, role viewer"]
        assert len(rest) == 5


async def test_the_log_has_logins_and_who_changed_users(tmp_path: Path) -> None:
    """Refused logins with their address, too; none of it for others than admins."""
    async with visited(tmp_path) as there:
        browser = await there.browser(Role.ADMIN)
        await there.stranger("203.0.113.7").log_in("mallory", "wrong")
        await browser.post("/tokens", {"name": "crm", "role": "viewer"})
        text = await shown(browser, "/users/log")
        assert re.search(r"admin +token added +token crm, role viewer", text)
        assert re.search(r"mallory +login refused +address 203.0.113.7", text)
        assert (await there.stranger().get("/users/log")).status_code == 303
        operator = await there.browser(Role.OPERATOR)
        assert (await operator.get("/users/log")).status_code == 403


async def test_a_number_of_which_nothing_is_stored_has_its_page(tmp_path: Path) -> None:
    """It says so, and can be sent to and opted out; there is nothing to forget."""
    async with visited(tmp_path) as there:
        browser = await there.browser(Role.OPERATOR)
        for number in (NOBODY, "0799000000"):
            page = (await browser.get(f"/persons/{number}")).text
            assert "Nothing is stored about this number" in page
            acts = re.findall(r'action="/persons/%2B254799000000/([\w-]+)"', page)
            assert acts == ["messages", "opt-out"]
        assert (await browser.post(f"/persons/{NOBODY}/opt-out")).status_code == 303
        assert "Opted out: nothing is sent." in await shown(browser, f"/persons/{NOBODY}")
        assert (await browser.get("/persons/nonsense")).status_code == 400


async def test_a_number_is_found_however_the_address_has_it(tmp_path: Path) -> None:
    """Who types an address by hand sees what is stored, too."""
    async with visited(tmp_path) as there:
        await take(there.service, inbound(1, "hello there"))
        browser = await there.browser(Role.CARE)
        assert "hello there" in await shown(browser, "/persons/0726770792")


async def test_changed_rules_are_put_to_stored_messages(tmp_path: Path) -> None:
    """Those of the file as it is now: what was answered otherwise is shown, and nothing happens."""
    async with visited(tmp_path) as there:
        await take(there.service, inbound(1, "NEWWORD"))
        await take(there.service, inbound(2, "hello"))
        browser = await there.browser(Role.CARE)
        assert "What would differ" not in await shown(browser, "/keywords/preview")
        since = (there.service.intake.clock() - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%MZ")
        path = f"/keywords/preview?since={since}"
        assert "2 events: 2 as then" in await shown(browser, path)
        file = tmp_path / "receiver.toml"
        rule = '"rules" = [{ keyword = "NEWWORD", reply = "A new answer" }, '
        file.write_text(file.read_text("utf-8").replace('"rules" = [', rule), "utf-8")
        text = await shown(browser, path)
        assert "2 events: 1 as then, 1 different" in text
        assert "A new answer" in text
        file.write_text("[", "utf-8")
        assert (await browser.get(path)).status_code == 409
