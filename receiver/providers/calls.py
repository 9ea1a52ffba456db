"""Makes requests to providers' APIs and reads their answers, for all providers' files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec

from receiver import limits
from receiver.errors import ProviderError
from receiver.providers.contract import Request, Response
from receiver.providers.payloads import as_word
from receiver.text.msisdn import whole

T = TypeVar("T")

#: Characters of a provider's own words that are kept.
_MOST_WORDS = 300


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """The meaning of one of a provider's error codes."""

    meaning: str
    retryable: bool = False
    """Nothing was sent, and the same request may work later: too little credit, a fault there."""
    tomorrow: bool = False
    """Nothing was sent, and the same request may work on the next day: a limit of a day."""
    unknown: bool = False
    """The provider itself does not say whether it was sent."""
    opted_out: bool = False
    """The person must not be messaged."""
    link_invalid: bool = False
    """The link_id is used up or too old."""


def post_json(
    url: str,
    payload: Mapping[str, object],
    read: Callable[[Response], T],
    *,
    headers: Mapping[str, str] | None = None,
    bulk: bool = False,
) -> Request[T]:
    """Makes a POST of a JSON object; fields that are None are left out."""
    return Request(
        method="POST",
        url=url,
        headers={"content-type": "application/json", **(headers or {})},
        body=msgspec.json.encode({k: v for k, v in payload.items() if v is not None}),
        read=read,
        bulk=bulk,
    )


def verbatim(request: Request[Any]) -> Request[Any]:
    """Returns the same request, which returns a successful answer as the provider's own JSON."""
    return request.then(lambda _, response: json_of(response))


def json_of(response: Response) -> Any:
    """Returns the JSON in an answer. Raises an unknown `ProviderError` if there is none.

    Numbers with a point become texts with the digits that came; whole ones without a fraction.
    """
    try:
        value = json.loads(response.text, parse_float=whole, parse_constant=str)
        # Half a surrogate pair could not be stored.
        return json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise garbled(response, "JSON") from None


def object_of(response: Response) -> dict[str, Any]:
    """Returns the JSON object in an answer. Raises an unknown `ProviderError` if there is none."""
    value = json_of(response)
    if not isinstance(value, dict):
        raise garbled(response, "a JSON object")
    return value


def words_in(response: Response, *fields: str) -> str | None:
    """Returns the provider's words: the first of these fields of a JSON object that has a text."""
    try:
        value = object_of(response)
    except ProviderError:
        return None
    return next(filter(None, (as_word(value.get(field)) for field in fields)), None)


def ids_in(value: object, *fields: str) -> list[str]:
    """Returns every id in JSON of an undocumented shape: in these fields, or in a bare list."""
    ids = []
    found = [(fields[0] if isinstance(value, list) else "", value)]
    for field, each in found:  # grows during the loop
        if isinstance(each, dict):  # below a field of ids, the names are numbers of people
            found += each.items() if field not in fields else [(field, v) for v in each.values()]
        elif isinstance(each, list):
            found += [(field, item) for item in each]
        elif field in fields and (id_ := as_word(each)):
            ids.append(id_)
    return ids


def count(value: object) -> int | None:
    """Reads a field that should be a small whole number."""
    word = as_word(value) or ""
    return int(word) if word.isdecimal() and word.isascii() and len(word) < 10 else None


def listed(text: str) -> list[str]:
    """Splits a text with commas, as lists are written in parameters."""
    return [item.strip() for item in text.split(",") if item.strip()]


def garbled(response: Response, expected: str) -> ProviderError:
    """Makes the error of an answer that is neither success nor refusal."""
    return ProviderError(
        f"expected {expected}, got {words(response.text) or 'nothing'} (HTTP {response.status})",
        code=str(response.status),
        unknown=True,
    )


def words(text: str) -> str:
    """Puts a provider's words into one bounded line."""
    line = " ".join(text.split())
    return line if len(line) <= _MOST_WORDS else f"{line[:_MOST_WORDS]}…"


def retry_after(response: Response) -> float | None:
    """Returns the seconds that the provider asks to wait; None if it does not say."""
    return limits.retry_after(response.headers.get("retry-after", ""), response.received_at)


#: HTTP statuses that certainly mean that nothing was done, and that a later try may work: a wrong
#: or blocked key can be replaced, an account topped up.
_RETRYABLE = frozenset({401, 402, 403, 407, 425, 429, 503})
#: HTTP statuses with an unknown outcome: a gateway timed out, or the provider failed meanwhile.
_UNKNOWN = frozenset({408, 500, 502, 504})


def http_error(
    response: Response, said: str | None = None, *, retryable: frozenset[int] = frozenset()
) -> ProviderError:
    """Makes the error of an answer whose HTTP status is no success.

    `said`: the provider's words, if they are not the whole body;
    `retryable`: statuses that this provider documents as temporary failures.
    """
    status = response.status
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "unknown status"
    may_retry = status in _RETRYABLE | retryable
    return ProviderError(
        words(said if said is not None else response.text) or phrase,
        code=str(status),
        retryable=may_retry,
        unknown=not may_retry and (status in _UNKNOWN or status > 504),
        retry_after=retry_after(response),
    )


def refusal(table: Mapping[str, Refusal], code: str, said: str | None) -> ProviderError:
    """Makes the error for one of a provider's own codes; a code outside the table is a refusal."""
    known = table.get(code)
    if known is None:
        return ProviderError(words(said or "unknown code"), code=code)
    return _known(known, code, said)


def http_refusal(
    table: Mapping[int, Refusal], response: Response, said: str | None = None
) -> ProviderError:
    """Makes the error for an HTTP status that a provider documents; `http_error` for others."""
    known = table.get(response.status)
    if known is None:
        return http_error(response, said)
    error = _known(known, str(response.status), said or response.text)
    error.retry_after = retry_after(response)
    return error


def _known(known: Refusal, code: str, said: str | None) -> ProviderError:
    return ProviderError(
        words(said or known.meaning),
        code=code,
        retryable=known.retryable or known.tomorrow,
        unknown=known.unknown,
        tomorrow=known.tomorrow,
        opted_out=known.opted_out,
        link_invalid=known.link_invalid,
    )
