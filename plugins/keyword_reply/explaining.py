"""Explains which rule answers a message, and why the others do not."""

from __future__ import annotations

import difflib

from receiver.handlers import Context, Event, Explanation, Message, People, fold, plain, split

from .matching import Found, Rules, folded
from .settings import Rule
from .tables import keywords
from .templates import ReplyFailed

#: Up to so many rules are all shown; of more only those that have something to do with a message.
SHOW_ALL = 50
#: The most rules with similar words, or without any words, that are shown.
_SIMILAR = 5


def explain(event: Event[Message], context: Context[Rules]) -> list[Explanation]:
    """Returns a line for each rule in file order; of many rules only the related, and a count."""
    rules, people = context.state, context.people
    found = rules.find(event, people) or rules.default(event, people)
    shown = list(range(len(rules.rules)))
    if len(shown) > SHOW_ALL:
        shown = _related(rules, event, found)
    readings = _readings(event.data.text)
    explanations = []
    for n in shown:
        if found is not None and found.rule == n:
            explanations.append(_answer(rules, found, event))
        else:
            why = _why_not(rules, n, event, people, readings)
            if why is None and found is not None:
                why = f"rules[{found.rule}] answers before it"
            label = rules.rules[n].place(n)
            explanations.append(Explanation(rule=label, verdict="no", why=why or ""))
    if others := len(rules.rules) - len(shown):
        why = "have other keywords, or answer after these"
        explanations.append(Explanation(rule=f"{others:,} others", verdict="no", why=why))
    return explanations


def _readings(text: str) -> list[list[str]]:
    """Returns the folded words of a message, with their symbols and without."""
    return [folded(text, len(text), symbols=symbols) for symbols in (True, False)]


def _answer(rules: Rules, found: Found, event: Event[Message]) -> Explanation:
    rule = rules.rules[found.rule]
    label = rule.place(found.rule)
    why = {
        "first": f"the message begins with {found.keyword}",
        "exact": f"the message is {found.keyword}",
        "prefix": f"the message begins with {found.keyword}",
        "regex": "the pattern fits",
        "default": "no keyword fits; other plugins are asked first",
    }[rule.match]
    if rules.conditions[found.rule] is not None:
        why += ", and so do the conditions" if rule.match == "regex" else "; the conditions are met"
    try:
        reply = rules.reply(found, event).text
    except ReplyFailed as error:
        return Explanation(rule=label, verdict="no", why=f"{why}, but the reply fails: {error}")
    return Explanation(rule=label, verdict="answers", why=why, reply=reply)


def _why_not(
    rules: Rules, n: int, event: Event[Message], people: People, readings: list[list[str]]
) -> str | None:
    """Returns the part of the rule that does not fit the message."""
    rule, to = rules.rules[n], event.data.to
    if not _fits(rules, n, event, readings):
        return _expected(rule)
    if not rules.addressed(n, event):
        ours = rule.to if isinstance(rule.to, str) else " or ".join(rule.to or ())
        return f"the message is to {to or 'an unknown address'}, the rule is for {ours}"
    conditions = rules.conditions[n]
    missed = conditions.missed(event, people) if conditions else None
    return conditions.why(missed, rule, event) if conditions and missed else None


def _fits(rules: Rules, n: int, event: Event[Message], readings: list[list[str]]) -> bool:
    """True if the words of the message are those of the rule."""
    rule = rules.rules[n]
    if rule.match == "default":
        return True
    if rule.match == "regex":
        pattern = rules.regexes.patterns[n] if rules.regexes else None
        return pattern is not None and pattern.fits(plain(event.data.text))
    wanted = _folded_keywords(rule)
    if rule.match == "exact":
        return any(words in readings for words in wanted)
    if rule.match == "prefix":
        begun = tuple(" ".join(reading) for reading in readings)
        return any(text.startswith(" ".join(words)) for words in wanted for text in begun)
    return any(text[: len(words)] == words for words in wanted for text in readings)


def _expected(rule: Rule) -> str:
    if rule.match == "regex":
        return "the pattern does not fit"
    verb = "is not" if rule.match == "exact" else "does not begin with"
    return f"the message {verb} {' or '.join(map(' '.join, _folded_keywords(rule)))}"


def _folded_keywords(rule: Rule) -> list[list[str]]:
    return [folded(text, len(text), symbols=True) for _, text in keywords(rule)]


def _related(rules: Rules, event: Event[Message], found: Found | None) -> list[int]:
    """Returns the rules to show of many: those with the message's first word, or a similar one."""
    firsts = {words[0] for words in _readings(event.data.text) if words}
    word = fold(split(event.data.text)[0])
    by_word: dict[str, list[int]] = {}
    related: set[int] = {found.rule} if found else set()
    defaults, patterns = [], []
    for n, rule in enumerate(rules.rules):
        if rule.match == "default":
            defaults.append(n)
        elif rule.match == "regex":
            patterns.append(n)
        for _, text in keywords(rule):
            first = folded(text, 1, symbols=True)[0]
            by_word.setdefault(first, []).append(n)
            if first in firsts or (rule.match == "prefix" and word.startswith(first)):
                related.add(n)
    for close in difflib.get_close_matches(word, by_word, _SIMILAR):
        related.update(by_word[close][:_SIMILAR])
    related.update([n for n in defaults if rules.addressed(n, event)][:_SIMILAR])
    readings: list[list[str]] = []
    fitting = [n for n in patterns if _fits(rules, n, event, readings)]
    related.update(fitting[:_SIMILAR])
    return sorted(related)
