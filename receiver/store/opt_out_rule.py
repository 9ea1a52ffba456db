"""The rule of opt-outs: the messages and subscriptions that a line covers, and its lifting.

A line is a short code (or number) of ours and a service; an empty field stands for all of them. The
store fetches a person's lines; this module judges them for the answer, the late reply, the outbox,
`receiver send`, replay, `context.people` and `receiver.testing`.
"""

from __future__ import annotations

from collections.abc import Iterable

from receiver.repeats import is_placeholder
from receiver.text.msisdn import ours

Line = tuple[str, str]
"""Short code and service, in the form that `line` returns."""


def service(service_id: str | None) -> str:
    """Returns a service's id in the form in which it is compared; empty for None."""
    return "" if service_id is None or is_placeholder(service_id) else service_id


def line(short_code: str | None, service_id: str | None) -> Line:
    """Returns the line of an opt-out or opt-in, as it is stored and compared."""
    return ours(short_code), service(service_id)


def blocks(lines: Iterable[Line], short_code: str | None, service_id: str | None) -> bool:
    """Returns True if a line covers messages from this address of ours about this service.

    For the address and service of a subscription: True if the opt-out ends it.
    """
    code, about = line(short_code, service_id)
    return any(
        its_code in ("", code) and service(its_service) in ("", about)
        for its_code, its_service in lines
    )


def lifts(back: Line, out: Line) -> bool:
    """Returns True if an opt-in lifts an opt-out: some messages are covered by both."""
    return _meet(back[0], out[0]) and _meet(service(back[1]), service(out[1]))


def lines_after(changes: Iterable[tuple[str, str, str]]) -> list[Line]:
    """Returns the lines after a person's changes: each is `out` or `in`, short code, service."""
    lines: list[Line] = []
    for change, short_code, service_id in changes:
        one = (short_code, service_id)
        if change == "out":
            lines.append(one)
        else:
            lines = [out for out in lines if not lifts(one, out)]
    return lines


def _meet(one: str, other: str) -> bool:
    return not one or not other or one == other
