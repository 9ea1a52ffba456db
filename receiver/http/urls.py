"""Reads the URL of a request, also as careless clients write it."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote_from_bytes, unquote

import httptools

#: Visible characters of ASCII: all that the parser takes in a URL.
_VISIBLE = bytes(range(0x21, 0x7F))
_SLASHES = re.compile(rb"//+")
_TARGET = re.compile(rb"([A-Z]+) +((?:/|https?://).*?)( HTTP/[0-9.]+)?\r?\Z", re.DOTALL)


def parse(url: bytes) -> tuple[str, bytes | None, bytes]:
    """Returns path, path as it came, and query. Raises httptools' HttpParserInvalidURLError.

    Several slashes are one, and white space at the end of the path is none of it.
    """
    # A raw # in a query is text: requests have no fragments.
    before, _, query = url.partition(b"?")
    parts = httptools.parse_url(before)
    raw: bytes = parts.path or b"/"
    if b"//" in raw:
        raw = _SLASHES.sub(b"/", raw)
    path = raw.decode("latin-1")
    return unquote(path).rstrip() if "%" in path else path, parts.path, query


#: For URLs that come again.
parse_known = lru_cache(maxsize=256)(parse)


def target(line: bytes) -> tuple[bytes, bytes, bytes]:
    """Returns method, URL and version in the first line of a request, or in its beginning.

    All three are empty if it is no such line; the version is if it does not end with one.
    """
    match = _TARGET.match(line)
    return (match[1], match[2], match[3] or b"") if match else (b"", b"", b"")


def escaped(url: bytes) -> bytes:
    """Returns a URL in which only visible characters of ASCII stand as they are."""
    return quote_from_bytes(url, _VISIBLE).encode()
