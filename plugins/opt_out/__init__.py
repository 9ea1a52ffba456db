"""STOP and START: opts people out of messages, and in again.

A message counts when it is nothing but one of the words, however it is typed: `Stop!`, `S.T.O.P`,
`please stop`, `STOP STOP`, or a sentence that asks for nothing else: `stop texting me`. Inside
another sentence a word means what the sentence means: `we must STOP this bill` is no opt-out.
These words come before every rule. A probable misspelling of a stop word (`STOPP`, `stop 123`) is
put on a list, and is otherwise a message like any other. `words` holds the words, `reading` finds
them in messages, `sentences` knows the sentences.
"""

from __future__ import annotations

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
    is_e164,
    on_delivery,
    on_message,
    phrase,
)

from .reading import Reader, bared, beginnings
from .words import EVERYTHING, LANGUAGES, ORDINARY, Word, near_words


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
    """Words that look like stop words and are none: your own keywords, for example."""
    stop_reply: str = "You will get no more messages from us. To get them again, text START."
    start_reply: str = "You will get our messages again. To stop them, text STOP."


#: The scope of an opt-out: its `short_code` or `service_id`; empty: everything.
Scope = dict[Literal["short_code", "service_id"], str | None]


class State(msgspec.Struct, frozen=True):
    """The words, prepared for looking them up."""

    reader: Reader
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
        for spelling in filter(None, (word.text, bared(word.text))):
            if words.setdefault(spelling, word).kind != kind:
                faults.append(SettingsError(key, f"{word.text} is a {words[spelling].kind} word"))
                return

    for text, kind, key in _reserved(settings):
        add(text, kind, key)
    if faults:
        raise ExceptionGroup("opt-out words", faults)
    ordinary = ORDINARY.union(map(phrase, settings.ordinary_words))
    return State(
        reader=Reader(
            words=words,
            near=near_words(words, ordinary),
            ordinary=ordinary - words.keys(),
            beginnings=beginnings(words),
            most_words=max(spelling.count(" ") + 1 for spelling in words),
            languages=frozenset(("en", *settings.languages)),
        ),
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


@on_message(inline=True, first=True)
def opt(event: Event[Message], context: Context[State]) -> Action | list[Action] | None:
    """Opts the sender out or in; no other handler can answer then.

    A person who is opted out already is not told so again.
    """
    state, person = context.state, event.data.from_
    found = state.reader.find(event.data.text, event.data.to)
    if found is None or not is_e164(person):
        return None
    word = found.word
    if found.near:
        return Flag(f"near miss of {word.text}")
    scope = _scope(event.data, word, context.settings)
    if word.kind == "start":
        return [OptIn(person, word.text, **scope), state.replies["start"]]
    known = context.people.has_opted_out(person, **scope)
    reply = Reply("", even_if_opted_out=True) if known else state.replies["stop"]
    return [OptOut(person, word.text, **scope), reply]


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
        return {}
    # Tilil's service 0 is none.
    if settings.scope == "service" and message.service_id not in (None, "", "0"):
        return {"service_id": message.service_id}
    return {"short_code": message.to}


def explain(event: Event[Message], context: Context[State]) -> list[Explanation]:
    """Says whether the message is one of the words."""
    state = context.state
    found = state.reader.find(event.data.text, event.data.to)
    if found is None:
        why = "the message is none of " + ", ".join(
            sorted({w.text for w in state.reader.words.values()})
        )
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
    how = "asks for what the word does" if found.sentence else "is the word"
    why = f"the whole message {how}; it {what}{_about(scope)}, before any rule is asked"
    if word.kind == "stop" and context.people.has_opted_out(event.data.from_, **scope):
        why = f"{why}, without a reply: the sender has opted out already"
        return [Explanation(rule=rule, verdict="acts", why=why)]
    reply = state.replies[word.kind].text
    if not reply:
        return [Explanation(rule=rule, verdict="acts", why=f"{why}, without a reply")]
    return [Explanation(rule=rule, verdict="answers", why=why, reply=reply)]


def _about(scope: Scope) -> str:
    if service_id := scope.get("service_id"):
        return f" of service {service_id}"
    return f" of messages from {scope['short_code']}" if scope.get("short_code") else ""
