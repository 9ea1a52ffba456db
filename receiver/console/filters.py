"""Filters of lists: fields of a form, read from the URL as the commands read their options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import msgspec
from starlette.responses import Response

from receiver.console.roles import Role
from receiver.console.web import Visit
from receiver.errors import InvalidInput
from receiver.events import utc_now
from receiver.service.numbers import parse_person
from receiver.text.times import parse_moment
from receiver.views.times import shown_zone

Kind = Literal["text", "choice", "time", "person", "source", "words", "number"]

_TIMES = "expected a time such as 2026-11-20 or 2026-11-20T09:00Z, an age such as 2h, or today"


class Filter(msgspec.Struct, frozen=True):
    """A field of the form above a list."""

    name: str
    """In the URL."""
    label: str
    kind: Kind = "text"
    choices: Sequence[str] = ()
    argument: str = ""
    """The parameter of the store's reader, if it is called otherwise."""
    keeps: Callable[[Any, Any], bool] | None = None
    """Takes the value and a record; returns True if it is shown. For what no reader chooses by."""
    unset: str = "any"
    """The choice without one."""
    hidden: bool = False
    """It is no field of the form: only links have it."""

    @property
    def parameter(self) -> str:
        """The parameter of the store's reader."""
        return self.argument or self.name

    def wants(self, visit: Visit) -> bool:
        """Returns True if the visitor may use it: numbers and texts are not for all."""
        return self.is_for(visit.visitor.role)

    def is_for(self, role: Role) -> bool:
        """Returns True if a role may use it."""
        return self.kind not in ("person", "words") or role >= Role.CARE

    def read(self, text: str, visit: Visit) -> Any:
        """Returns the value that a text means. Raises `InvalidInput`."""
        match self.kind:
            case "choice" if text not in self.choices:
                expected = ", ".join(self.choices)
                raise InvalidInput(f"expected one of {expected}; got {text!r}", self.name)
            case "time":
                moment = parse_moment(text, utc_now(), shown_zone.get())
                if moment is None:
                    raise InvalidInput(f"{_TIMES}; got {text!r}", self.name)
                return moment
            case "person":
                return parse_person(text, visit.desk.settings)
            case "words":
                return text.casefold().split()
            case "number":
                return number(text, self.name)
            case _:
                return text


SINCE = Filter("since", "Since", "time")
UNTIL = Filter("until", "Until", "time")
TIMES = (SINCE, UNTIL)
PERSON = Filter("msisdn", "Number", "person")
SOURCE = Filter("source", "Source", "source")


def following(name: str) -> Filter:
    """Returns the filter by which the link to the next page goes on."""
    return Filter(name, "Of the link to the next page", "number", hidden=True)


def chosen(filters: Sequence[Filter], visit: Visit) -> dict[str, Any]:
    """Returns what the URL asks for, by the parameter of the reader. Raises `InvalidInput`."""
    return {each.parameter: value for each, value in _given(filters, visit) if each.keeps is None}


def checks(filters: Sequence[Filter], visit: Visit) -> list[Callable[[Any], bool]]:
    """Returns what a record must pass besides. Raises `InvalidInput`."""
    given = _given(filters, visit)
    return [partial(each.keeps, value) for each, value in given if each.keeps is not None]


async def page_with_form(
    visit: Visit, template: str, filters: Sequence[Filter], why: str = "", **values: Any
) -> Response:
    """Renders a page below the form of its filters; `why`: the fault in them, if there is one."""
    async with visit.desk.reader() as reader:
        sources = await reader.sources()
    return visit.page(
        template,
        400 if why else 200,
        filters=[each for each in filters if each.wants(visit)],
        given=visit.request.query_params,
        sources=sources,
        why=why,
        **values,
    )


def _given(filters: Sequence[Filter], visit: Visit) -> list[tuple[Filter, Any]]:
    texts = visit.request.query_params
    return [
        (each, each.read(text, visit))
        for each in filters
        if each.wants(visit) and (text := texts.get(each.name, "").strip())
    ]


def number(
    text: str, name: str, expected: str = "a number", least: int = 0, most: int = 10**18 - 1
) -> int:
    """Returns the number that a field has. Raises `InvalidInput`."""
    is_number = text.isascii() and text.isdecimal() and len(text) < 19
    if not (is_number and least <= int(text) <= most):
        raise InvalidInput(f"expected {expected}, got {text!r}", name)
    return int(text)


def limit_of(visit: Visit, default: int, most: int) -> int:
    """Returns the number of records that are asked for, at least one. Raises `InvalidInput`."""
    given = visit.request.query_params.get("limit", str(default))
    return number(given, "limit", f"1 to {most}", 1, most)
