"""Finds the rule that answers a message.

Any number of rules needs only a few look-ups: by the folded words that begin or are the message, by
its first folded letters, and one pass of all regular expressions together.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

import msgspec

from receiver.handlers import Event, Message, People, Reply, fold, plain, split, words

from .conditions import Conditions
from .patterns import Pattern, Patterns
from .settings import Rule
from .templates import Render, ReplyFailed, Templates, Values, reason

#: The rules (their places in the file, in order) for messages to an address; None: to any.
ByAddress = dict[str | None, list[int]]


class Found(msgspec.Struct, frozen=True):
    """The rule for a message, and the parts of its text."""

    rule: int
    keyword: str
    rest: str
    groups: dict[str, str] = {}
    """The texts of the pattern's named groups."""


class Regexes(msgspec.Struct, frozen=True):
    """The rules with a pattern."""

    rules: list[int]
    every: Patterns
    """The patterns in the order of `rules`."""
    patterns: dict[int, Pattern]
    """By rule."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """The rules, prepared for looking them up."""

    rules: list[Rule]
    replies: list[Reply | Render]
    """The replies by rule; a `Reply` if the text is always the same."""
    templates: Templates
    conditions: list[Conditions | None]
    addresses: list[frozenset[str] | None]
    """The addresses of ours by rule; None: any."""
    keywords: dict[str, ByAddress] = {}
    """The rules by the folded keyword that begins a message; its words have single spaces."""
    lengths: dict[str, int] = {}
    """The most words that keywords with this first word have, where that is more than one."""
    whole: dict[str, ByAddress] = {}
    """The rules by the folded keyword that is the whole message."""
    most_words: int = 0
    """The most words of a key of `whole`."""
    openings: frozenset[str] = frozenset()
    """First words of the keys of `whole`."""
    beginnings: dict[str, ByAddress] = {}
    """The rules by the folded letters that begin a message, perhaps inside a word."""
    sizes: tuple[int, ...] = ()
    """The lengths of the keys of `beginnings`, longest first."""
    initials: frozenset[str] = frozenset()
    """First characters of the keys of `beginnings`."""
    symbols: bool = False
    """True if a keyword holds symbols, as `A+` does: then messages are read with theirs first."""
    regexes: Regexes | None = None
    defaults: ByAddress = {}

    def find(self, event: Event[Message], people: People) -> Found | None:
        """Returns the rule that answers a message: the first that fits and is no default."""
        first, rest = split(event.data.text)
        word = fold(first)
        found = self._by_keywords(event, people, symbols=True) if self.symbols else None
        if found is None:
            found = self._by_keywords(event, people, symbols=False)
        if (regexes := self.regexes) and (found is None or regexes.rules[0] < found.rule):
            found = self._by_pattern(regexes, word, rest, event, people, found)
        return found

    def _by_keywords(self, event: Event[Message], people: People, *, symbols: bool) -> Found | None:
        word = fold(split(event.data.text)[0], symbols=symbols)
        found = self._by_first_words(event, people, symbols=symbols)
        # Usually the other words need not be folded.
        if word in self.openings or not word.isascii():
            # One word more than any keyword has, to see that the message is longer.
            whole = " ".join(folded(event.data.text, self.most_words + 1, symbols=symbols))
            rule = self._pick(self.whole.get(whole), event, people)
            found = found if rule is None else _earlier(found, Found(rule, whole, ""))
        if self.sizes and (word[:1] in self.initials or not word.isascii()):
            found = _earlier(found, self._by_beginning(event, people, symbols=symbols))
        return found

    def default(self, event: Event[Message], people: People) -> Found | None:
        """Returns the default rule for a message that nothing else answers."""
        rule = self._pick(self.defaults, event, people)
        if rule is None:
            return None
        first, rest = split(event.data.text)
        return Found(rule, fold(first), rest)

    def _by_first_words(
        self, event: Event[Message], people: People, *, symbols: bool
    ) -> Found | None:
        first, rest = split(event.data.text)
        word, found = fold(first, symbols=symbols), None
        more = self.lengths.get(word, 1)
        while True:
            rule = self._pick(self.keywords.get(word), event, people)
            # Of one rule's keywords the longest counts: it leaves less in the rest.
            if rule is not None and (found is None or rule <= found.rule):
                found = Found(rule, word, rest)
            more -= 1
            if not more:
                return found
            following, rest = split(rest)
            word = f"{word} {fold(following, symbols=symbols)}"

    def _by_beginning(
        self, event: Event[Message], people: People, *, symbols: bool
    ) -> Found | None:
        text = " ".join(folded(event.data.text, self.sizes[0], symbols=symbols))
        best: tuple[int, str] | None = None
        for size in self.sizes:
            rule = self._pick(self.beginnings.get(text[:size]), event, people)
            if rule is not None and (best is None or rule < best[0]):
                best = rule, text[:size]
        if best is None:
            return None
        return Found(*best, after(event.data.text, best[1], symbols=symbols))

    def _by_pattern(
        self,
        regexes: Regexes,
        word: str,
        rest: str,
        event: Event[Message],
        people: People,
        found: Found | None,
    ) -> Found | None:
        text = plain(event.data.text)
        for place in regexes.every.fitting(text):
            rule = regexes.rules[place]
            if found is not None and rule > found.rule:
                break
            if self.addressed(rule, event) and self.missed(rule, event, people) is None:
                return Found(rule, word, rest, regexes.patterns[rule].values(text))
        return found

    def _pick(
        self, by_address: ByAddress | None, event: Event[Message], people: People
    ) -> int | None:
        """Returns the first rule in file order for this address whose conditions are met."""
        if by_address is None:
            return None
        to = event.data.to
        own = by_address.get(to, ()) if to is not None else ()
        every = by_address.get(None, ())
        candidates: Iterable[int] = heapq.merge(own, every) if own and every else own or every
        for rule in candidates:
            if self.missed(rule, event, people) is None:
                return rule
        return None

    def missed(self, rule: int, event: Event[Message], people: People) -> str | None:
        """Returns the first condition of the rule that the message does not meet."""
        conditions = self.conditions[rule]
        return None if conditions is None else conditions.missed(event, people)

    def addressed(self, rule: int, event: Event[Message]) -> bool:
        """True if the rule is for the address that the message went to."""
        ours = self.addresses[rule]
        return ours is None or event.data.to in ours

    def reply(self, found: Found, event: Event[Message]) -> Reply:
        """Returns the reply of a rule. Raises `ReplyFailed`."""
        render = self.replies[found.rule]
        if isinstance(render, Reply):
            return render
        try:
            text = render(values(found, event))
        except Exception as error:  # noqa: BLE001 - a template can raise anything
            why = reason(error, self.rules[found.rule].reply)
            raise ReplyFailed(f"rules[{found.rule}].reply: {why}") from None
        return Reply(text, rule=self.rules[found.rule].place(found.rule))


def values(found: Found, event: Event[Message]) -> Values:
    """Returns the values of a template: `VARIABLES`, and the groups of a pattern."""
    message = event.data
    return {
        "msisdn": message.from_,
        "text": message.text,
        "keyword": found.keyword,
        "rest": found.rest,
        "network": message.network or "",
        "name": message.fields.get("MMName", ""),
        "fields": message.fields,
        "time": event.receivedat,
        **found.groups,
    }


def folded(text: str, most: int, *, symbols: bool) -> list[str]:
    """Returns the first words of a text or keyword in the form compared; at most so many.

    Symbols that tell words apart stay in keywords; of a message they count or do not.
    """
    first = (fold(word, symbols=symbols) for word in words(text)[:most])
    return [word for word in first if word]


def after(text: str, beginning: str, *, symbols: bool) -> str:
    """Returns the rest of a text after its folded `beginning`, as it was typed."""
    rest, wanted = text, beginning
    while True:
        before = rest
        word, rest = split(rest)
        word_folded = fold(word, symbols=symbols)
        if not word or word_folded == wanted:
            return rest
        if len(word_folded) > len(wanted):
            start = before.index(word) + _cut(word, wanted, symbols=symbols)
            return before[start:].strip()
        wanted = wanted[len(word_folded) :].lstrip()


def _cut(word: str, wanted: str, *, symbols: bool) -> int:
    """Returns the number of characters of a word that fold to `wanted`, its folded start."""
    # Folded, a word is hardly shorter than typed, but for punctuation in front of it.
    for end in range(1, min(len(word), 4 * len(wanted) + 64)):
        if fold(word[:end], symbols=symbols).startswith(wanted):
            return end
    return len(word)


def _earlier(one: Found | None, other: Found | None) -> Found | None:
    """Returns the one whose rule comes first; for the same rule, that with the longer keyword."""
    if one is None or other is None:
        return one or other
    if one.rule == other.rule:
        return one if len(one.keyword) >= len(other.keyword) else other
    return one if one.rule < other.rule else other
