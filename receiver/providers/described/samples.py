"""Makes pushes of the examples in a description: authentic ones, and with other values."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from copy import deepcopy
from datetime import datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from receiver.providers.contract import Push, Sample
from receiver.providers.described import paths
from receiver.providers.described.fields import written
from receiver.providers.described.grammar import Example, Report, Request, Subscription, Time
from receiver.providers.described.kinds import Kind
from receiver.providers.described.paths import Path

if TYPE_CHECKING:
    from receiver.providers.described.provider import Described


def sample(described: type[Described], name: str, secret: str, values: dict[str, str]) -> Sample:
    """Makes the push of an example, authenticated with `secret` unless that is empty.

    `values` replace fields: by their path, or by their name wherever it stands.
    """
    request = example(described, name).request
    parts = _payload(described, request, secret)
    for field, value in values.items():
        if not any(replace(part, field, value) for part in parts.values() if part):
            _whole(parts)[field] = value
    headers = {**request.headers, **_headers(described, secret)}
    body = request.body.encode()
    if parts["json"] is not None:
        headers.setdefault("Content-Type", "application/json")
        body = json.dumps(parts["json"]).encode()
    elif parts["form"]:
        headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
        body = urlencode(parts["form"]).encode()
    in_url = secret and described.credentials.secret is None
    token = f"/{quote(secret, safe='')}" if in_url else ""
    query = f"?{urlencode(parts['query'])}" if parts["query"] else ""
    path = f"{token}{request.path}{query}"
    return Sample(method=request.method, path=path, headers=headers, body=body)


def fresh_values(described: type[Described], name: str, now: datetime) -> dict[str, str]:
    """Returns a new id and time for each event of an example; of what has no id, another person."""
    push = pushed(described, name)
    values: dict[str, str] = {}
    for number, (kind, item, above) in enumerate(items(described, push)):
        unique = int(now.timestamp() * 1_000_000) + number
        table = kind.table
        id_ = table.message_id if isinstance(table, Report) else table.id
        person = table.msisdn if isinstance(table, Subscription) else getattr(table, "from_", None)
        if id_ is not None and (place := _place(id_, item, push, above)):
            values[place] = str(unique)
        elif person is not None and (place := _place(person, item, push, above)):
            values[place] = _another(_value(person, item, push), unique)
        if table.time is not None:
            time = table.time if isinstance(table.time, Time) else Time(path=table.time)
            if place := _place(time.path, item, push, above):
                local = now.astimezone(time.zone) if time.zone is not None else now
                values[place] = written(time.format, local)
    return values


def example(described: type[Described], name: str) -> Example:
    """Returns the example that has this name. Raises LookupError."""
    for each in described.description.example:
        if each.name == name:
            return each
    raise LookupError(f"{described.name} has no example {name!r}")


def pushed(described: type[Described], name: str) -> Push:
    """Returns the push of an example, which is read."""
    push = sample(described, name, "secret", {}).push()
    push.payload = described.reader.read(push)
    return push


def items(described: type[Described], push: Push) -> Iterator[tuple[Kind, Any, str]]:
    """Yields the items of a push that are events, with their kinds and where they stand."""
    for kind in described.kinds.all:
        for number, item in enumerate(kind.of(push)):
            above = "" if kind.each is None else f"{kind.each.removeprefix('.')}[{number}]."
            yield kind, item, above


def replace(tree: Any, field: str, value: str) -> bool:
    """Replaces a value by its path, or by its name wherever it stands; False if there is none."""
    for path in _paths(field):
        old = paths.at(tree, path.steps)
        if old is not None:
            paths.put(tree, path.steps, _alike(old, value))
            return True
    inner = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return any(replace(each, field, value) for each in inner)


def _payload(described: type[Described], request: Request, secret: str) -> dict[str, Any]:
    """Returns the fields of a request by where they stand, with the credential among them."""
    parts = {name: deepcopy(getattr(request, name)) for name in ("json", "form", "query")}
    for field in described.credentials.fields[:1] if secret else ():
        _whole(parts)[field] = secret
    return parts


def _whole(parts: dict[str, Any]) -> dict[str, Any]:
    """Returns the part that a new field belongs to."""
    if isinstance(parts["json"], dict):
        return parts["json"]
    whole: dict[str, Any] = parts["query" if parts["query"] and not parts["form"] else "form"]
    return whole


def _headers(described: type[Described], secret: str) -> dict[str, str]:
    """Returns the header with the credential, where pushes have one."""
    credentials = described.credentials
    if credentials.fields or not secret:
        return {}
    for name, prefix in credentials.headers[:1]:
        return {name.decode().title(): f"{prefix}{secret}"}
    if credentials.basic:
        return {"Authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"}
    return {}


def _place(text: str, item: Any, push: Push, above: str) -> str | None:
    """Returns the whole path of the first alternative that an item has."""
    for path in _paths(text):
        if path.prefix in ("", "^") and paths.present(path.compile()(item, push)):
            return path.text if path.prefix == "" and not above else _below(path, above)
    return None


def _below(path: Path, above: str) -> str:
    return path.text.removeprefix("^") if path.prefix else above + path.text


def _value(text: str, item: Any, push: Push) -> str:
    return paths.word(paths.first(_paths(text))(item, push)) or ""


def _paths(text: str) -> list[Path]:
    try:
        return paths.parse(text)
    except ValueError:
        return []


def _alike(old: object, new: str) -> object:
    """Returns a number in place of a number."""
    return int(new) if type(old) is int and new.isdecimal() and new.isascii() else new


def _another(number: str, unique: int) -> str:
    """Returns the number of somebody else: its last seven digits are replaced."""
    digits = int.from_bytes(blake2b(str(unique).encode(), digest_size=8).digest()) % 10_000_000
    return f"{number[:-7]}{digits:07}"


def report_values(
    described: type[Described], name: str, message_id: str, to: str
) -> dict[str, str]:
    """Returns the values that make the example of a report one about this message."""
    push = pushed(described, name)
    for kind, item, above in items(described, push):
        if isinstance(kind.table, Report):
            values = {_place(kind.table.message_id, item, push, above): message_id}
            if kind.table.to is not None and (place := _place(kind.table.to, item, push, above)):
                plus = "+" if _value(kind.table.to, item, push).startswith("+") else ""
                values[place] = f"{plus}{to.removeprefix('+')}"
            return {place: value for place, value in values.items() if place is not None}
    return {}
