"""Drives Debian's Chromium against a service and its console, both as people start them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.harness import PROGRAM, Running, inbound, launch, serve, settings, until
from tests.ports import free_port

VENDOR = Path(__file__).parent / "vendor"
PASSWORD = "correct horse battery"
PERSON = "+254726770792"
#: A handler that fails, so that there is a dead letter.
_FAILS = """
from receiver.handlers import HandlerError, on_message

@on_message
def fails(event, context):
    if event.data.text == "ORDER":
        raise HandlerError("the shop is closed", retryable=False)
"""


class Console:
    """A running service and its console."""

    def __init__(self, service: Running, url: str) -> None:
        self.service = service
        self.url = url


@contextmanager
def running(folder: Path) -> Iterator[Console]:
    """A service that took a few messages, and its console with a user of the role admin."""
    port = free_port()
    raw = settings(console={"listen": f"127.0.0.1:{port}"})
    raw["sources"]["tilil"]["send"] = {
        "api_key": "k",
        "sender": "22915",
        "url": "http://127.0.0.1:9",
    }
    raw["plugins"]["enabled"] = [*raw["plugins"]["enabled"], "mine"]
    raw["plugins"] |= {"path": ["plugins"], "": _FAILS}
    with serve(folder, raw) as service:
        for number, text in enumerate(("GAME", "JOIN", "hello", "STOP please", "GAME", "ORDER")):
            mobile = PERSON[1:] if number < 3 else f"25471100020{number}"
            assert service.post(inbound(number, text, mobile=mobile)).status == 200
        people = [f"--to=+25471100020{number}" for number in range(3, 8)]
        sale = ["--text", "Everything is half the price today.", "--at", "2h"]
        subprocess.run([*PROGRAM, "send", *people, *sale], cwd=folder, check=True)
        add = [*PROGRAM, "console", "add-user", "amina", "--role", "admin"]
        subprocess.run(add, cwd=folder, input=f"{PASSWORD}\n".encode(), check=True)
        with launch(folder, "console") as console:
            served = Running(console.process, folder, console.log_file)
            served.port = port
            until(lambda: _answers(served), "the console answers")
            yield Console(service, f"http://127.0.0.1:{port}")


def _answers(console: Running) -> bool:
    assert console.process.poll() is None, console.log
    try:
        return console.get("/healthz").status == 200
    except OSError:
        return False


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser; the test is skipped where Playwright or Chromium is not installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs chromium")
    with playwright.sync_playwright() as api:
        browser = api.chromium.launch(
            executable_path=program,
            args=["--no-sandbox", "--disable-background-networking", "--disable-gpu"],
        )
        try:
            yield browser
        finally:
            browser.close()


def log_in(tab: Any, url: str) -> None:
    """Logs in by the form, and waits for the overview."""
    tab.goto(f"{url}/")
    tab.fill("[name=name]", "amina")
    tab.fill("[name=password]", PASSWORD)
    tab.click("text=Log in")
    tab.wait_for_url(f"{url}/")
