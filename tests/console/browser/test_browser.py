"""What people do in the console, with a browser: by its pages, its keys and its looks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.console.browser.driving import PERSON, VENDOR, Console, chromium, log_in, running
from tests.console.visiting import GETS
from tests.harness import inbound

pytestmark = pytest.mark.commit

#: Pages that a person opens: no files, no streams, nothing about one thing.
PAGES = [
    page.path
    for page in GETS
    if "{" not in page.path and "." not in page.path and page.path != "/live/events"
    if page.path != "/persons"
]
#: All that is looked at, with pages about one thing.
EVERY = [
    *("/login", f"/persons/{PERSON}", "/persons/+254799000000", "/campaigns/1", "/messages/1"),
    *("/keywords/preview?since=1h", *PAGES),
]
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium."""
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def console(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """A service and its console."""
    assert browser
    with running(tmp_path_factory.mktemp("console")) as found:
        yield found


@pytest.fixture(scope="module")
def session(browser: Any, console: Console) -> Any:
    """The cookies of somebody who has logged in."""
    context = browser.new_context()
    log_in(context.new_page(), console.url)
    state = context.storage_state()
    context.close()
    return state


class Tab:
    """A tab, and all that the browser complained about in it."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", lambda said: self._note(said.type, said.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") or "Content Security Policy" in text:
            self.complaints.append(text)


@pytest.fixture
def tab(browser: Any, session: Any) -> Iterator[Tab]:
    """A tab of somebody who has logged in; nothing on it breaks the policy of content."""
    context = browser.new_context(storage_state=session, viewport=WIDE)
    made = Tab(context.new_page())
    yield made
    context.close()
    assert not made.complaints


def test_the_vendored_axe_is_that_of_npm() -> None:
    """By its checksum."""
    for line in (VENDOR / "SHA256SUMS").read_text().splitlines():
        wanted, name = line.split()
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == wanted


def test_no_answer_at_noon_is_explained_in_three_clicks(tab: Tab, console: Console) -> None:
    """From the overview: find the number, then the message, which says why nobody answered."""
    page = tab.page
    page.goto(f"{console.url}/")
    page.fill("[name=number]", "0726770792")
    page.click("text=Find")
    entry = page.locator("li", has_text="JOIN")
    assert "no rule fitted" in entry.inner_text()
    entry.get_by_role("link").click()
    assert "JOIN" in page.inner_text("main")
    assert "no rule fitted" in page.inner_text("main")


def test_people_send_and_opt_out(tab: Tab, console: Console) -> None:
    """What they did is in the person's timeline at once."""
    page = tab.page
    page.goto(f"{console.url}/persons/{PERSON}")
    page.fill("textarea[name=text]", "We are sorry <b>")
    page.click("button:text-is('Send')")
    page.wait_for_selector("[role=status]")
    assert "We are sorry <b>" in page.inner_text("main")
    page.click("button:text-is('Opt out')")
    page.wait_for_selector("text=Opted out: nothing is sent.")
    page.click("button:text-is('Opt in again')")
    page.wait_for_selector("button:text-is('Opt out')")


def test_a_dead_letter_is_tried_again(tab: Tab, console: Console) -> None:
    """From the overview, by the figure that counts them."""
    page = tab.page
    page.goto(f"{console.url}/")
    page.locator("main a", has_text="dead letter").first.click()
    page.locator("tbody a").first.click()
    page.click("button:text-is('Try now')")
    assert "due now" in page.inner_text("[role=status]")


def test_the_live_tail_moves(tab: Tab, console: Console) -> None:
    """An event is in it without another load; paused, it waits."""
    page = tab.page
    page.goto(f"{console.url}/live")
    page.wait_for_selector("text=Following")
    assert console.service.post(inbound("live-1", "moving now")).status == 200
    page.wait_for_selector("td:has-text('moving now')")
    page.click("#pause")
    assert console.service.post(inbound("live-2", "held back")).status == 200
    page.wait_for_selector("text=1 waiting")
    assert not page.locator("td:has-text('held back')").count()
    page.click("#pause")
    page.wait_for_selector("td:has-text('held back')")


def test_plots_are_drawn(tab: Tab, console: Console) -> None:
    """On the overview, with the numbers in a table for those who see no plots."""
    page = tab.page
    page.goto(f"{console.url}/")
    page.wait_for_selector("canvas")
    assert page.locator("canvas").count() >= 2


def test_keys_are_enough(tab: Tab, console: Console) -> None:
    """The first one leads past the menu; everything that can be done is reached by others."""
    page = tab.page
    page.goto(f"{console.url}/events")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    for _ in range(3):
        page.keyboard.press("Tab")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(
    browser: Any, session: Any, console: Console, scheme: str
) -> None:
    """On any page, in both themes."""
    context = browser.new_context(
        storage_state=session, viewport=WIDE, color_scheme=scheme, bypass_csp=True
    )
    page = context.new_page()
    found = []
    for path in EVERY:
        page.goto(f"{console.url}{path}")
        page.add_script_tag(path=str(VENDOR / "axe.min.js"))
        for fault in page.evaluate("axe.run()")["violations"]:
            if fault["impact"] in ("serious", "critical"):
                where = [node["html"][:120] for node in fault["nodes"][:3]]
                found.append((path, fault["id"], where))
    context.close()
    assert not found


def test_pages_fit_a_telephone(browser: Any, session: Any, console: Console) -> None:
    """At 360 px nothing is wider than the window; no page breaks the policy of content."""
    context = browser.new_context(storage_state=session, viewport=NARROW)
    tab = Tab(context.new_page())
    wide = []
    for path in EVERY:
        tab.page.goto(f"{console.url}{path}")
        if tab.page.evaluate("document.documentElement.scrollWidth") > NARROW["width"]:
            wide.append(path)
    context.close()
    assert not wide
    assert not tab.complaints


def test_pages_work_without_javascript(browser: Any, session: Any, console: Console) -> None:
    """But for the live tail and plots."""
    context = browser.new_context(storage_state=session, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{console.url}/")
    page.fill("[name=number]", PERSON)
    page.click("text=Find")
    assert "JOIN" in page.inner_text("main")
    for path in PAGES:
        page.goto(f"{console.url}{path}")
        assert page.locator("h1").count() == 1, path
    context.close()
