"""Compiles the answers of `[send]`: what is a yes, and what a no means."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from receiver.errors import ProviderError
from receiver.providers.calls import (
    garbled,
    http_error,
    json_of,
    refusal,
    retry_after,
)
from receiver.providers.contract import Push, Response
from receiver.providers.described.compilation import Compilation
from receiver.providers.described.conditions import Test
from receiver.providers.described.grammar import (
    BalanceAnswer,
    Refused,
    SentAnswer,
    StatusAnswer,
)
from receiver.providers.described.paths import Get, Payload, items, present
from receiver.providers.payloads import as_word
from receiver.providers.statuses import without_zeros

_HTTP = "http:"


class Said(msgspec.Struct, frozen=True):
    """What the gateway says."""

    items: list[Any]
    """What it says of each part; one item without `each`."""
    push: Push
    """The answer in the form of a push, as paths read it."""

    @property
    def first(self) -> Any:
        """What it says of the first part."""
        return self.items[0] if self.items else None


class AnswerReader(msgspec.Struct, frozen=True):
    """Reads the answers to one call."""

    success: Test
    pattern: re.Pattern[str] | None
    each: Get | None
    code: Get
    reason: Get
    refusals: dict[str, Refused]

    def read(self, response: Response) -> Said:
        """Returns a yes. Raises `ProviderError` for a no, and for what is neither."""
        said = self.open(response)
        first, push = said.first, said.push
        if response.succeeded and said.items and self.success(first, push):
            return said
        code = without_zeros(as_word(self.code(first, push)))
        raise self._no(response, code, as_word(self.reason(first, push)))

    def open(self, response: Response) -> Said:
        """Returns what an answer says, yes or no."""
        root = self._root(response)
        push = Push(
            method="",
            headers=[(k.encode(), v.encode()) for k, v in response.headers.items()],
            received_at=response.received_at,
            payload=Payload(root),
        )
        return Said(self._items(root, push), push)

    def _root(self, response: Response) -> Any:
        """Returns JSON, or the groups of the pattern in a text, by their names."""
        if self.pattern is not None:
            match = self.pattern.search(response.text)
            return match.groupdict() if match is not None else {}
        try:
            return json_of(response)
        except ProviderError:
            return {}

    def _items(self, root: Any, push: Push) -> list[Any]:
        return [root] if self.each is None else items(self.each(root, push))

    def _no(self, response: Response, code: str | None, reason: str | None) -> ProviderError:
        known = code if code in self.refusals else f"{_HTTP}{response.status}"
        if known in self.refusals:
            error = refusal(self.refusals, known, reason or response.text)
            error.retry_after = retry_after(response)
        elif not response.succeeded:
            error = http_error(response, reason)
        elif code is None and reason is None:
            return garbled(response, "an answer that says yes or no")
        else:
            error = refusal(self.refusals, code or str(response.status), reason)
        error.code = code or str(response.status)
        return error


def compile_answer(
    found: Compilation,
    key: str,
    answer: SentAnswer | StatusAnswer | BalanceAnswer,
    refusals: dict[str, Refused],
    essential: Get | None,
) -> AnswerReader:
    """Returns what reads the answers to a call. Without conditions a yes has what is essential."""
    each = None if isinstance(answer, BalanceAnswer) else answer.each
    return AnswerReader(
        success=found.conditions(f"{key}.success", answer.success)[1] or _has(essential),
        pattern=_pattern(found, f"{key}.pattern", answer.pattern),
        each=found.path(f"{key}.each", each) if each is not None else None,
        code=found.path(f"{key}.code", answer.code),
        reason=found.path(f"{key}.reason", answer.reason),
        refusals=refusals,
    )


def compile_refusals(found: Compilation, table: dict[str, Refused]) -> dict[str, Refused]:
    """Returns the meaning of each code and HTTP status; codes are without leading zeros."""
    for code in table:
        status = code.removeprefix(_HTTP)
        if code.startswith(_HTTP) and not (status.isascii() and status.isdecimal()):
            found.fault(f"send.refusals.{code}", "expected an HTTP status, such as http:402")
    return {without_zeros(code) or code: refused for code, refused in table.items()}


def _has(get: Get | None) -> Test:
    if get is None:
        return lambda _item, _push: True
    return lambda item, push: present(get(item, push))


def _pattern(found: Compilation, key: str, text: str | None) -> re.Pattern[str] | None:
    if text is None:
        return None
    try:
        return re.compile(text, re.DOTALL)
    except re.error as error:
        found.fault(key, f"expected a regular expression: {error}")
        return None
