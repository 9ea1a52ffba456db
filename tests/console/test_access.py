"""Who may open which page: by role, by session, and with forms of ours only."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlsplit

import argon2
import pytest

from receiver.console import accounts, login
from receiver.console.accounts import IDLE, LONGEST
from receiver.console.roles import Role
from receiver.errors import Failed
from receiver.events import utc_now
from tests.console.visiting import GETS, PASSWORD, POSTS, any_path, visited
from tests.harness import Clock

pytestmark = pytest.mark.anyio

OUTSIDE = "203.0.113.7"


async def test_every_page_refuses_lower_roles(tmp_path: Path) -> None:
    """By the table of pages: 403 below a page's role, and something else from it on."""
    async with visited(tmp_path) as there:
        for role in Role:
            browser = await there.browser(role)
            for page in GETS:
                found = await browser.get(any_path(page))
                assert (found.status_code == 403) == (role < page.role), (page.path, role)
                assert found.status_code < 500, (page.path, role)
            for page in POSTS:
                if role < page.role:
                    found = await browser.post(any_path(page))
                    assert found.status_code == 403, (page.path, role)


async def test_no_change_happens_for_a_role_that_may_not_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service is not even asked."""
    async with visited(tmp_path) as there:
        orders: list[object] = []

        async def order(command: object, by: str) -> None:
            orders.append(command)

        for role in Role:
            browser = await there.browser(role)
            monkeypatch.setattr(there.console.desk, "order", order)
            for page in POSTS:
                if role < page.role:
                    await browser.post(any_path(page), {"text": "x", "again": "+254793175666"})
        assert not orders


async def test_strangers_are_sent_to_the_login(tmp_path: Path) -> None:
    """Every page does it, and goes on with itself afterwards; forms go on with the first page."""
    async with visited(tmp_path) as there:
        stranger = there.stranger()
        for page in (*GETS, *POSTS):
            path = f"{any_path(page)}?since=2h"
            found = await stranger.ask(page.method, path)
            where = urlsplit(found.headers["location"])
            assert (found.status_code, where.path) == (303, "/login"), page.path
            wanted = path if page.method == "GET" else "/"
            assert parse_qs(where.query) == {"next": [wanted]}, page.path


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "", "origin": "http://localhost"},
        {"origin": "https://evil.example"},
        {"origin": "http://localhost.evil.example"},
        {"origin": "http://evil.example/localhost"},
        {"origin": "http://["},
        {"origin": "null"},
    ],
)
async def test_a_form_of_another_site_does_nothing(tmp_path: Path, headers: dict[str, str]) -> None:
    """Even with the token: for pages, for the login and for the logout."""
    async with visited(tmp_path) as there:
        browser = await there.browser(Role.ADMIN)
        data = {"form_token": await browser.form_token()}
        for page in POSTS:
            found = await browser.ask("POST", any_path(page), data=data, headers=headers)
            assert found.status_code == 403, page.path
        found = await browser.ask("POST", "/logout", data=data, headers=headers)
        assert found.status_code == 403
        assert (await browser.get("/events")).status_code == 200
        form = {"name": "admin", "password": PASSWORD}
        found = await there.stranger().ask("POST", "/login", data=form, headers=headers)
        assert (found.status_code, "set-cookie" in found.headers) == (403, False)


async def test_a_form_needs_the_token_of_its_session(tmp_path: Path) -> None:
    """None, another session's and a changed one are refused, whatever the browser says."""
    async with visited(tmp_path) as there:
        browser, other = await there.browser(Role.ADMIN), await there.browser(Role.CARE)
        own, others = await browser.form_token(), await other.form_token()
        for token in ("", others, own[:-1], f"{own}0", "ü"):
            for page in POSTS:
                found = await browser.post(any_path(page), {"form_token": token})
                assert found.status_code == 403, (page.path, token)
            assert (await browser.post("/logout", {"form_token": token})).status_code == 403
        assert (await browser.post("/logout", {"form_token": own})).status_code == 303


async def test_a_login_has_a_new_secret(tmp_path: Path) -> None:
    """A secret that somebody else chose for the browser opens nothing, before and after."""
    async with visited(tmp_path) as there:
        await there.browser(Role.CARE)
        victim = there.stranger()
        victim.cookies.set("receiver", "chosen", domain="localhost.local", path="/")
        found = await victim.log_in("care")
        fresh = found.cookies["receiver"]
        assert fresh != "chosen"
        assert len(fresh) >= 43
        again = await there.stranger().log_in("care")
        assert again.cookies["receiver"] != fresh
        attacker = there.stranger()
        found = await attacker.get("/events", cookie="receiver=chosen")
        assert found.headers["location"].startswith("/login")


async def test_logging_out_ends_the_session_for_good(tmp_path: Path) -> None:
    """A copy of the cookie opens nothing any more."""
    async with visited(tmp_path) as there:
        browser = await there.browser(Role.CARE)
        cookie = f"receiver={browser.cookies['receiver']}"
        assert (await there.stranger().get("/events", cookie=cookie)).status_code == 200
        assert (await browser.post("/logout")).headers["location"] == "/login"
        assert "receiver" not in browser.cookies
        assert (await there.stranger().get("/events", cookie=cookie)).status_code == 303


async def test_sessions_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half an hour after the last request, and half a day after the login in any case."""
    clock = Clock(utc_now())
    monkeypatch.setattr(accounts, "utc_now", clock)
    async with visited(tmp_path) as there:
        browser = await there.browser(Role.CARE)
        clock.move(seconds=IDLE.total_seconds() - 1)
        assert (await browser.get("/events")).status_code == 200
        clock.move(seconds=IDLE.total_seconds() + 1)
        assert (await browser.get("/events")).status_code == 303
        browser = await there.browser(Role.CARE)
        for _ in range(LONGEST // timedelta(minutes=20) - 1):
            clock.move(minutes=20)
            assert (await browser.get("/events")).status_code == 200
        clock.move(minutes=20)
        assert (await browser.get("/events")).status_code == 303


async def test_a_new_password_ends_sessions(tmp_path: Path) -> None:
    """So does another role, and the end of the user."""
    async with visited(tmp_path) as there:
        kept = there.console.accounts
        ends: tuple[Callable[[], None], ...] = (
            lambda: kept.add_user("care", Role.CARE, "another password", "test"),
            lambda: kept.add_user("care", Role.VIEWER, PASSWORD, "test"),
            lambda: kept.end_sessions("care", "test"),
            lambda: kept.remove_user("care", "test"),
        )
        for end in ends:
            browser = await there.browser(Role.CARE)
            end()
            assert (await browser.get("/events")).status_code == 303


async def test_wrong_tries_are_limited_by_address(tmp_path: Path) -> None:
    """Whichever names are tried; others may still log in, with the same name, too."""
    async with visited(tmp_path) as there:
        await there.browser(Role.CARE)
        attacker = there.stranger(OUTSIDE)
        for number in range(login._OF_ADDRESS):
            name = "care" if number % 2 else f"nobody {number}"
            assert (await attacker.log_in(name, "wrong")).status_code == 401
        assert (await attacker.log_in("care")).status_code == 429
        for _ in range(100):  # they count for the address alone
            await attacker.log_in("care", "wrong")
        assert (await there.stranger().log_in("care")).status_code == 303


async def test_wrong_tries_are_limited_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From however many addresses; after a minute there are more."""
    clock = Clock(utc_now())
    monkeypatch.setattr(login, "utc_now", clock)
    async with visited(tmp_path) as there:
        await there.browser(Role.CARE)
        for number in range(login._OF_NAME):
            found = await there.stranger(f"203.0.113.{number}").log_in("care", "wrong")
            assert found.status_code == 401
        assert (await there.stranger("203.0.113.99").log_in("care")).status_code == 429
        clock.move(minutes=1)
        assert (await there.stranger("203.0.113.99").log_in("care")).status_code == 303


async def test_right_logins_are_not_counted(tmp_path: Path) -> None:
    """An office behind one address may begin its day at once."""
    async with visited(tmp_path) as there:
        await there.browser(Role.CARE)
        for _ in range(3 * login._OF_NAME):
            assert (await there.stranger(OUTSIDE).log_in("care")).status_code == 303


async def test_addresses_of_one_network_count_together(tmp_path: Path) -> None:
    """A customer has 2**64 addresses of IPv6."""
    async with visited(tmp_path) as there:
        for number in range(login._OF_ADDRESS):
            found = await there.stranger(f"2001:db8::{number}").log_in(f"nobody {number}", "wrong")
            assert found.status_code == 401
        assert (await there.stranger("2001:db8::99").log_in("x", "wrong")).status_code == 429
        assert (await there.stranger("2001:db8:1::1").log_in("x", "wrong")).status_code == 401


async def test_few_passwords_are_checked_at_once(tmp_path: Path) -> None:
    """Each takes 64 MiB."""
    async with visited(tmp_path) as there:
        assert login.Login(there.console)._checking.total_tokens == login._AT_ONCE


async def test_proxies_tell_the_address(tmp_path: Path) -> None:
    """Those of server.trusted_proxies only; the audit has the address, and tries count for it."""
    async with visited(tmp_path) as there:
        await there.browser(Role.CARE)
        by_proxy = there.stranger("127.0.0.1", "http://console.example")
        for number in range(login._OF_ADDRESS + 1):
            told = {"x-forwarded-for": f"10.9.9.{number}, {OUTSIDE}"}
            found = await by_proxy.log_in("x", "wrong", headers=told)
        assert found.status_code == 429
        assert there.console.accounts.acts(1)[0].details == {"address": OUTSIDE}
        liar = there.stranger("198.51.100.1", "http://console.example")
        await liar.log_in("x", "wrong", headers={"x-forwarded-for": "10.1.1.1"})
        assert there.console.accounts.acts(1)[0].details == {"address": "198.51.100.1"}


@pytest.mark.parametrize(
    ("address", "base", "headers", "secure"),
    [
        ("127.0.0.1", "http://localhost", {}, False),
        ("127.0.0.1", "http://127.0.0.1:8082", {}, False),
        ("::1", "http://[::1]:8082", {}, False),
        ("127.0.0.1", "http://console.example", {}, True),
        (OUTSIDE, "http://localhost", {}, True),
        ("127.0.0.1", "http://localhost", {"x-forwarded-for": OUTSIDE}, True),
        ("127.0.0.1", "http://localhost", {"x-forwarded-proto": "https"}, True),
        (OUTSIDE, "http://console.example", {"x-forwarded-proto": "http"}, True),
    ],
)
async def test_cookies_are_secure_but_on_this_machine(
    tmp_path: Path, address: str, base: str, headers: dict[str, str], secure: bool
) -> None:
    """`__Host-`, Secure, HttpOnly, SameSite=Strict, for this host alone; also behind a proxy."""
    async with visited(tmp_path) as there:
        await there.browser(Role.CARE)
        found = await there.stranger(address, base).log_in("care", headers=headers)
        cookie = found.headers["set-cookie"]
        name, _, attributes = cookie.partition("=")
        assert name == ("__Host-receiver" if secure else "receiver")
        given = {each.strip().lower().partition("=")[0] for each in attributes.split(";")[1:]}
        assert ("secure" in given) is secure
        assert {"httponly", "samesite", "path"} <= given
        assert "domain" not in given
        assert "samesite=strict" in cookie.lower()


@pytest.mark.parametrize(
    "after",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/%0d%0aset-cookie: a=b\r\nx: y",
        "javascript:alert(1)",
        "http://[",
        "//[",
        " /events",
        "evil",
        "",
    ],
)
async def test_a_login_goes_on_with_pages_of_ours_only(tmp_path: Path, after: str) -> None:
    """Whatever the address or the form says."""
    async with visited(tmp_path) as there:
        await there.browser(Role.CARE)
        found = await there.stranger().log_in("care", next=after)
        assert found.headers["location"] == "/"
        shown = await there.stranger().ask("GET", "/login", params={"next": after})
        assert 'name="next" value="/"' in shown.text


async def test_a_login_goes_on_where_it_was_wanted(tmp_path: Path) -> None:
    """With the query."""
    async with visited(tmp_path) as there:
        await there.browser(Role.CARE)
        found = await there.stranger().log_in("care", next="/events?type=a&since=2h")
        assert found.headers["location"] == "/events?type=a&since=2h"


async def test_names_that_nobody_has_cost_as_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One password is checked for each, and the answer is the same."""
    checked: list[str] = []

    class Counting(argon2.PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002 - theirs
            checked.append(str(hash))
            return super().verify(hash, password)

    counting = Counting(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(accounts, "_hasher", lambda: counting)
    async with visited(tmp_path) as there:
        await there.browser(Role.CARE)
        checked.clear()
        texts = set()
        for name in ("care", "nobody", "", "x" * 10_000):
            found = await there.stranger().log_in(name, "wrong")
            texts.add((found.status_code, found.text))
        assert len(texts) == 1
        assert len(checked) == 4
        assert len({len(each) for each in checked}) == 1


def test_passwords_are_hashed_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """By Argon2id, with at least what OWASP asks for."""
    monkeypatch.undo()
    hasher = accounts._hasher()
    assert hasher.type is argon2.Type.ID
    assert hasher.memory_cost >= 19 * 1024
    assert hasher.time_cost >= 2


def test_short_passwords_are_refused(tmp_path: Path) -> None:
    """And very long ones, which cost time."""
    kept = accounts.Accounts(tmp_path / "console")
    for password in ("", "123456789", "x" * 201):
        with pytest.raises(Failed, match="10 to 200 characters"):
            kept.add_user("ann", Role.CARE, password, "test")
    kept.close()
    assert (tmp_path / "console").stat().st_mode & 0o777 == 0o600
