"""Follows every link of the console, and reads what its pages are made of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from urllib.parse import urlsplit

import httpx2

from tests.console.visiting import GETS, Browser, any_path

#: Pages of one kind that are looked at.
_OF_A_KIND = 60
_ID = re.compile(r"/[0-9a-f]{8}-[0-9a-f-]{27}|/\d+(?=/|$)|/(?:\+|%2B)\d+")
#: Elements that load or run something.
_ACTIVE = frozenset(
    ("script", "style", "iframe", "object", "embed", "base", "meta", "img", "svg", "math")
)


class Parts(HTMLParser):
    """The elements of a page, its links, and its text as a person sees it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keeps the element."""
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        """Keeps the text."""
        self.text += data

    @property
    def links(self) -> list[str]:
        """The addresses that the page leads to."""
        return [given["href"] for tag, given in self.elements if tag == "a" and "href" in given]

    @property
    def active(self) -> list[tuple[str, dict[str, str]]]:
        """Elements that could run something of a stranger's, if they were not ours."""
        return [(tag, given) for tag, given in self.elements if tag in _ACTIVE]


async def crawl(browser: Browser) -> AsyncIterator[tuple[str, httpx2.Response]]:
    """Every page that a visitor can open, from all pages without parameters by their links."""
    seen: set[str] = set()
    kinds: Counter[str] = Counter()
    waiting = [any_path(page) for page in GETS if "{" not in page.path]
    waiting.append("/live/events?after=0")
    while waiting:
        path = waiting.pop(0)
        kind = _ID.sub("/*", urlsplit(path).path)
        if path in seen or kinds[kind] >= _OF_A_KIND:
            continue
        seen.add(path)
        kinds[kind] += 1
        answer = await browser.get(path)
        yield path, answer
        if answer.headers.get("content-type", "").startswith("text/html"):
            found = (urlsplit(link) for link in Parts(answer.text).links)
            waiting += [
                f"{link.path}{f'?{link.query}' if link.query else ''}"
                for link in found
                if link.path.startswith("/") and not link.netloc
            ]
