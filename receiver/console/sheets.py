"""Pages of counts: filters above, then blocks, each a table of records with a plot and CSV."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime
from typing import Any

import msgspec
from starlette.responses import Response

from receiver.console.filters import Filter, chosen, page_with_form
from receiver.console.lists import csv_file, linked
from receiver.console.roles import Role
from receiver.console.web import Page, Visit
from receiver.errors import InvalidInput, NotFound
from receiver.views.listing import Columns, names_of, row_of, titles_of
from receiver.views.times import format_time

Records = Sequence[dict[str, Any]]


class Line(msgspec.Struct, frozen=True):
    """A line of a plot."""

    name: str
    values: Sequence[float | None]


class Plot(msgspec.Struct, frozen=True, kw_only=True):
    """Lines over time, and the table of the same numbers for those who see no plot."""

    title: str
    times: Sequence[datetime | date]
    lines: Sequence[Line]

    @property
    def data(self) -> str:
        """What plots.js draws, as JSON: Unix times, names and values."""
        moments = [_unix(time) for time in self.times]
        days = bool(self.times) and not isinstance(self.times[0], datetime)
        return msgspec.json.encode({"times": moments, "days": days, "lines": self.lines}).decode()

    @property
    def titles(self) -> list[str]:
        """The titles of the table."""
        return ["TIME", *(line.name.upper() for line in self.lines)]

    @property
    def rows(self) -> list[list[tuple[str, str | None]]]:
        """The cells of the table, the newest first."""
        rows = []
        for index in range(len(self.times) - 1, -1, -1):
            values = [line.values[index] for line in self.lines]
            cells = ["" if value is None else f"{value:g}" for value in values]
            rows.append(linked([_shown(self.times[index]), *cells], ()))
        return rows


def _unix(time: datetime | date) -> float:
    if isinstance(time, datetime):
        return time.timestamp()
    return datetime(time.year, time.month, time.day, tzinfo=UTC).timestamp()


def _shown(time: datetime | date) -> str:
    return format_time(time) if isinstance(time, datetime) else time.isoformat()


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """A table of records on a page."""

    title: str
    about: str = ""
    columns: Columns
    records: Records
    plot: Plot | None = None
    if_empty: str
    links: Callable[[dict[str, Any]], Sequence[str | None]] = lambda _: ()
    """The address behind each cell of a row, as far as there is one."""


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """A page of counts."""

    path: str
    title: str
    about: str
    role: Role = Role.VIEWER
    filters: Sequence[Filter]
    blocks: Callable[..., Awaitable[Sequence[Block]]]
    """Counts: takes the visit, then the values of the filters by name. Raises `InvalidInput`."""

    def pages(self) -> list[Page]:
        """Returns the page and its file."""
        return [
            Page(self.path, self.role, self.show),
            Page(f"{self.path}.csv", self.role, self.export),
        ]

    async def show(self, visit: Visit) -> Response:
        """Shows the page."""
        blocks: Sequence[Block] = ()
        why = ""
        try:
            blocks = await self.blocks(visit, **chosen(self.filters, visit))
        except InvalidInput as error:
            why = str(error)
        return await page_with_form(
            visit,
            "sheet.html",
            self.filters,
            why,
            sheet=self,
            blocks=[(block, titles_of(block.columns), _rows(block, visit)) for block in blocks],
            query=visit.request.url.query,
        )

    async def export(self, visit: Visit) -> Response:
        """Returns one block, the first unless `block` says another, as a CSV file."""
        blocks = await self.blocks(visit, **chosen(self.filters, visit))
        wanted = visit.request.query_params.get("block", blocks[0].title)
        block = next((each for each in blocks if each.title == wanted), None)
        if block is None:
            raise NotFound(f"{wanted!r}: the page has no such table")
        records = [visit.seen(record) for record in block.records]
        return csv_file(self.path, names_of(block.columns), records)


def _rows(block: Block, visit: Visit) -> list[list[tuple[str, str | None]]]:
    return [
        linked(row_of(block.columns, visit.seen(record), None), block.links(record))
        for record in block.records
    ]
