"""STOP and START: who must not be messaged any more, and who may be again.

A message counts when it is nothing but one of the words, however it is typed: `Stop!`,
`please stop`, `STOP. Thank you`. Inside a sentence a word means what the sentence means:
`we must STOP this bill` is no opt-out. These words come before every rule.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

import msgspec

from receiver.handlers import (
    Action,
    Context,
    DeliveryReport,
    Event,
    Explanation,
    Message,
    OptIn,
    OptOut,
    Reply,
    SettingsError,
    fold,
    is_e164,
    on_delivery,
    on_message,
    phrase,
    split,
)

STOP_WORDS = ("STOP", "STOPALL", "STOP ALL", "UNSUBSCRIBE", "END", "QUIT", "CANCEL")
START_WORDS = ("START", "UNSTOP")

_POLITE = re.compile(
    r"(?<!\S)(?:PLEASE|PLS|PLZ|KINDLY|TAFADHALI|(?:ASANTE|AHSANTE)(?: SANA)?"
    r"|(?:MANY )?(?:THANKS|THANKYOU|THX|TY|THANK (?:YOU|U))(?: (?:VERY|SO) MUCH)?)(?!\S)"
)
#: What a message with politeness in it may begin with, besides the word itself.
_POLITE_BEGINNINGS = frozenset(
    {
        *("PLEASE", "PLS", "PLZ", "KINDLY", "TAFADHALI", "ASANTE", "AHSANTE"),
        *("MANY", "THANKS", "THANKYOU", "THX", "TY", "THANK"),
    }
)
#: White space to a reader, but some keyboards put it inside words.
_ZERO_WIDTH = ("\u200b", "\ufeff")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`[plugins.opt_out]`. An empty reply: the word is obeyed in silence."""

    stop_words: list[str] = []
    """Besides the English ones, for example ACHA."""
    start_words: list[str] = []
    """Besides the English ones, for example ANZA."""
    stop_reply: str = "You will get no more messages from us. To get them again, text START."
    start_reply: str = "You will get our messages again. To stop them, text STOP."


class Word(msgspec.Struct, frozen=True):
    """A reserved word, as it is recorded, and what it does."""

    text: str
    kind: Literal["stop", "start"]


class State(msgspec.Struct, frozen=True):
    """The words, prepared for looking them up."""

    words: dict[str, Word]
    """By the folded phrase."""
    beginnings: frozenset[str]
    """First words of all messages that can count."""
    replies: dict[str, Reply]
    """By kind."""


def setup(settings: Settings) -> State:
    """The built-in words and those of the configuration."""
    words: dict[str, Word] = {}
    faults: list[Exception] = []

    def add(text: str, kind: Literal["stop", "start"], key: str) -> None:
        word = Word(phrase(text), kind)
        if not word.text:
            faults.append(SettingsError(key, "expected a word, got an empty text"))
            return
        for spelling in filter(None, (word.text, _bare(word.text))):
            if words.setdefault(spelling, word).kind != kind:
                faults.append(SettingsError(key, f"{word.text} is a {words[spelling].kind} word"))
                return

    for text in STOP_WORDS:
        add(text, "stop", "")
    for text in START_WORDS:
        add(text, "start", "")
    for n, text in enumerate(settings.stop_words):
        add(text, "stop", f"stop_words[{n}]")
    for n, text in enumerate(settings.start_words):
        add(text, "start", f"start_words[{n}]")
    if faults:
        raise ExceptionGroup("opt-out words", faults)
    return State(
        words=words,
        beginnings=frozenset(spelling.split(" ")[0] for spelling in words) | _POLITE_BEGINNINGS,
        replies={
            "stop": Reply(settings.stop_reply, even_if_opted_out=True),
            "start": Reply(settings.start_reply),
        },
    )


@on_message(inline=True, first=True)
def opt(event: Event[Message], context: Context[State]) -> list[Action] | None:
    """Opts the sender out or in, and keeps every other handler from answering."""
    state, person = context.state, event.data.from_
    word = _find(event.data.text, state)
    if word is None or not is_e164(person):
        return None
    if word.kind == "stop":
        return [OptOut(person, word.text), state.replies["stop"]]
    return [OptIn(person, word.text), state.replies["start"]]


@on_delivery(inline=True)
def note_network(event: Event[DeliveryReport], context: Context[State]) -> Action | None:
    """Opts out who told the network to stop our messages."""
    report = event.data
    if report.opted_out and report.to is not None and is_e164(report.to):
        return OptOut(report.to, "network")
    return None


def explain(event: Event[Message], context: Context[State]) -> list[Explanation]:
    """Whether the message is one of the words."""
    state = context.state
    word = _find(event.data.text, state)
    if word is None:
        why = "the message is none of " + ", ".join(sorted({w.text for w in state.words.values()}))
        return [Explanation(rule="reserved words", verdict="no", why=why)]
    rule = f"reserved word {word.text}"
    if not is_e164(event.data.from_):
        why = "the sender is no person's number, so there is nobody to opt out or in"
        return [Explanation(rule=rule, verdict="no", why=why)]
    what = "opts the sender out" if word.kind == "stop" else "opts the sender in again"
    why = f"the whole message is the word; it {what}, before any rule is asked"
    reply = state.replies[word.kind].text
    if not reply:
        return [Explanation(rule=rule, verdict="acts", why=f"{why}, without a reply")]
    return [Explanation(rule=rule, verdict="answers", why=why, reply=reply)]


def _find(text: str, state: State) -> Word | None:
    if not text.isascii() and any(char in text for char in _ZERO_WIDTH):
        joined = text
        for char in _ZERO_WIDTH:
            joined = joined.replace(char, "")
        return _look_up(text, state) or _look_up(joined, state)
    return _look_up(text, state)


def _look_up(text: str, state: State) -> Word | None:
    first = fold(split(text)[0])
    if first not in state.beginnings and first.isalnum():
        return None  # nearly every message ends here
    whole = phrase(text)
    return state.words.get(whole) or state.words.get(_polished(_bare(whole)))


def _bare(whole: str) -> str:
    """Letters and digits only: `STOP. 🙏` and `STOP-ALL!` without what is between."""
    return " ".join(
        "".join(
            char if char.isalnum() or unicodedata.category(char)[0] == "M" else " "
            for char in whole
        ).split()
    )


def _polished(whole: str) -> str:
    return " ".join(_POLITE.sub("", whole).split())
