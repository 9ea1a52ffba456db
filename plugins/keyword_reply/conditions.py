"""The conditions of a rule: times, sources and people.

They are judged by the time of the message's arrival, never by the clock, so a replay decides as the
service did.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from receiver.handlers import Event, Message, People, SettingsError

from .settings import Rule

T = TypeVar("T")

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
#: The names of conditions, in the order in which they are judged. Asking the store comes last.
Condition = Literal[
    "from", "until", "hours", "days", "networks", "subscribers_of", "non_subscribers_of"
]

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|24:00)", re.ASCII)
_DAY = 24 * 60


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """The conditions of a rule, prepared."""

    start: datetime | None
    end: datetime | None
    """The first moment after the time in which it answers."""
    hours: tuple[int, int] | None
    """Minutes of the day: the first of them, and the first after them."""
    days: frozenset[int]
    """0: Monday. Empty: all."""
    networks: frozenset[str]
    subscribers_of: str | None
    non_subscribers_of: str | None
    zone: ZoneInfo | None

    def missed(self, event: Event[Message], people: People) -> Condition | None:
        """Returns the first condition that the message does not meet."""
        network = event.data.network
        if missed := self._missed_time(event.receivedat):
            return missed
        if self.networks and (network is None or network.casefold() not in self.networks):
            return "networks"
        if self.subscribers_of is not None or self.non_subscribers_of is not None:
            return self._missed_service(event.data.from_, people)
        return None

    def _missed_service(self, person: str, people: People) -> Condition | None:
        wanted, unwanted = self.subscribers_of, self.non_subscribers_of
        if wanted is not None and not people.is_subscriber(person, service_id=wanted):
            return "subscribers_of"
        if unwanted is not None and people.is_subscriber(person, service_id=unwanted):
            return "non_subscribers_of"
        return None

    def _missed_time(self, at: datetime) -> Condition | None:
        if self.start is not None and at < self.start:
            return "from"
        if self.end is not None and at >= self.end:
            return "until"
        return self._missed_day(at) if self.hours or self.days else None

    def _missed_day(self, at: datetime) -> Condition | None:
        local = at.astimezone(self.zone)
        day, minute = local.weekday(), local.hour * 60 + local.minute
        if self.hours is not None:
            first, end = self.hours
            if first > end and minute < end:
                day = (day - 1) % 7  # they began yesterday
            elif not (first <= minute and (minute < end or first > end)):
                return "hours"
        return "days" if self.days and day not in self.days else None

    def why(self, missed: Condition, rule: Rule, event: Event[Message]) -> str:
        """Returns the reason, for people, why a message does not meet a condition."""
        if missed in ("hours", "days"):
            local = event.receivedat.astimezone(self.zone)
            came = f"it came on {DAYS[local.weekday()]} at {local:%H:%M} ({self.zone})"
            wanted = [part for part in (", ".join(rule.days), rule.hours) if part]
            return f"{came}, the rule is for {' '.join(wanted)}"
        if missed == "networks":
            network = event.data.network or "an unknown network"
            return f"it came through {network}, the rule is for {' or '.join(rule.networks)}"
        return {
            "from": f"it came before {rule.from_}",
            "until": f"it came after {rule.until}",
            "subscribers_of": f"the sender is no subscriber of {rule.subscribers_of}",
            "non_subscribers_of": f"the sender is a subscriber of {rule.non_subscribers_of}",
        }[missed]


def prepare(rule: Rule, n: int, zone: ZoneInfo | None) -> Conditions | None:
    """Returns the conditions of rule `n`; None if it has none.

    Raises `SettingsError`, or an `ExceptionGroup` of them.
    """
    faults: list[SettingsError] = []

    def told(function: Callable[..., T], raw: Any, key: str, **options: Any) -> T | None:
        """Returns the function's result for a setting; None, and a fault, if it raises."""
        try:
            return function(raw, f"rules[{n}].{key}", **options)
        except SettingsError as error:
            faults.append(error)
            return None

    start = told(_moment, rule.from_, "from", zone=zone)
    end = told(_moment, rule.until, "until", zone=zone, whole_day=True)
    hours = told(_hours, rule.hours, "hours")
    if start and end and start >= end:
        faults.append(SettingsError(f"rules[{n}].until", "must be after from"))
    if (rule.hours or rule.days) and zone is None:
        faults.append(_no_zone(f"rules[{n}].{'hours' if rule.hours else 'days'}"))
    faults += [
        SettingsError(f"rules[{n}].{key}", "expected a service_id")
        for key in ("subscribers_of", "non_subscribers_of")
        if getattr(rule, key) == ""
    ]
    if faults:
        raise ExceptionGroup("conditions", faults)
    asked = (start, end, hours, rule.days, rule.networks)
    if not any(asked) and rule.subscribers_of is None and rule.non_subscribers_of is None:
        return None
    return Conditions(
        start=start,
        end=end,
        hours=hours,
        days=frozenset(map(DAYS.index, rule.days)),
        networks=frozenset(network.casefold() for network in rule.networks),
        subscribers_of=rule.subscribers_of,
        non_subscribers_of=rule.non_subscribers_of,
        zone=zone,
    )


def _moment(
    raw: Any, key: str, *, zone: ZoneInfo | None, whole_day: bool = False
) -> datetime | None:
    """Returns a TOML date or datetime in UTC: of a date its begin or, with `whole_day`, its end."""
    if raw is None:
        return None
    if isinstance(raw, datetime):
        moment = raw
    elif isinstance(raw, date):
        try:
            moment = datetime.combine(raw + timedelta(days=whole_day), time())
        except OverflowError:
            raise SettingsError(key, "the date is too late") from None
    else:
        raise SettingsError(key, "expected a date or a date with a time, without quotes")
    if moment.tzinfo is None:
        if zone is None:
            raise _no_zone(key)
        moment = moment.replace(tzinfo=zone)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise SettingsError(key, "the date is too early or too late") from None


def _hours(text: str | None, key: str) -> tuple[int, int] | None:
    if text is None:
        return None
    found = _HOURS.fullmatch(text)
    if found is None:
        raise SettingsError(key, f"expected hours such as 08:00-17:00, got {text!r}")
    first = int(found[1]) * 60 + int(found[2])
    end = int(found[3]) * 60 + int(found[4]) if found[3] else _DAY
    if first == end:
        raise SettingsError(key, "the end is the beginning; for the whole day leave hours out")
    return first, end


def _no_zone(key: str) -> SettingsError:
    return SettingsError(key, 'needs the plugin\'s timezone, such as timezone = "Africa/Nairobi"')
