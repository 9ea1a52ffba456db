"""STOP and START: opts people out of messages, and in again.

A message counts when it is nothing but one of the words, however it is typed: `Stop!`,
`please stop`, `STOP. Thank you`. Inside a sentence a word means what the sentence means:
`we must STOP this bill` is no opt-out. These words come before every rule. A probable misspelling
of a stop word (`STOPP`, `stop 123`) is put on a list, and is otherwise a message like any other.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterator
from typing import Literal

import msgspec

from receiver.handlers import (
    Action,
    Context,
    DeliveryReport,
    Event,
    Explanation,
    Flag,
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
#: Words that opt out of everything, whatever the scope of the other words.
EVERYTHING = frozenset({"STOPALL", "STOP ALL"})
#: Further words by language: those that opt out, those that opt in.
LANGUAGES = {
    "en": (STOP_WORDS, START_WORDS),
    "sw": (("ACHA", "SITISHA", "ONDOA", "JIONDOE", "JITOE"), ("ANZA", "RUDISHA")),
}

#: Ordinary words that are a letter away from a stop word.
ORDINARY = frozenset(
    {
        *("SHOP", "STEP", "SLOP", "SWOP", "ATOP", "STOW", "STOA", "STOUP", "STOOP", "STOMP"),
        *("STROP", "STOPE", "TOP", "SOP", "STO", "SUIT", "QUIZ", "QUIET", "QUITE", "QUILT", "QUID"),
        *("QUIP", "QUINT", "QUOIT", "QUITO", "CANCER", "ACHE", "AICHA", "ASHA", "ACH", "CHA"),
        *("BACHA", "KACHA", "PACHA", "TACHA", "ONDOKA", "ONGOA", "ONDO", "JITOA", "JITO"),
    }
)
#: Words shorter than this are a letter away from too many others.
_NEAR_LENGTH = 4
#: Letters and characters in all of the words that make a near miss behind a stop word.
_SHORT_WORD, _SHORT_WORDS = 4, 6

_POLITE = re.compile(
    r"(?<!\S)(?:PLEASE|PLS|PLZ|KINDLY|TAFADHALI|(?:ASANTE|AHSANTE)(?: SANA)?"
    r"|(?:MANY )?(?:THANKS|THANKYOU|THX|TY|THANK (?:YOU|U))(?: (?:VERY|SO) MUCH)?)(?!\S)"
)
#: Polite words that may stand before the word itself.
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

    scope: Literal["all", "short_code", "service"] = "all"
    """The scope of a word: everything, the address it was sent to, or the service of the message.
    STOPALL always covers everything."""
    languages: list[str] = []
    """The languages whose built-in words count besides the English ones."""
    stop_words: list[str] = []
    """Words besides the built-in ones, for example SITAKI."""
    start_words: list[str] = []
    """Words besides the built-in ones, for example NIPE."""
    ordinary_words: list[str] = []
    """Words that look like misspelt stop words and are none: your own keywords, for example."""
    stop_reply: str = "You will get no more messages from us. To get them again, text START."
    start_reply: str = "You will get our messages again. To stop them, text STOP."


class Word(msgspec.Struct, frozen=True):
    """A reserved word, as it is recorded, and its effect."""

    text: str
    kind: Literal["stop", "start"]


class Found(msgspec.Struct, frozen=True):
    """The meaning of a message: an opt-out, an opt-in or a near miss."""

    word: Word
    near: bool = False
    """True if it may have been meant as the word, but is not the word."""


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """The scope of an opt-out; both None: everything."""

    short_code: str | None = None
    service_id: str | None = None


class State(msgspec.Struct, frozen=True):
    """The words, prepared for looking them up."""

    words: dict[str, Word]
    """The words by the folded phrase."""
    beginnings: frozenset[str]
    """First words of all messages that can count."""
    near: dict[str, Word]
    """Stop words by the texts one letter away from them."""
    replies: dict[str, Reply]
    """The replies by kind."""


def setup(settings: Settings) -> State:
    """Makes the tables of the built-in words and those of the configuration."""
    words: dict[str, Word] = {}
    faults: list[Exception] = [
        SettingsError(f"languages[{n}]", f"expected one of {', '.join(LANGUAGES)}; got {name!r}")
        for n, name in enumerate(settings.languages)
        if name not in LANGUAGES
    ]

    def add(text: str, kind: Literal["stop", "start"], key: str) -> None:
        word = Word(phrase(text), kind)
        if not word.text:
            faults.append(SettingsError(key, "expected a word, got an empty text"))
            return
        for spelling in filter(None, (word.text, _bare(word.text))):
            if words.setdefault(spelling, word).kind != kind:
                faults.append(SettingsError(key, f"{word.text} is a {words[spelling].kind} word"))
                return

    for text, kind, key in _reserved(settings):
        add(text, kind, key)
    if faults:
        raise ExceptionGroup("opt-out words", faults)
    ordinary = ORDINARY.union(map(phrase, settings.ordinary_words))
    return State(
        words=words,
        beginnings=frozenset(spelling.split(" ")[0] for spelling in words) | _POLITE_BEGINNINGS,
        near=_near(words, ordinary),
        replies={
            # Of two that come together the second changes nothing: known only when it is stored.
            "stop": Reply(settings.stop_reply, even_if_opted_out=True, if_changed=True),
            "start": Reply(settings.start_reply),
        },
    )


def _reserved(settings: Settings) -> Iterator[tuple[str, Literal["stop", "start"], str]]:
    """Yields each word as it is written, its effect, and its setting."""
    for language in dict.fromkeys(["en", *filter(LANGUAGES.get, settings.languages)]):
        stop_words, start_words = LANGUAGES[language]
        yield from ((text, "stop", "") for text in stop_words)
        yield from ((text, "start", "") for text in start_words)
    yield from ((text, "stop", f"stop_words[{n}]") for n, text in enumerate(settings.stop_words))
    yield from ((text, "start", f"start_words[{n}]") for n, text in enumerate(settings.start_words))


def _near(words: dict[str, Word], ordinary: frozenset[str]) -> dict[str, Word]:
    """Returns texts one letter away from a stop word of four or more letters that are no words."""
    stops = [
        (spelling, word)
        for spelling, word in words.items()
        if word.kind == "stop" and len(spelling) >= _NEAR_LENGTH and spelling.isalpha()
    ]
    letters = sorted({*string.ascii_uppercase, *"".join(spelling for spelling, _ in stops)})
    near: dict[str, Word] = {}
    for spelling, word in stops:
        for other in _one_away(spelling, letters):
            if other not in words and other not in ordinary:
                near.setdefault(other, word)
    return near


def _one_away(word: str, letters: list[str]) -> Iterator[str]:
    """Yields the word with a letter added, removed or replaced, or with two letters swapped."""
    for at in range(len(word) + 1):
        before, after = word[:at], word[at:]
        yield from (before + letter + after for letter in letters)
        if after:
            yield before + after[1:]
            yield from (before + letter + after[1:] for letter in letters)
        if len(after) > 1:
            yield before + after[1] + after[0] + after[2:]


@on_message(inline=True, first=True)
def opt(event: Event[Message], context: Context[State]) -> Action | list[Action] | None:
    """Opts the sender out or in; no other handler can answer then.

    A person who is opted out already is not told so again.
    """
    state, person = context.state, event.data.from_
    found = _find(event.data.text, state)
    if found is None or not is_e164(person):
        return None
    word = found.word
    if found.near:
        return Flag(f"near miss of {word.text}")
    scope = _scope(event.data, word, context.settings)
    if word.kind == "start":
        back = OptIn(person, word.text, scope.short_code, scope.service_id)
        return [back, state.replies["start"]]
    known = _has_opted_out(person, scope, context)
    reply = Reply("", even_if_opted_out=True) if known else state.replies["stop"]
    return [OptOut(person, word.text, scope.short_code, scope.service_id), reply]


@on_delivery(inline=True)
def note_network(event: Event[DeliveryReport], context: Context[State]) -> Action | None:
    """Opts a person out who told the network to stop our sender, if the report names the person.

    Where it does not, the store finds the person by the message.
    """
    report = event.data
    if report.opted_out and report.to is not None and is_e164(report.to):
        return OptOut(report.to, "network", short_code=report.sender)
    return None


def _scope(message: Message, word: Word, settings: Settings) -> Scope:
    """Returns the scope of the word. Without a service it is the address of the message."""
    if settings.scope == "all" or word.text in EVERYTHING:
        return Scope()
    # Tilil's service 0 is none.
    if settings.scope == "service" and message.service_id not in (None, "", "0"):
        return Scope(service_id=message.service_id)
    return Scope(short_code=message.to)


def _has_opted_out(person: str, scope: Scope, context: Context[State]) -> bool:
    people = context.people
    return people.has_opted_out(person, short_code=scope.short_code, service_id=scope.service_id)


def explain(event: Event[Message], context: Context[State]) -> list[Explanation]:
    """Says whether the message is one of the words."""
    state = context.state
    found = _find(event.data.text, state)
    if found is None:
        why = "the message is none of " + ", ".join(sorted({w.text for w in state.words.values()}))
        return [Explanation(rule="reserved words", verdict="no", why=why)]
    word = found.word
    rule = f"reserved word {word.text}"
    if not is_e164(event.data.from_):
        why = "the sender is no person's number, so there is nobody to opt out or in"
        return [Explanation(rule=rule, verdict="no", why=why)]
    if found.near:
        why = "the message is nearly the word: it is listed in `receiver opt-outs near-misses`"
        return [Explanation(rule=rule, verdict="no", why=why)]
    what = "opts the sender out" if word.kind == "stop" else "opts the sender in again"
    scope = _scope(event.data, word, context.settings)
    why = f"the whole message is the word; it {what}{_about(scope)}, before any rule is asked"
    if word.kind == "stop" and _has_opted_out(event.data.from_, scope, context):
        why = f"{why}, without a reply: the sender has opted out already"
        return [Explanation(rule=rule, verdict="acts", why=why)]
    reply = state.replies[word.kind].text
    if not reply:
        return [Explanation(rule=rule, verdict="acts", why=f"{why}, without a reply")]
    return [Explanation(rule=rule, verdict="answers", why=why, reply=reply)]


def _about(scope: Scope) -> str:
    if scope.service_id is not None:
        return f" of service {scope.service_id}"
    return f" of messages from {scope.short_code}" if scope.short_code is not None else ""


def _find(text: str, state: State) -> Found | None:
    if not text.isascii() and any(char in text for char in _ZERO_WIDTH):
        joined = text
        for char in _ZERO_WIDTH:
            joined = joined.replace(char, "")
        both = [found for each in (text, joined) if (found := _look_up(each, state))]
        return min(both, key=lambda found: found.near, default=None)
    return _look_up(text, state)


def _look_up(text: str, state: State) -> Found | None:
    first = fold(split(text)[0])
    if first not in state.beginnings and first not in state.near and first.isalnum():
        return None  # nearly every message ends here
    whole = phrase(text)
    bare = _polished(_bare(whole))
    word = state.words.get(whole) or state.words.get(bare)
    if word is not None:
        return Found(word)
    word = state.near.get(bare) or _followed(bare, state)
    return Found(word, near=True) if word is not None else None


def _followed(whole: str, state: State) -> Word | None:
    """Returns the stop word before one or two short words, such as `123` or `it now`."""
    first, *rest = whole.split(" ")
    word = state.words.get(first)
    if word is None or word.kind != "stop" or len(first) < _NEAR_LENGTH or len(rest) not in (1, 2):
        return None
    # Digits may be a short code of ours.
    short = all(len(each) <= _SHORT_WORD or each.isdecimal() for each in rest)
    return word if short and sum(map(len, rest)) <= _SHORT_WORDS else None


def _bare(whole: str) -> str:
    """Returns letters and digits only: `STOP` of `STOP. 🙏`, `STOP ALL` of `STOP-ALL!`."""
    return " ".join(
        "".join(
            char if char.isalnum() or unicodedata.category(char)[0] == "M" else " "
            for char in whole
        ).split()
    )


def _polished(whole: str) -> str:
    return " ".join(_POLITE.sub("", whole).split())
