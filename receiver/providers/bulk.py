"""Reads the answers about messages to many: yes for some of them may be no for others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from receiver.errors import ProviderError
from receiver.outgoing import OutgoingMessage, Sent
from receiver.providers.calls import count, garbled, ids_in, json_of, words
from receiver.providers.contract import Partly, Response
from receiver.providers.payloads import as_id, as_word

#: Fields that hold what failed, or how much of it, if they are not empty.
_FAILURES = ("error", "errors", "failed", "failed_recipients", "invalid_numbers", "rejected")
#: Values of `status` that say no.
_NO = frozenset({"error", "failed", "invalid", "rejected"})
#: Fields that hold the number of a person.
_NUMBERS = ("to", "mobile", "recipient", "number", "msisdn", "phone")
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


def by_person(
    messages: Sequence[OutgoingMessage],
    told: Mapping[str, Sent | ProviderError],
    otherwise: ProviderError,
) -> list[Sent | ProviderError]:
    """Returns what an answer tells of each message's person; `otherwise` where it tells nothing."""
    return [told.get(message.to, otherwise) for message in messages]


def each(
    response: Response,
    messages: Sequence[OutgoingMessage],
    person: Callable[[str], str],
    *ids: str,
    refused: Callable[[Response], ProviderError],
) -> list[Sent | ProviderError]:
    """Returns what an answer of undocumented shape says of each message.

    `person` normalises a number. An object with a number and an id is a message that was taken, one
    without an id a refusal. A yes that names nobody is one for all of them, without ids.
    """
    answer = taken(response, *ids, refused=refused)
    whole = answer.answer if isinstance(answer, Partly) else answer
    told: dict[str, Sent | ProviderError] = {}
    for fields in _objects(whole):
        number = next(filter(None, (as_word(fields.get(name)) for name in _NUMBERS)), None)
        if number is not None:
            told[person(number)] = _one(fields, ids)
    if not told and not isinstance(answer, Partly):
        return [Sent(message_id=None, to=message.to) for message in messages]
    return by_person(messages, told, unnamed(response))


def unnamed(response: Response) -> ProviderError:
    """Makes the error for somebody of whom an answer says nothing."""
    code = str(response.status)
    return ProviderError("the answer does not name this person", code=code, unknown=True)


def _one(fields: Mapping[str, Any], ids: Sequence[str]) -> Sent | ProviderError:
    id_ = next(filter(None, (as_id(fields.get(name)) for name in ids)), None)
    if id_ is not None:
        return Sent(message_id=id_)
    said = next(filter(None, (as_word(fields.get(name)) for name in ("error", "status"))), None)
    return ProviderError(words(said or "refused"))


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
