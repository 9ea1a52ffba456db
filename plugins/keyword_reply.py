"""Answers messages by rules: a keyword, perhaps the number written to, and a reply.

The first rule in file order whose keyword begins the message answers it; where none does,
the first `default` rule. However many rules there are, finding one is a look into tables.
Replies are Jinja2 templates in a sandbox. What people send is only ever a value in them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from typing import Any, Literal

import msgspec
from jinja2 import StrictUndefined, TemplateSyntaxError, meta, nodes
from jinja2.filters import do_default
from jinja2.sandbox import ImmutableSandboxedEnvironment

from receiver.handlers import (
    Context,
    Event,
    Explanation,
    Message,
    Reply,
    SettingsError,
    addresses,
    fold,
    on_message,
    split,
)

#: Characters; a reply that comes out longer is a mistake in its template.
MAX_REPLY = 2000

#: What a template can name. All are texts, empty where the message has none; `fields` holds
#: texts by name.
VARIABLES = ("msisdn", "text", "keyword", "rest", "network", "name", "fields")


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """`[[plugins.keyword_reply.rules]]`."""

    keyword: str | None = None
    """What a message begins with: a word or several."""
    aliases: list[str] = []
    to: str | list[str] | None = None
    """Only messages to this short code or number, or these."""
    match: Literal["first", "default"] = "first"
    """`default`: answers what no keyword does."""
    reply: str
    """Empty: nothing is answered, and nothing else may answer."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`[plugins.keyword_reply]`."""

    rules: list[Rule] = []


class ReplyFailed(ValueError):
    """A template gives no reply for this message."""


Values = dict[str, Any]
Render = Callable[[Values], str]
#: The rule (its place in the file) that answers messages to an address; None: to any.
ByAddress = dict[str | None, int]


class Found(msgspec.Struct, frozen=True):
    """The rule for a message, and how its words are told apart."""

    rule: int
    keyword: str
    rest: str


class Rules(msgspec.Struct, frozen=True):
    """The rules, prepared for looking them up."""

    rules: list[Rule]
    replies: list[Reply | Render]
    """By rule; a `Reply` where the text is always the same."""
    keywords: dict[str, ByAddress] = {}
    """By the folded keyword; its words are joined by single spaces."""
    lengths: dict[str, int] = {}
    """The most words that keywords with this first word have, where that is more than one."""
    defaults: ByAddress = {}

    def find(self, event: Event[Message]) -> Found | None:
        """The rule that answers a message."""
        text, to = event.data.text, event.data.to
        first, rest = split(text)
        word = fold(first)
        found = self._by_keyword(word, rest, to)
        if found is None and not first.isalnum() and (spaced := _spaced(first, text)):
            before, after = split(spaced)
            found = self._by_keyword(fold(before), after, to)
        if found is None and (rule := _first(self.defaults, to)) is not None:
            return Found(rule, word, rest)
        return found

    def _by_keyword(self, word: str, rest: str, to: str | None) -> Found | None:
        found: Found | None = None
        more = self.lengths.get(word, 1)
        while True:
            rule = _first(self.keywords.get(word), to)
            # Of one rule's keywords the longest counts: it leaves less in the rest.
            if rule is not None and (found is None or rule <= found.rule):
                found = Found(rule, word, rest)
            more -= 1
            if not more:
                return found
            following, rest = split(rest)
            word = f"{word} {fold(following)}"

    def reply(self, found: Found, event: Event[Message]) -> Reply:
        """The answer of a rule. Raises `ReplyFailed`."""
        render = self.replies[found.rule]
        if isinstance(render, Reply):
            return render
        message = event.data
        values = {
            "msisdn": message.from_,
            "text": message.text,
            "keyword": found.keyword,
            "rest": found.rest,
            "network": message.network or "",
            "name": message.fields.get("MMName", ""),
            "fields": message.fields,
        }
        try:
            return Reply(render(values))
        except Exception as error:  # noqa: BLE001 - a template can raise anything
            why = _reason(error, self.rules[found.rule].reply)
            raise ReplyFailed(f"rules[{found.rule}].reply: {why}") from None


@on_message(inline=True)
def answer(event: Event[Message], context: Context[Rules]) -> Reply | None:
    """Answers with the reply of the first rule that fits."""
    found = context.state.find(event)
    return None if found is None else context.state.reply(found, event)


def setup(settings: Settings) -> Rules:
    """Compiles the templates and fills the tables. Raises every fault of every rule."""
    rules = Rules(settings.rules, [])
    environment = _environment()
    faults: list[Exception] = []
    for n, rule in enumerate(settings.rules):
        try:
            rules.replies.append(_compile(rule.reply, environment))
        except ValueError as error:
            faults.append(SettingsError(f"rules[{n}].reply", str(error)))
        if rule.to is not None and not all(addresses(rule.to) or [""]):
            faults.append(SettingsError(f"rules[{n}].to", "expected a short code or number"))
        faults += _enter_default(rules, n) if rule.match == "default" else _enter(rules, n)
    if faults:
        raise ExceptionGroup("rules", faults)
    return rules


def explain(event: Event[Message], context: Context[Rules]) -> list[Explanation]:
    """For each rule, why it answers or does not."""
    rules, text = context.state, event.data.text
    found = rules.find(event)
    spaced = _spaced(split(text)[0], text)
    readings = [_folded(reading) for reading in (text, spaced) if reading is not None]
    before = f"rules[{found.rule}] answers before it" if found is not None else ""
    explanations = []
    for n, rule in enumerate(rules.rules):
        label = f"rules[{n}] {rule.keyword or rule.match}"
        if found is not None and found.rule == n:
            explanations.append(_explain_answer(rules, found, event, label))
        else:
            why = _why_not(rule, event.data.to, readings) or before
            explanations.append(Explanation(rule=label, verdict="no", why=why))
    return explanations


def _explain_answer(rules: Rules, found: Found, event: Event[Message], label: str) -> Explanation:
    keyword_rule = rules.rules[found.rule].match == "first"
    why = f"the message begins with {found.keyword}" if keyword_rule else "no keyword fits"
    try:
        reply = rules.reply(found, event).text
    except ReplyFailed as error:
        return Explanation(rule=label, verdict="no", why=f"{why}, but the reply fails: {error}")
    return Explanation(rule=label, verdict="answers", why=why, reply=reply)


def _why_not(rule: Rule, to: str | None, readings: list[list[str]]) -> str | None:
    """What in the rule itself does not fit the message."""
    keywords = list(map(_folded, _keywords(rule)))
    begins = any(text[: len(words)] == words for words in keywords for text in readings)
    if rule.match == "first" and not begins:
        return f"the message does not begin with {' or '.join(map(' '.join, keywords))}"
    if rule.to is not None and to not in addresses(rule.to):
        ours = rule.to if isinstance(rule.to, str) else " or ".join(rule.to)
        return f"the message is to {to or 'an unknown address'}, the rule is for {ours}"
    return None


def _reason(error: Exception, template: str) -> str:
    """What may be told of an error. Its own message may hold the text of a person."""
    if isinstance(error, ReplyFailed):
        return str(error)
    missing = re.fullmatch(r"'dict object' has no attribute '(\w+)'", str(error))
    if missing and missing[1] in template:
        return f"the message has no field {missing[1]}; default() would give one a value"
    return f"the template raised {type(error).__name__}"


def _first(by_address: ByAddress | None, to: str | None) -> int | None:
    """The first rule in file order for this address."""
    if by_address is None:
        return None
    own, every = by_address.get(to), by_address.get(None)
    if own is None or every is None:
        return every if own is None else own
    return min(own, every)


_GLUED = re.compile(r"(?<=[^,;:!?])[,;:!?]++(?=[^,;:!?])")


def _spaced(first: str, text: str) -> str | None:
    """`GAME,one two` with a space in place of the comma; None where nothing is glued."""
    apart = _GLUED.sub(" ", first, count=1)
    return text.replace(first, apart, 1) if apart != first else None


def _folded(text: str) -> list[str]:
    """The words of a text or keyword, as they are compared."""
    words = []
    while text:
        word, text = split(text)
        if word:
            words.append(fold(word))
    return words


def _keywords(rule: Rule) -> list[str]:
    return [*([] if rule.keyword is None else [rule.keyword]), *rule.aliases]


def _enter_default(rules: Rules, n: int) -> list[SettingsError]:
    """Enters a default rule into the tables; its faults."""
    rule = rules.rules[n]
    faults = []
    if rule.keyword is not None:
        faults.append(SettingsError(f"rules[{n}].keyword", "a default rule has no keyword"))
    if rule.aliases:
        faults.append(SettingsError(f"rules[{n}].aliases", "a default rule has no keyword"))
    return faults + _claim(rules.defaults, rules, n, "match", "a default rule")


def _enter(rules: Rules, n: int) -> list[SettingsError]:
    """Enters a rule with a keyword into the tables; its faults."""
    rule = rules.rules[n]
    faults = []
    if rule.keyword is None:
        message = 'missing; only with match = "default" there is none'
        faults.append(SettingsError(f"rules[{n}].keyword", message))
    keys = [] if rule.keyword is None else ["keyword"]
    keys += [f"aliases[{i}]" for i in range(len(rule.aliases))]
    for key, text in zip(keys, _keywords(rule), strict=True):
        words = _folded(text)
        if not words:
            faults.append(SettingsError(f"rules[{n}].{key}", "expected a word"))
            continue
        whole = " ".join(words)
        faults += _claim(rules.keywords.setdefault(whole, {}), rules, n, key, whole)
        if len(words) > 1:
            rules.lengths[words[0]] = max(len(words), rules.lengths.get(words[0], 1))
    return faults


def _claim(by_address: ByAddress, rules: Rules, n: int, key: str, what: str) -> list[SettingsError]:
    """Makes rule `n` the one for its addresses, unless another is."""
    to = rules.rules[n].to
    forms: list[tuple[str | None, str]] = [(None, "any address")]
    if to is not None:
        ours = [to] if isinstance(to, str) else to
        forms = [(form, text) for text in ours for form in sorted(addresses(text))]
    for address, text in forms:
        owner = by_address.setdefault(address, n)
        if owner != n:
            message = f"can never answer: rules[{owner}] is {what} for {text} already"
            return [SettingsError(f"rules[{n}].{key}", message)]
    return []


# Replies. Nearly all are plain texts or name variables and nothing else; these need no
# template engine, neither at start (half a millisecond each) nor for a message.

_VARIABLE = re.compile(rf"\{{\{{[ \t\n]*({'|'.join(VARIABLES[:-1])})[ \t\n]*\}}\}}")

_REFUSED = {
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "import",
    nodes.Extends: "extends",
    nodes.Macro: "macro",
    nodes.Mul: "*",
    nodes.Pow: "**",
}


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True
    )
    environment.globals.clear()  # range, lipsum and the like: loops stay as short as the text
    environment.filters["default"] = environment.filters["d"] = _default
    return environment


def _default(value: object, default: str = "", *_: object) -> object:
    """As Jinja's, for empty texts too: that is what a variable without a value is."""
    return do_default(value, default, boolean=True)


def _compile(source: str, environment: ImmutableSandboxedEnvironment) -> Reply | Render:
    """Raises ValueError with what is wrong in the template, and the line."""
    pieces = _VARIABLE.split(source)  # text, variable, text, variable, …, text
    if not any("{" in text or "\r" in text for text in pieces[::2]):
        if len(pieces) == 1:
            return Reply(_bounded(source))
        pattern = "".join(
            piece.replace("}", "}}") if n % 2 == 0 else f"{{{piece}}}"
            for n, piece in enumerate(pieces)
        )
        return lambda values: _bounded(pattern.format_map(values))
    try:
        tree = environment.parse(source)
        _check(tree)
        template = environment.from_string(tree)
    except TemplateSyntaxError as error:
        raise ValueError(f"line {error.lineno}: {error.message}") from None

    def render(values: Values) -> str:
        text = ""
        for piece in template.generate(values):
            text = _bounded(text + piece)
        return text

    return render


def _check(tree: nodes.Template) -> None:
    for node in tree.find_all(tuple(_REFUSED)):
        raise ValueError(f"line {node.lineno}: {_REFUSED[type(node)]} is not for replies")
    for name in sorted(meta.find_undeclared_variables(tree).difference(VARIABLES)):
        close = difflib.get_close_matches(name, VARIABLES, 1)
        hint = f"did you mean {close[0]}?" if close else "there are " + ", ".join(VARIABLES)
        raise ValueError(f"unknown variable {name}; {hint}")


def _bounded(text: str) -> str:
    if len(text) > MAX_REPLY:
        raise ReplyFailed(f"the reply has more than {MAX_REPLY} characters")
    return text
