"""Finds the answers among a description's examples of sending, and puts other values into them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from receiver.providers.described.grammar import SendExample, Sending

#: Words in the name of an example, or in the meaning of its code, by the reason of a refusal.
_WORDS = {
    "credit": ("credit", "balance", "fund"),
    "key": ("key", "credential", "password", "auth"),
    "number": ("number", "recipient", "msisdn"),
}


def success(send: Sending) -> SendExample:
    """Returns the first example of a message that is taken."""
    return next(each for each in send.example if each.message and each.result is not None)


def refusals(send: Sending) -> dict[str, SendExample]:
    """Returns an example of each refusal: `blocked`, `credit`, `key`, `number`."""
    found: dict[str, SendExample] = {}
    for each in send.example:
        if each.refused is None:
            continue
        meaning = send.refusals.get(str(each.refused.get("code")))
        said = f"{each.name} {meaning.meaning if meaning else ''}".lower()
        if each.refused.get("opted_out"):
            found.setdefault("blocked", each)
        for why, words in _WORDS.items():
            if any(word in said for word in words):
                found.setdefault(why, each)
    return found


def replaced(example: SendExample, new: Mapping[str, str]) -> Response:
    """Returns the answer of an example, with other values for some texts in it."""
    answer = example.response
    if answer.json is not None:
        body = json.dumps(_tree(answer.json, new))
    elif new:
        every = "|".join(re.escape(text) for text in sorted(new, key=len, reverse=True))
        body = re.sub(rf"(?<!\w)(?:{every})(?!\w)", lambda found: new[found[0]], answer.body)
    else:
        body = answer.body
    kind = "application/json" if answer.json is not None else "text/plain"
    return Response(body, answer.status, dict(answer.headers), media_type=kind)


def _tree(value: Any, new: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _tree(each, new) for name, each in value.items()}
    if isinstance(value, list):
        return [_tree(each, new) for each in value]
    if isinstance(value, str):
        return new.get(value, value)
    return int(new[str(value)]) if type(value) is int and str(value) in new else value
