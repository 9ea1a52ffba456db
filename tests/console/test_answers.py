"""The answers of the console: headers, methods, forms that are none, and failures."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from receiver import config
from receiver.console.app import create_app
from receiver.console.desk import Desk
from receiver.console.roles import Role
from receiver.console.web import HEADERS, Console
from receiver.errors import StoreError
from receiver.service import users
from tests import stored
from tests.console.api.calling import accounts
from tests.console.visiting import GETS, PASSWORD, POSTS, Browser, Visited, any_path, visited
from tests.harness import inbound, opened, take

pytestmark = pytest.mark.anyio

PERSON = "+254726770792"


def check(answer: Any) -> None:
    """Every answer has the headers, and none tells of the program's insides."""
    for name, value in HEADERS.items():
        assert name in answer.headers
        if name != "cache-control":
            assert answer.headers[name] == value
    assert not {"server", "x-powered-by"} & set(answer.headers)
    assert "Traceback" not in answer.text
    assert "/site-packages/" not in answer.text


async def test_every_answer_has_the_headers(tmp_path: Path) -> None:
    """Also those that no page makes: unknown paths, other methods, static files, the API's."""
    async with visited(tmp_path) as there:
        for browser in (there.stranger(), await there.browser(Role.ADMIN)):
            for path in ("/login", "/nowhere", "/static/console.css", "/static/none", "/healthz"):
                check(await browser.get(path))
            check(await browser.get("/api/v1/messages"))
            check(await browser.ask("DELETE", "/events"))
            for page in GETS:
                check(await browser.get(any_path(page)))
            for page in POSTS:
                check(await browser.post(any_path(page)))


async def test_a_failure_of_ours_tells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page says that something is wrong, and has all headers."""
    async with visited(tmp_path) as there:
        browser = await there.browser(Role.ADMIN)

        def fail() -> None:
            raise RuntimeError("secret insides")

        monkeypatch.setattr(there.console.desk, "reader", fail)
        found = await browser.get("/events")
        check(found)
        assert found.status_code == 500
        assert "secret insides" not in found.text
        assert "<h1>" in found.text


async def test_methods_are_those_of_the_pages(tmp_path: Path) -> None:
    """HEAD is GET without a body; a page changes nothing by GET; others are refused."""
    async with visited(tmp_path) as there:
        browser = await there.browser(Role.ADMIN)
        also = {page.path for page in POSTS} & {page.path for page in GETS}
        for page in GETS:
            found = await browser.ask("HEAD", any_path(page))
            assert not found.content
            assert found.status_code != 405
            for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
                found = await browser.ask(method, any_path(page))
                assert found.status_code == 405, (method, page.path)
                assert "GET" in found.headers["allow"]
            if page.path not in also:
                assert (await browser.post(any_path(page))).status_code == 405, page.path
        for page in POSTS:
            if page.path not in also:
                for method in ("GET", "HEAD"):
                    # The path may also be that of a page about one thing.
                    found = await browser.ask(method, any_path(page))
                    assert found.status_code in (404, 405), page.path


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/app.py",
        "/static/%2e%2e%2f%2e%2e%2f__init__.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/..\\app.py",
        "/static/console.css%00.py",
        "/static/",
        "/static",
    ],
)
async def test_static_files_are_those_of_one_folder(tmp_path: Path, path: str) -> None:
    """No path leads out of it, and none lists it."""
    async with visited(tmp_path) as there:
        found = await raw(there, path)
        assert found[0] in (400, 404, 405)
        assert b"import" not in found[1]
        assert b"root:" not in found[1]


async def raw(there: Visited, target: str) -> tuple[int, bytes]:
    """The answer to a path that no client makes better."""
    answers: list[Any] = []
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": unquote(target),
        "raw_path": target.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        answers.append(message)

    await there.app(scope, receive, send)
    return answers[0]["status"], b"".join(each.get("body", b"") for each in answers[1:])


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/x-www-form-urlencoded", b"a=" + b"x" * 70_000, 413),
        ("application/x-www-form-urlencoded", b"&".join([b"a=b"] * 60), 400),
        ("application/x-www-form-urlencoded", b"%ff=%fe&\xff\xfe=1&a", 403),
        ("application/x-www-form-urlencoded; charset=utf-16", "form_token=1".encode("utf-16"), 403),
        ("application/x-www-form-urlencoded", b"form_token=%00&form_token=x", 403),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; ", 415),
        ("multipart/form-data", b"--x", 415),
        ("application/json", b'{"form_token": "x"}', 415),
        ("", b"form_token=x", 415),
        ("", b"", 403),
    ],
)
async def test_what_is_no_form_of_ours_is_refused(
    tmp_path: Path, kind: str, body: bytes, status: int
) -> None:
    """By the pages, the login and the logout alike, with a page that says why."""
    async with visited(tmp_path) as there:
        browser = await there.browser(Role.ADMIN)
        headers = {"content-type": kind, "sec-fetch-site": "same-origin"}
        for page in POSTS:
            found = await browser.ask("POST", any_path(page), content=body, headers=headers)
            assert found.status_code == status, page.path
            check(found)
        found = await browser.ask("POST", "/logout", content=body, headers=headers)
        assert found.status_code == status
        found = await there.stranger().ask("POST", "/login", content=body, headers=headers)
        assert found.status_code == (401 if status == 403 else status)


async def test_a_stranger_costs_no_memory(tmp_path: Path) -> None:
    """A form is not read beyond what a form may hold."""
    async with visited(tmp_path) as there:
        sent = []

        async def endless() -> Any:
            for _ in range(1000):
                sent.append(1)
                yield b"x" * 10_000

        headers = {
            "content-type": "application/x-www-form-urlencoded",
            "sec-fetch-site": "same-origin",
        }
        found = await there.stranger().ask("POST", "/login", content=endless(), headers=headers)
        assert found.status_code == 413


async def test_forms_do_what_they_say(tmp_path: Path) -> None:
    """Through the socket of a real service, under the name of the person who asked."""
    async with visited(tmp_path) as there:
        await take(there.service, inbound(1))
        browser = await there.browser(Role.OPERATOR)
        page = f"/persons/{PERSON}"
        found = await browser.post(f"{page}/messages", {"text": "hello ü", "source": "tilil"})
        assert found.headers["location"].startswith("/persons/%2B254726770792?done=")
        (sent,) = stored.messages(tmp_path / "receiver.db")
        assert (sent.to, sent.text) == (PERSON, "hello ü")
        await browser.post(f"{page}/opt-out")
        (out,) = stored.opt_outs(tmp_path / "receiver.db")
        assert out.msisdn == PERSON
        await browser.post(f"{page}/opt-in")
        assert not stored.opt_outs(tmp_path / "receiver.db")
        wrong = await browser.post(f"{page}/forget", {"again": "+254711000222"})
        assert wrong.status_code == 400
        assert stored.messages(tmp_path / "receiver.db")
        found = await browser.post(f"{page}/forget", {"again": "0726770792"})
        assert found.headers["location"] == "/events?done=forgotten"
        assert not stored.messages(tmp_path / "receiver.db")
        assert {act.who for act in stored.acts(tmp_path / "receiver.db")} == {
            f"{users.caller()} for operator"
        }


async def test_without_the_service_pages_go_on(tmp_path: Path) -> None:
    """What changes something says that the service does not run, with 503."""
    async with visited(tmp_path, listening=False) as there:
        await take(there.service, inbound(1))
        browser = await there.browser(Role.OPERATOR)
        assert (await browser.get("/events")).status_code == 200
        found = await browser.post(f"/persons/{PERSON}/opt-out")
        assert found.status_code == 503
        assert "service does not run" in found.text


async def test_pages_cannot_write(tmp_path: Path) -> None:
    """The connections that they read by are read-only in SQLite itself."""
    async with visited(tmp_path) as there, there.console.desk.reader() as reader:
        with pytest.raises(StoreError, match="readonly database"):
            await reader._fetch("DELETE FROM events")


async def test_a_store_that_is_gone_is_told(tmp_path: Path) -> None:
    """Pages answer 503 and say which file it is; they work again once it is back."""
    async with visited(tmp_path) as there:
        browser = await there.browser(Role.ADMIN)
        assert (await browser.get("/events")).status_code == 200
        away = (tmp_path / "receiver.db").rename(tmp_path / "away")
        found = await browser.get("/events")
        check(found)
        assert found.status_code == 503
        assert "receiver.db" in found.text
        away.rename(tmp_path / "receiver.db")
        assert (await browser.get("/events")).status_code == 200


async def test_a_store_that_was_restored_is_read(tmp_path: Path) -> None:
    """The console that runs meanwhile shows the new one."""
    (tmp_path / "backup").mkdir()
    async with opened(tmp_path / "backup") as service:
        await take(service, inbound(1, "from the backup"))
    async with visited(tmp_path) as there:
        browser = await there.browser(Role.ADMIN)
        assert "from the backup" not in (await browser.get("/events")).text
        (tmp_path / "backup" / "receiver.db").rename(tmp_path / "receiver.db")
        assert "from the backup" in (await browser.get("/events")).text


@pytest.mark.parametrize("change", [stored.set_schema, stored.set_application])
async def test_a_store_that_cannot_be_read_is_told(
    tmp_path: Path, change: Callable[[Path, int], None]
) -> None:
    """From a newer program, or not a store at all: 503 and the reason."""
    async with opened(tmp_path):
        pass
    change(tmp_path / "receiver.db", 999)
    with accounts(tmp_path) as kept:
        console = Console(desk=Desk(config.load(tmp_path / "receiver.toml")), accounts=kept)
        kept.add_user("ann", Role.ADMIN, PASSWORD, "test")
        browser = Browser(create_app(console))
        await browser.log_in("ann")
        found = await browser.get("/events")
        check(found)
        assert found.status_code == 503
        await console.desk.close()


async def test_accounts_that_are_locked_are_told(tmp_path: Path) -> None:
    """Another process that writes to them for long makes a login wait, and then fail with 503."""
    async with visited(tmp_path) as there:
        await there.browser(Role.CARE)
        there.console.accounts._db.execute("PRAGMA busy_timeout = 1")
        with closing(sqlite3.connect(there.console.accounts.path)) as other:
            other.execute("BEGIN IMMEDIATE")
            found = await there.stranger().log_in("care")
        check(found)
        assert found.status_code == 503
        assert (await there.stranger().log_in("care")).status_code == 303
