"""The console shows a store in PostgreSQL as it shows one in SQLite."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from receiver import config
from receiver.console.accounts import open_accounts
from receiver.console.app import create_app
from receiver.console.desk import Desk
from receiver.console.roles import Role
from receiver.console.web import Console
from tests.cli.program import told
from tests.console.crawl import crawl
from tests.console.visiting import PASSWORD, Browser
from tests.harness import settings, write
from tests.postgresql.databases import Databases
from tests.store import everything

#: Lists of what is in the store, where the same rows must look the same.
_LISTS = r"/(events|messages|jobs|campaigns|quarantine|opt-outs|subscribers|audit)(\.csv)?"
#: What differs between two visits: tokens of forms, and the time.
_PASSING = re.compile(r'value="[0-9a-f]{20,}"|20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*')


async def shown(file: Path) -> dict[str, tuple[int, str]]:
    """Status and text of every page that an admin can open, by its address."""
    read = config.load(file)
    accounts = open_accounts(read)
    console = Console(desk=Desk(read), accounts=accounts, zone=read.console.timezone)
    accounts.add_user("admin", Role.ADMIN, PASSWORD, "test")
    browser = Browser(create_app(console))
    try:
        assert (await browser.log_in("admin")).status_code == 303
        return {
            _PASSING.sub("", path): (answer.status_code, _PASSING.sub("", answer.text))
            async for path, answer in crawl(browser)
        }
    finally:
        await console.desk.close()
        accounts.close()


@pytest.mark.slow
@pytest.mark.anyio
async def test_every_page_is_there_on_both_engines(tmp_path: Path, databases: Databases) -> None:
    """By the same address, with the same status; lists have the same rows."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    await everything._serve(here, "sqlite:receiver.db")
    with databases.nothing() as address:
        url = address.url.reveal()
        told(here, "migrate-store", "--to", url)
        write(there, settings(store={"url": url}))
        text = (here / "receiver.toml").read_text("utf-8")
        (there / "receiver.toml").write_text(text.replace("sqlite:receiver.db", url))
        expected, found = [await shown(folder / "receiver.toml") for folder in (here, there)]
    assert found.keys() == expected.keys()
    assert {path: found[path][0] for path in found} == {
        path: expected[path][0] for path in expected
    }
    lists = [path for path in found if re.fullmatch(_LISTS, path)]
    assert len(lists) > 8
    for path in lists:
        assert found[path] == expected[path], path
