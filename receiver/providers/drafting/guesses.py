"""Guesses what the fields of a captured push mean, by their names and values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from receiver.events import Status
from receiver.providers.statuses import status_of
from receiver.text.times import instant

_IDS = (
    "id",
    "messageid",
    "msgid",
    "smsid",
    "messageuuid",
    "inboxid",
    "uuid",
    "messagesid",
    "reference",
)
_PEOPLE = ("msisdn", "phonenumber", "mobile", "phone", "mobilenumber", "subscriber")
_TIMES = (
    "time",
    "date",
    "timestamp",
    "receivedat",
    "received",
    "datetime",
    "ts",
    "doneat",
    "sentat",
)
_NETWORKS = ("network", "networkname", "networkcode", "operator", "carrier")
_SHORT_CODES = ("shortcode", "longcode", "servicenumber")

#: The names that gateways give to what a key of ours means, in lower-case letters; best first.
NAMES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "message": {
        "id": _IDS,
        "from": ("from", "fromnumber", "sender", "source", "originator", "src", *_PEOPLE),
        "to": ("to", "tonumber", *_SHORT_CODES, "destination", "recipient", "receiver", "dest"),
        "text": ("text", "message", "msg", "content", "body", "messagetext", "sms"),
        "time": _TIMES,
        "network": _NETWORKS,
        "service_id": ("serviceid", "service"),
        "link_id": ("linkid",),
    },
    "report": {
        "message_id": ("messageid", "msgid", "smsid", *_IDS),
        "status": ("status", "messagestatus", "dlrstatus", "deliverystatus", "state", "statusname"),
        "to": ("to", "recipient", "destination", "number", *_PEOPLE, "receiver"),
        "sender": ("from", "sender", "senderid", "source"),
        "code": ("errorcode", "statuscode", "code", "errcode", "error"),
        "reason": ("failurereason", "reason", "statusdescription", "errormessage", "description"),
        "time": ("doneat", "deliveredat", "deliverytime", *_TIMES),
        "network": _NETWORKS,
    },
    "subscription": {
        "id": _IDS,
        "msisdn": (*_PEOPLE, "from", "sender"),
        "short_code": (*_SHORT_CODES, "to"),
        "keyword": ("keyword", "offer", "product"),
        "service_id": ("serviceid", "service", "productid"),
        "subscriber_ref": ("subscriberid", "subscriptionid"),
        "time": _TIMES,
        "network": _NETWORKS,
    },
}
#: Words for a change of a subscription.
_JOINED = (
    "addition",
    "activation",
    "activated",
    "subscribe",
    "subscribed",
    "subscription",
    "optin",
)
_LEFT = ("deletion", "deactivation", "deactivated", "unsubscribe", "unsubscribed", "optout")
#: Names of fields that say no more than the object that they are in: `from.phone`.
_PLAIN = ("phone", "number", "msisdn", "address", "value", "name", "groupname", "endpoint")
_FORMATS = (
    *("%d/%m/%Y %H:%M:%S", "%d-%m-%Y %H:%M:%S", "%Y/%m/%d %H:%M:%S", "%d/%m/%Y %H:%M"),
    *("%Y-%m-%d %H:%M", "%d-%b-%Y %H:%M:%S", "%a %b %d %H:%M:%S %Y", "%d.%m.%Y %H:%M:%S"),
)
_NAME = re.compile(r"[A-Za-z0-9_-]+")
#: Later than the time of any capture.
_ARRIVAL = datetime(2100, 1, 1, tzinfo=UTC)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the path of each text and number in a payload, with its value."""
    if isinstance(value, dict):
        for below, inner in _below(value, path):
            yield from leaves(inner, below)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{number}]")
    elif value != "":
        yield path, value


def list_of_events(payload: Any) -> str | None:
    """Returns the path of the list in which each item is an event; None if the push is one."""
    if isinstance(payload, list):
        return "."
    for path, value in _lists(payload):
        if value and all(isinstance(item, dict) for item in value):
            return path
    return None


def kind_of(payload: Any) -> str:
    """Returns `message`, `report` or `subscription`."""
    item = first_item(payload)
    for _, value in leaves(item):
        if change(value) is not None:
            return "subscription"
    report, message = fields("report", item), fields("message", item)
    told = word_at(item, report.get("status"))
    if told is not None and ("text" not in message or _is_status(told)):
        return "report"
    return "message"


def fields(kind: str, item: Any) -> dict[str, str]:
    """Returns the path of each key of ours that an item seems to have."""
    found: dict[str, str] = {}
    known = {path: names(path) for path, _ in leaves(item)}
    for key, candidates in NAMES[kind].items():
        for path in (path for name in candidates for path in known if name in known[path]):
            if path not in found.values():
                found[key] = path
                break
    if "time" not in found and (time := _time_of(item, found)) is not None:
        found["time"] = time
    return found


def change(value: object) -> bool | None:
    """Returns True for a word that says that somebody joined, False for left, None for others."""
    word = _letters(str(value))
    return True if word in _JOINED else False if word in _LEFT else None


def first_item(payload: Any) -> Any:
    """Returns what the paths of an event are below: the first item, or the whole push."""
    each = list_of_events(payload)
    if each is None:
        return payload
    return payload[0] if each == "." else value_at(payload, each)[0]


def value_at(item: Any, path: str) -> Any:
    """Returns the value at a path that `leaves` or `list_of_events` gave."""
    for name, number in _steps(path):
        item = item[int(number)] if number else item[name.strip("'")]
    return item


def word_at(item: Any, path: str | None) -> str | None:
    """Returns the value at a path as a text."""
    return str(value_at(item, path)) if path is not None else None


def time_format(text: str) -> str | None:
    """Returns the format of a time as descriptions name it; None for one that is not known."""
    if instant(text, UTC, _ARRIVAL) is not None:
        return "iso"
    if text.isdecimal() and len(text) in (10, 13):
        return "unix" if len(text) == 10 else "unix-ms"
    for each in _FORMATS:
        try:
            datetime.strptime(text, each)  # noqa: DTZ007 - only tried
        except ValueError:
            continue
        return each
    return None


def _time_of(item: Any, taken: Mapping[str, str]) -> str | None:
    """Returns the first path with a value that can only be a time."""
    for path, value in leaves(item):
        text = str(value)
        if path not in taken.values() and ":" in text and time_format(text) is not None:
            return path
    return None


def _steps(path: str) -> list[tuple[str, str]]:
    return re.findall(r"('[^']+'|[^.\[\]]+)|\[(\d+)\]", path)


def _lists(value: Any, path: str = "") -> Iterator[tuple[str, list[Any]]]:
    for below, inner in _below(value, path) if isinstance(value, dict) else ():
        if isinstance(inner, list):
            yield below, inner
        yield from _lists(inner, below)


def _below(value: dict[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    """Yields the path of each field; no path can say an empty name, or one with a quote in it."""
    for name, inner in value.items():
        if name and "'" not in name:
            step = name if _NAME.fullmatch(name) else f"'{name}'"
            yield f"{path}.{step}" if path else step, inner


def names(path: str) -> set[str]:
    """Returns the names that a path may be known by: its last step, with the one before it."""
    steps = [_letters(name) for name, _ in _steps(path) if name]
    if not steps:
        return set()
    last, before = steps[-1], steps[-2] if len(steps) > 1 else ""
    return {last, before + last} | ({before} if last in _PLAIN else set())


def _letters(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def _is_status(word: str) -> bool:
    return status_of(word)[1] is not Status.UNKNOWN
