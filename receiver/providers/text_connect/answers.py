"""Reads the answers of Text-Connect's API, which are plain text.

An answer is a value, or a negative code with its words on the next line; both with HTTP 200.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from typing import Any

import msgspec

from receiver.providers.calls import Refusal, garbled, http_error, json_of, listed, refusal, words
from receiver.providers.contract import Balance, Partly, Response
from receiver.providers.payloads import as_word

#: The meaning of each code. Credit, tokens, suspensions and licences can be mended.
REFUSALS = {
    "-100": Refusal(meaning="not enough credits", retryable=True),
    "-101": Refusal(meaning="invalid credit id"),
    "-200": Refusal(meaning="invalid contact"),
    "-300": Refusal(meaning="database error", retryable=True),
    "-301": Refusal(meaning="unknown error", unknown=True),
    "-302": Refusal(meaning="XML error"),
    "-303": Refusal(meaning="XML error"),
    "-400": Refusal(meaning="some numbers failed"),
    "-401": Refusal(meaning="invalid destination address"),
    "-402": Refusal(meaning="source address too long"),
    "-403": Refusal(meaning="source address is not a number"),
    "-404": Refusal(meaning="blank body"),
    "-405": Refusal(meaning="invalid validity period"),
    "-406": Refusal(meaning="no route"),
    "-407": Refusal(meaning="invalid schedule date"),
    "-408": Refusal(meaning="the list is empty"),
    "-409": Refusal(meaning="the group is empty"),
    "-410": Refusal(meaning="invalid list"),
    "-411": Refusal(meaning="the daily limit of this number is exceeded", tomorrow=True),
    "-412": Refusal(meaning="the number is blacklisted", opted_out=True),
    "-414": Refusal(meaning="invalid group"),
    "-501": Refusal(meaning="unknown token or user", retryable=True),
    "-502": Refusal(meaning="unknown action"),
    "-503": Refusal(meaning="unknown message id"),
    "-504": Refusal(meaning="invalid From"),
    "-505": Refusal(meaning="invalid To"),
    "-506": Refusal(meaning="source address not allowed"),
    "-507": Refusal(meaning="details missing"),
    "-508": Refusal(meaning="error creating the user"),
    "-509": Refusal(meaning="unknown user"),
    "-510": Refusal(meaning="credits would fall below 0"),
    "-511": Refusal(meaning="maintenance", retryable=True),
    "-512": Refusal(meaning="the user is suspended", retryable=True),
    "-513": Refusal(meaning="licence error", retryable=True),
    "-514": Refusal(meaning="licence error", retryable=True),
    "-515": Refusal(meaning="licence error", retryable=True),
    "-516": Refusal(meaning="unknown list"),
    "-517": Refusal(meaning="cannot create the list"),
    "-518": Refusal(meaning="blank source address"),
    "-519": Refusal(meaning="blank body"),
    "-520": Refusal(meaning="unknown group"),
    "-521": Refusal(meaning="unknown background send"),
    "-522": Refusal(meaning="the background send has not finished", retryable=True),
    "-523": Refusal(meaning="no messages"),
    "-601": Refusal(meaning="unknown report"),
    "-701": Refusal(meaning="no user"),
    "-702": Refusal(meaning="invalid amount"),
    "-703": Refusal(meaning="invalid currency"),
}

_CODE = re.compile("-[0-9]{1,9}")
_AMOUNT = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")
#: An id has a digit in it: `OK` or `Error` are no ids.
_ID = re.compile("(?=[^0-9]*[0-9])[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
_WORDS = re.compile("[A-Za-z][A-Za-z0-9 _./:()'-]{0,63}")
_LINE = re.compile(r"([0-9]{1,9})\s*:\s*(.*)")
_DONE = "1"
#: The code of a send that was done for some numbers only.
_SOME_FAILED = "-400"


class Addressed(msgspec.Struct, frozen=True, kw_only=True):
    """The answer for one number of several."""

    to: str
    message_ids: list[str] = []
    """Several for a long text, if GetAllMessageIDs asks for them; none if it is refused."""
    code: str | None = None
    words: str | None = None


class SomeFailed(msgspec.Struct, frozen=True, kw_only=True):
    """The answer that some numbers failed, of which it does not say which ones."""

    ids: list[str]
    code: str
    words: str


class Note(msgspec.Struct, frozen=True):
    """A line of an answer that is about no line of contacts."""

    note: str


class Imported(msgspec.Struct, kw_only=True):
    """The answer for one line of contacts."""

    line: int
    result: str
    """Success, Partial, Failed, Duplicate Name or Duplicate Number."""
    reasons: list[str] = []


def status_word(response: Response) -> str:
    """Reads the word for a status."""
    word = _value(response)
    if not _WORDS.fullmatch(word):
        raise garbled(response, "a status")
    return word


def credit(response: Response) -> Balance:
    """Reads a number of credits."""
    amount = _value(response)
    if not _AMOUNT.fullmatch(amount):
        raise garbled(response, "a number of credits")
    return Balance(amount=amount, unit="credits")


def done(response: Response) -> str:
    """Reads the `1` of a call that was carried out."""
    if _value(response) != _DONE:
        raise garbled(response, _DONE)
    return _DONE


def table(response: Response) -> str:
    """Reads a table in CSV; one without any line is empty."""
    if response.text or not response.succeeded:
        _value(response)
    return response.text


def ids(response: Response) -> list[str]:
    """Reads one id or several, and nothing else."""
    found = listed(_value(response))
    if not found or not all(map(_ID.fullmatch, found)):
        raise garbled(response, "an id")
    return found


def background_ids(response: Response) -> list[str] | Partly:
    """Reads the ids of a background send; none if they were not asked for."""
    answers = listed(_lines(response)[0])
    if _SOME_FAILED in answers:
        return _some_failed(response, [each for each in answers if each != _SOME_FAILED])
    found = ids(response)
    return found if found != [_DONE] else []


def background_messages(response: Response) -> list[dict[str, Any]]:
    """Reads the messages of a background send. Its own refusal is JSON, others are codes."""
    _value(response)
    answer = json_of(response)
    if isinstance(answer, dict):
        code = as_word(answer.get("error")) or ""
        if _CODE.fullmatch(code):
            raise refusal(REFUSALS, code, as_word(answer.get("message")))
    if not isinstance(answer, list):
        raise garbled(response, "a list of messages")
    messages = [each if isinstance(each, dict) else {} for each in answer]
    if any(as_word(message.get("MessageID")) is None for message in messages):
        raise garbled(response, "messages with a MessageID")
    return messages


def _some_failed(response: Response, others: list[str]) -> Partly:
    """Reads an answer that says that some numbers failed; `others`: the ids beside the code."""
    if not all(map(_ID.fullmatch, others)):
        raise garbled(response, f"ids and {_SOME_FAILED}")
    said = words("; ".join(filter(None, _lines(response)[1:])))
    said = said or REFUSALS[_SOME_FAILED].meaning
    return Partly(SomeFailed(ids=others, code=_SOME_FAILED, words=said), said)


def addressed(response: Response, to: Sequence[str]) -> list[Addressed] | Partly:
    """Assigns the answers to the numbers: a code for each that is refused, else its ids.

    All get the same text, so all that are not refused have the same number of ids.
    """
    if len(to) > 1 and _lines(response)[0] == _SOME_FAILED:
        return _some_failed(response, [])
    answers = listed(_value(response))
    codes = [answer for answer in answers if _CODE.fullmatch(answer)]
    said = [line for line in _lines(response)[1:] if line]
    meanings = iter(said if len(said) == len(codes) else map(_meaning, codes))
    taken = len(to) - len(codes)
    each = max(1, (len(answers) - len(codes)) // max(1, taken))
    if len(answers) != len(codes) + each * taken:
        raise garbled(response, f"an answer for each of {len(to)} numbers")
    found, rest = [], iter(answers)
    for number in to:
        parts = [next(rest)]
        if _CODE.fullmatch(parts[0]):
            found.append(Addressed(to=number, code=parts[0], words=next(meanings)))
            continue
        parts += islice(rest, each - 1)
        if not all(map(_ID.fullmatch, parts)):
            raise garbled(response, "ids and codes")
        found.append(Addressed(to=number, message_ids=parts))
    return Partly(found, f"{len(codes)} of {len(to)} numbers were refused") if codes else found


def _meaning(code: str) -> str | None:
    known = REFUSALS.get(code)
    return known.meaning if known else None


def imported(response: Response) -> list[Imported | Note]:
    """Reads what is said of each line: first its result, then the reasons; then other words."""
    _value(response)
    found: dict[str, Imported] = {}
    notes = []
    for line in filter(None, _lines(response)):
        match = _LINE.fullmatch(line)
        if match is None:
            notes.append(Note(line))
        elif match[1] in found:
            found[match[1]].reasons.append(match[2])
        else:
            found[match[1]] = Imported(line=int(match[1]), result=match[2])
    if not found:
        raise garbled(response, "a result for each line")
    return [*found.values(), *notes]


def _lines(response: Response) -> list[str]:
    """Returns the lines of an answer, of which there is at least one."""
    if not response.succeeded:
        raise http_error(response)
    lines = [line.strip() for line in response.text.splitlines()]
    if not lines or lines[0].startswith("<"):
        raise garbled(response, "a value or a code")
    return lines


def _value(response: Response) -> str:
    """Returns the first line. Raises `ProviderError` if it is a code."""
    first, *others = _lines(response)
    if _CODE.fullmatch(first):
        raise refusal(REFUSALS, first, "; ".join(filter(None, others)))
    return first
