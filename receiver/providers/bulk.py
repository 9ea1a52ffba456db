"""Reads the answers about messages to many: yes for some of them may be no for others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

from receiver.errors import ProviderError
from receiver.providers.calls import count, garbled, ids_in, json_of
from receiver.providers.contract import Partly, Response
from receiver.providers.payloads import as_word

#: Fields that hold what failed, or how much of it, if they are not empty.
_FAILURES = ("error", "errors", "failed", "failed_recipients", "invalid_numbers", "rejected")
#: Values of `status` that say no.
_NO = frozenset({"error", "failed", "invalid", "rejected"})
#: Fields that count the messages that were taken.
_COUNTS = ("accepted", "queued", "sent", "successful")


def taken(response: Response, *ids: str, refused: Callable[[Response], ProviderError]) -> Any:
    """Returns the JSON of an answer as it came; as `Partly` if it names failures, too.

    `ids`: the fields with ids of messages. An answer that names messages which were taken is no
    refusal, whatever its HTTP status says. Raises `ProviderError`, by `refused` for a plain no.
    """
    try:
        answer = json_of(response)
    except ProviderError:
        answer = None
    objects = list(_objects(answer))
    some = bool(ids_in(answer, *ids)) or any(_counts(each) for each in objects)
    says_no = any(each.get("success") is False for each in objects[:1])
    if not some and (says_no or not response.succeeded):
        raise refused(response)
    if not (some or any(objects)):
        raise garbled(response, "JSON about the messages")
    whole = response.succeeded and response.status != HTTPStatus.MULTI_STATUS and not says_no
    if whole and not any(_failed(each, ids) for each in objects):
        return answer
    return Partly(answer, "some were taken" if some else "it does not say that any was taken")


def _objects(value: object) -> Iterator[dict[str, Any]]:
    """Yields every object in JSON, the outermost first."""
    found = [value]
    for each in found:  # grows during the loop
        if isinstance(each, dict):
            yield each
            found += each.values()
        elif isinstance(each, list):
            found += each


def _counts(fields: dict[str, Any]) -> bool:
    return any(count(fields.get(name)) for name in _COUNTS)


def _failed(fields: dict[str, Any], ids: tuple[str, ...]) -> bool:
    """Returns True for an object that says that something of it failed."""
    if any(fields.get(name) not in (None, "", "0", 0, [], {}, False) for name in _FAILURES):
        return True
    without_id = any(name in fields and fields[name] is None for name in ids)
    return without_id or (as_word(fields.get("status")) or "").casefold() in _NO
