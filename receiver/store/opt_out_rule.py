"""The rule of opt-outs: the messages and subscriptions that a line is about, and what lifts it.

A line is a short code (or number) of ours and a service; an empty one stands for all of them. The
store fetches the lines of a person, this judges them: for the answer, the late reply, the outbox,
`receiver send`, replay, `context.people` and `receiver.testing` alike.
"""

from __future__ import annotations

from collections.abc import Iterable

from receiver.repeats import is_placeholder
from receiver.text.msisdn import ours

Line = tuple[str, str]
"""Short code and service, each in the form that `line` gives it."""


def service(service_id: str | None) -> str:
    """Returns a service's id in the form in which it is compared; empty for none."""
    return "" if service_id is None or is_placeholder(service_id) else service_id


def line(short_code: str | None, service_id: str | None) -> Line:
    """The line of an opt-out or opt-in, as it is stored and compared."""
    return ours(short_code), service(service_id)


def blocks(lines: Iterable[Line], short_code: str | None, service_id: str | None) -> bool:
    """Tells whether a line is about messages from this address of ours about this service.

    The same asked of a subscription says whether the opt-out ends it.
    """
    code, about = line(short_code, service_id)
    return any(
        its_code in ("", code) and service(its_service) in ("", about)
        for its_code, its_service in lines
    )


def lifts(back: Line, out: Line) -> bool:
    """Tells whether an opt-in takes an opt-out back: there are messages that both are about."""
    return _meet(back[0], out[0]) and _meet(service(back[1]), service(out[1]))


def lines_after(changes: Iterable[tuple[str, str, str]]) -> list[Line]:
    """The lines that somebody's changes leave: each is `out` or `in`, short code, service."""
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
