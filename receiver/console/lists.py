"""The pages with lists: what `receiver.views.lists` describes, with filters, paging and CSV.

A page goes on where the last one ended: the link to older records holds the millisecond of the
last one, and how many of that millisecond were shown. So a page costs the same however far back
it is, and no reader needs to know about pages.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from io import StringIO
from typing import Generic, TypeVar
from urllib.parse import urlencode

import msgspec
from starlette.responses import Response

from receiver.console.filters import SINCE, UNTIL, Filter, chosen
from receiver.console.roles import Role
from receiver.console.web import Page, Visit
from receiver.errors import InvalidInput
from receiver.views.csv_export import csv_writer
from receiver.views.listing import Listing

T = TypeVar("T")

#: Records on a page, and at most in one answer of the API.
PAGE = 50
MOST = 1000
#: Records in a CSV file.
_CSV = 100_000
_MILLISECOND = timedelta(milliseconds=1)


class ListPage(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A page with a list."""

    path: str
    title: str
    about: str
    role: Role = Role.VIEWER
    filters: Sequence[Filter] = ()
    """Besides those of time."""
    listing: Callable[[Visit], Listing[T]]
    find: Callable[..., AsyncGenerator[T]]
    """Reads the records, the newest first: takes a `Reader`, then the filters' values, `since`,
    `until` and `limit` by name."""
    time: Callable[[T], datetime]
    """The time of a record by which `find` chooses and orders."""
    links: Callable[[T], Sequence[str | None]] = lambda _: ()
    """The address behind each cell of a record's row, as far as there is one."""

    @property
    def every_filter(self) -> Sequence[Filter]:
        """All filters."""
        return (*self.filters, SINCE, UNTIL)

    def pages(self) -> list[Page]:
        """Returns the page and its file."""
        return [
            Page(self.path, self.role, self.show),
            Page(f"{self.path}.csv", max(self.role, Role.CARE), self.export),
        ]

    async def show(self, visit: Visit) -> Response:
        """Shows a page of the list."""
        try:
            found, older, why = *await self.read(visit, PAGE), ""
        except InvalidInput as error:
            found, older, why = [], None, str(error)
        listing = self.listing(visit)
        rows = [
            list(_linked(listing.row(record), self.links(whole)))
            for whole, record in ((each, visit.seen(each)) for each in found)
        ]
        async with visit.desk.reader() as reader:
            sources = await reader.sources()
        return visit.page(
            "list.html",
            400 if why else 200,
            list=self,
            titles=listing.titles,
            rows=rows,
            if_empty=listing.if_empty,
            filters=[each for each in self.every_filter if each.wants(visit)],
            given=visit.request.query_params,
            sources=sources,
            older=older and f"{self.path}?{urlencode(older)}",
            csv=f"{self.path}.csv?{visit.request.url.query}" if visit.sees(Role.CARE) else None,
            why=why,
        )

    async def export(self, visit: Visit) -> Response:
        """Returns the list as a CSV file that is safe for spreadsheets."""
        listing, text = self.listing(visit), StringIO(newline="")
        write = csv_writer(text, listing.names)
        found, _ = await self.read(visit, _CSV)
        for record in found:
            write(listing.fields(visit.seen(record)))
        name = f"{self.path.strip('/').replace('/', '-')}.csv"
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return Response(text.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)

    async def read(self, visit: Visit, limit: int) -> tuple[list[T], dict[str, str] | None]:
        """Returns at most so many records, and the query of the page after them; None: no more.

        Raises `InvalidInput`.
        """
        given = visit.request.query_params
        values = chosen(self.every_filter, visit)
        skip = _number(given.get("skip", "0"))
        async with visit.desk.reader() as reader:
            found = await _taken(
                self.find(reader, **values, limit=skip + limit + 1), skip, limit + 1
            )
        if len(found) <= limit:
            return found, None
        found.pop()
        edge = _floor(self.time(found[-1]))
        shown = sum(_floor(self.time(record)) == edge for record in found)
        if shown == len(found):  # all of one millisecond: those before it, too
            shown += skip
        until = f"{edge + _MILLISECOND:%Y-%m-%dT%H:%M:%S.%fZ}"
        return found, {**dict(given.items()), "until": until, "skip": str(shown)}


def _linked(row: Sequence[str | None], links: Sequence[str | None]) -> list[tuple[str, str | None]]:
    behind = [*links, *[None] * len(row)]
    return [(cell or "", link) for cell, link in zip(row, behind, strict=False)]


async def _taken(found: AsyncGenerator[T], skip: int, most: int) -> list[T]:
    records: list[T] = []
    async with aclosing(found):
        async for record in found:
            if skip:
                skip -= 1
                continue
            records.append(record)
            if len(records) == most:
                break
    return records


def _floor(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 7):
        raise InvalidInput(f"expected a number of records to leave out, got {text!r}", "skip")
    return int(text)
