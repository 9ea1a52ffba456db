"""Strangers fill every field with the worst they have: nobody runs it, and viewers do not see it.

What is looked at is every page that somebody with a role can open, by following all links.
"""

from __future__ import annotations

import csv
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from receiver.console.roles import Role
from receiver.console.seen import seen_by
from tests.console import hostile
from tests.console.crawl import Parts, crawl
from tests.console.visiting import GETS, Visited, visited

pytestmark = pytest.mark.anyio

_E164 = re.compile(r"\+[0-9]{1,15}")


@asynccontextmanager
async def attacked(folder: Path) -> AsyncIterator[Visited]:
    """A console whose store holds what strangers sent."""
    await hostile.fill(folder)
    async with visited(folder) as there:
        await hostile.push(there.service)
        yield there


@pytest.mark.commit
async def test_viewers_see_no_number_and_no_text(tmp_path: Path) -> None:
    """On no page, in no file, and in no address that a page leads to."""
    async with attacked(tmp_path) as there:
        browser = await there.browser(Role.VIEWER)
        opened = []
        async for path, answer in crawl(browser):
            shown = Parts(answer.text).text if "html" in answer.headers["content-type"] else ""
            for text in (path, answer.text, shown):
                assert not hostile.shows_number(text), (path, text)
                assert hostile.SECRET_WORD not in text, (path, text)
            opened.append(urlsplit(path).path)
        for page in GETS:
            pattern = re.sub(r"{.*?}", "[^/]+", page.path)
            if page.role is Role.VIEWER and "{" in page.path:
                assert any(re.fullmatch(pattern, path) for path in opened), page.path


async def test_care_sees_them(tmp_path: Path) -> None:
    """So that the test above would see them, too."""
    async with attacked(tmp_path) as there:
        browser = await there.browser(Role.CARE)
        for path in ("/events", "/messages"):
            text = (await browser.get(path)).text
            assert hostile.shows_number(text)
            assert hostile.SECRET_WORD in text


@pytest.mark.commit
async def test_nothing_of_a_stranger_runs(tmp_path: Path) -> None:
    """Pages have no element, no attribute and no link but ours, whatever was pushed."""
    async with attacked(tmp_path) as there:
        browser = await there.browser(Role.ADMIN)
        found = 0
        async for path, answer in crawl(browser):
            assert answer.status_code < 500, path
            if "html" not in answer.headers["content-type"]:
                continue
            page = Parts(answer.text)
            found += hostile.TAG in page.text
            for tag, given in page.active:
                source = given.get("src", "/static/")
                assert tag in ("script", "meta", "img"), (path, tag, given)
                assert source.startswith("/static/"), (path, tag, given)
                assert tag != "script" or given.get("src"), (path, given)
            for tag, given in page.elements:
                assert not [name for name in given if name.startswith("on")], (path, tag, given)
                assert "style" not in given, (path, tag, given)
                for name in ("href", "src", "action", "formaction"):
                    target = given.get(name, "/")
                    assert re.match(r"#|/(?!/)", target), (path, tag, given)
            assert "\u202e" not in answer.text, path
        assert found > 10


async def test_files_run_nothing_in_a_spreadsheet(tmp_path: Path) -> None:
    """No cell of a CSV begins as a formula does; its name is ours."""
    async with attacked(tmp_path) as there:
        browser = await there.browser(Role.ADMIN)
        cells = 0
        for page in GETS:
            if not page.path.endswith(".csv"):
                continue
            answer = await browser.get(page.path)
            assert answer.headers["content-type"] == "text/csv; charset=utf-8"
            assert re.fullmatch(
                r'attachment; filename="[\w-]+\.csv"', answer.headers["content-disposition"]
            )
            for row in csv.reader(StringIO(answer.text)):
                for cell in row:
                    cells += 1
                    assert _E164.fullmatch(cell) or cell[:1] not in ("=", "+", "-", "@", "\t"), cell
        assert cells > 100


@pytest.mark.commit
@pytest.mark.parametrize(
    "value",
    [
        "*/*",
        "\r\nset-cookie: a=b",
        "<script>alert(1)</script>",
        "' OR 1=1 --",
        "+254793175666",
        "9" * 400,
        "\x00",
        "\ud800",
        "-1",
        "2026-13-45",
        "%",
    ],
)
async def test_nobody_can_break_a_page_by_its_address(tmp_path: Path, value: str) -> None:
    """Whatever a filter or an id says: no failure, no header and no element of theirs."""
    quoted = quote(value.encode("utf-8", "surrogatepass"))
    async with visited(tmp_path) as there:
        browser = await there.browser(Role.ADMIN)
        for page in GETS:
            path = re.sub(r"{.*?}", quoted, page.path)
            names = "type source msisdn since until skip done status state text by number q"
            for query in (f"{name}={quoted}" for name in names.split()):
                answer = await browser.get(f"{path}?{query}")
                assert answer.status_code < 500, (path, query)
                assert "set-cookie" not in answer.headers
                assert "<script>alert" not in answer.text


@pytest.mark.parametrize(
    "number",
    [
        "+254793175666",
        "254793175666",
        "0793175666",
        "0793 175 666",
        "0793-175-666",
        "(0793) 175666",
        "0793.175.666",
        "0793\u00a0175666",
        "0793/175/666",
    ],
)
def test_numbers_are_masked_however_they_are_written(number: str) -> None:
    """In any field, in the middle of other words, and in what is called ours."""
    for name in ("network", "to", "sender", "service_id", "who"):
        text = f"call {number} now"
        shown = seen_by(Role.VIEWER, {name: text})[name]
        assert not hostile.shows_number(shown), (name, shown)
        assert seen_by(Role.CARE, {name: text})[name] == text


@pytest.mark.parametrize(
    "word", ["0793175666", "QK12X34Y5", "M-PESA:QK7#20345", "PLEASE.CALL.ME.AT.HOME"]
)
def test_first_words_that_are_no_keywords_are_hidden(word: str) -> None:
    """Numbers, codes and texts without spaces; a keyword, also one with a digit or two, is not."""
    for record in ({"keyword": word}, {"data": {"keyword": word}}):
        assert word not in str(seen_by(Role.VIEWER, record))
    for shown in ("GAME", "B12", "WIN2026", None):
        assert seen_by(Role.VIEWER, {"keyword": shown}) == {"keyword": shown}


def test_ids_are_not_masked() -> None:
    """Links need them, and they are no numbers of people."""
    ids = {"id": "01a1f82f-1efb-7004-bad4-06bdaedbdc3f", "short_code": "22915", "service_id": "60"}
    assert seen_by(Role.VIEWER, ids) == ids
