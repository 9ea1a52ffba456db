"""The pages with lists: what `receiver.views.lists` describes, with filters, paging and CSV.

A page goes on where the last one ended: the link to more records holds the key of the last one,
and how many of that key were shown. So a page costs the same however far back it is, and no reader
needs to know about pages.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from datetime import datetime, timedelta
from io import StringIO
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

import msgspec
from starlette.responses import Response

from receiver.console.filters import TIMES, Filter, checks, chosen, number, page_with_form
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
#: Records that a page looks at where the store cannot choose them.
STRETCH = 10_000
#: The field of a URL with the records at the beginning that an earlier page has shown.
_SKIP = "skip"
_MILLISECOND = timedelta(milliseconds=1)


class Paging(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """The order of a list, by which its next page is found."""

    key: Callable[[T], Any]
    """The part of a record by which the list is ordered."""
    parameter: str
    """The filter that begins the list at a key."""
    begin: Callable[[Any], str] = str
    """The value of that filter with which the list begins at this key, what has it included."""
    more: str = "Older"
    """The name of the next page."""

    def after(self, keys: Sequence[Any]) -> dict[str, str]:
        """Returns the query of the page after the records with these keys."""
        edge = keys[-1]
        return {self.parameter: self.begin(edge), _SKIP: str(keys.count(edge))}


def _floor(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _iso(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}"


def newest_first(time: Callable[[T], datetime]) -> Paging[T]:
    """Returns the order by time, the newest first; ids hold times to the millisecond."""
    return Paging(
        key=lambda record: _floor(time(record)),
        parameter="until",
        begin=lambda edge: _iso(edge + _MILLISECOND),
    )


def oldest_first(time: Callable[[T], datetime]) -> Paging[T]:
    """Returns the order by time, the oldest first."""
    return Paging(
        key=lambda record: _floor(time(record)), parameter="since", begin=_iso, more="Newer"
    )


class ListPage(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A page with a list."""

    path: str
    title: str
    about: str
    role: Role = Role.VIEWER
    filters: Sequence[Filter] = ()
    """Besides those of time."""
    times: Sequence[Filter] = TIMES
    listing: Callable[[Visit], Listing[T]]
    find: Callable[..., AsyncGenerator[T]]
    """Reads the records in order: takes what `lend` lends; the filters' values and `limit` by name.
    """
    lend: Callable[[Visit], AbstractAsyncContextManager[Any]] = lambda visit: visit.desk.reader()
    """Lends what the records are read from: a `Reader` of the store, unless it says otherwise."""
    time: Callable[[T], datetime] | None = None
    """The time of a record, by which the list is ordered, the newest first, without a `paging`."""
    paging: Paging[T] | None = None
    links: Callable[[T], Sequence[str | None]] = lambda _: ()
    """The address behind each cell of a record's row, as far as there is one."""

    @property
    def every_filter(self) -> Sequence[Filter]:
        """All filters."""
        return (*self.filters, *self.times)

    @property
    def order(self) -> Paging[T]:
        """The order of the list."""
        if self.paging is None:
            assert self.time is not None
            return newest_first(self.time)
        return self.paging

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
            linked(listing.row(record), self.links(whole))
            for whole, record in ((each, visit.seen(each)) for each in found)
        ]
        return await page_with_form(
            visit,
            "list.html",
            self.every_filter,
            why,
            list=self,
            titles=listing.titles,
            rows=rows,
            if_empty=listing.if_empty,
            older=older and f"{self.path}?{urlencode(older)}",
            more=self.order.more,
            stretch=STRETCH,
            csv=f"{self.path}.csv?{visit.request.url.query}" if visit.sees(Role.CARE) else None,
        )

    async def export(self, visit: Visit) -> Response:
        """Returns the list as a CSV file that is safe for spreadsheets."""
        listing = self.listing(visit)
        found, _ = await self.read(visit, _CSV, stretch=_CSV)
        records = [listing.values(visit.seen(record)) for record in found]
        return csv_file(self.path, listing.names, records)

    async def read(
        self, visit: Visit, limit: int, stretch: int = STRETCH
    ) -> tuple[list[T], dict[str, str] | None]:
        """Returns at most so many records, and the query of the page after them; None: no more.

        Looks at so many records (`stretch`) where the store cannot choose them. Raises
        `InvalidInput`.
        """
        values = chosen(self.every_filter, visit)
        must = checks(self.every_filter, visit)
        given = visit.request.query_params.get(_SKIP, "0")
        skip = number(given, _SKIP, "a number of records to leave out", most=999_999)
        most = stretch if must else limit
        found: list[T] = []
        keys: list[Any] = []  # of those that are skipped, too: the next page may begin with them
        whole = True
        async with (
            self.lend(visit) as reader,
            aclosing(self.find(reader, **values, limit=skip + most + 1)) as records,
        ):
            async for record in records:
                if len(found) == limit or len(keys) == skip + most:
                    whole = False
                    break
                keys.append(self.order.key(record))
                if len(keys) > skip and all(check(record) for check in must):
                    found.append(record)
        if whole:
            return found, None
        return found, {**visit.request.query_params, **self.order.after(keys)}


def linked(row: Sequence[str | None], links: Sequence[str | None]) -> list[tuple[str, str | None]]:
    """Returns the cells of a row, each with the address behind it."""
    behind = [*links, *[None] * len(row)]
    return [(cell or "", link) for cell, link in zip(row, behind, strict=False)]


def csv_file(path: str, names: Sequence[str], records: Sequence[dict[str, Any]]) -> Response:
    """Returns records as a file that is safe for spreadsheets; `path`: of its page."""
    text = StringIO(newline="")
    write = csv_writer(text, names)
    for record in records:
        write(record)
    name = f"{path.strip('/').replace('/', '-')}.csv"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(text.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)
