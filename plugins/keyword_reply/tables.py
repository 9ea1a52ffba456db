"""Fills the tables, and refuses rules that cannot work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from receiver.handlers import Reply, SettingsError, addresses

from .conditions import Conditions, prepare
from .matching import ByAddress, Regexes, Rules, folded
from .patterns import Pattern, Patterns, read
from .settings import Rule, Settings
from .templates import VARIABLES, Render, Templates, fold_quotes


def setup(settings: Settings) -> Rules:
    """Compiles the templates and fills the tables. Raises every fault of every rule."""
    return _Builder(settings).rules()


class _Builder:
    """Goes through the rules once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._faults: list[Exception] = []
        self._templates = Templates(settings.timezone)
        self._addresses = [
            None if rule.to is None else addresses(rule.to) for rule in settings.rules
        ]
        self._conditions: list[Conditions | None] = []
        self._keywords: dict[str, ByAddress] = {}
        self._lengths: dict[str, int] = {}
        self._whole: dict[str, ByAddress] = {}
        self._beginnings: dict[str, ByAddress] = {}
        self._patterns: dict[int, Pattern] = {}
        self._defaults: ByAddress = {}
        self._symbols = False

    def rules(self) -> Rules:
        """Returns the rules. Raises an `ExceptionGroup` of all faults."""
        replies = [self._rule(n, rule) for n, rule in enumerate(self._settings.rules)]
        if self._faults:
            raise ExceptionGroup("rules", self._faults)
        patterns = self._patterns
        every = (
            Patterns(str(self._settings.rules[n].pattern) for n in patterns) if patterns else None
        )
        return Rules(
            rules=self._settings.rules,
            replies=[reply for reply in replies if reply is not None],
            templates=self._templates,
            conditions=self._conditions,
            addresses=self._addresses,
            keywords=self._keywords,
            lengths=self._lengths,
            whole=self._whole,
            most_words=max((key.count(" ") + 1 for key in self._whole), default=0),
            openings=frozenset(key.split(" ")[0] for key in self._whole),
            beginnings=self._beginnings,
            sizes=tuple(sorted(set(map(len, self._beginnings)), reverse=True)),
            initials=frozenset(key[0] for key in self._beginnings),
            symbols=self._symbols,
            regexes=Regexes(list(patterns), every, patterns) if every else None,
            defaults=self._defaults,
        )

    def _fault(self, n: int, key: str, message: str) -> None:
        self._faults.append(SettingsError(f"rules[{n}].{key}", message))

    def _rule(self, n: int, rule: Rule) -> Reply | Render | None:
        """Enters a rule; returns its reply, or None with a fault."""
        groups = self._pattern(n, rule)
        source = fold_quotes(rule.reply) if self._settings.fold_quotes else rule.reply
        reply = None
        try:
            reply = self._templates.compile(source, groups)
            if isinstance(reply, Reply):
                reply = Reply(reply.text, rule=rule.place(n))
        except ValueError as error:
            self._fault(n, "reply", str(error))
        if rule.to is not None and not all(self._addresses[n] or [""]):
            self._fault(n, "to", "expected a short code or number")
        try:
            self._conditions.append(prepare(rule, n, self._settings.timezone))
        except ExceptionGroup as group:
            self._conditions.append(None)
            self._faults.append(group)
        if rule.match == "default":
            self._default(n, rule)
        elif rule.match != "regex":
            self._by_keyword(n, rule)
        return reply

    def _pattern(self, n: int, rule: Rule) -> Sequence[str]:
        """Reads the pattern of a regex rule; returns the names of its groups."""
        if rule.match != "regex":
            if rule.pattern is not None:
                self._fault(n, "pattern", 'only with match = "regex"')
            return ()
        if rule.pattern is None:
            self._fault(n, "match", "a regex rule needs a pattern")
            return ()
        if rule.keyword is not None:
            self._fault(n, "keyword", "a regex rule has a pattern and no keyword")
        if rule.aliases:
            self._fault(n, "aliases", "a regex rule has a pattern and no keyword")
        try:
            pattern = read(rule.pattern)
        except ValueError as error:
            self._fault(n, "pattern", str(error))
            return ()
        for name in pattern.groups:
            if name in VARIABLES:
                self._fault(n, "pattern", f"{name} is a variable already; rename the group")
        self._patterns[n] = pattern
        return pattern.groups

    def _default(self, n: int, rule: Rule) -> None:
        if rule.keyword is not None:
            self._fault(n, "keyword", "a default rule has no keyword")
        if rule.aliases:
            self._fault(n, "aliases", "a default rule has no keyword")
        self._claim(self._defaults, n, "match", "a default rule")

    def _by_keyword(self, n: int, rule: Rule) -> None:
        if rule.keyword is None:
            self._fault(n, "keyword", 'missing; only with match = "default" there is none')
        table = {"exact": self._whole, "prefix": self._beginnings}.get(rule.match, self._keywords)
        for key, text in keywords(rule):
            words = folded(text, len(text), symbols=True)
            if not words:
                self._fault(n, key, "expected a word")
                continue
            whole = " ".join(words)
            self._symbols |= words != folded(text, len(text), symbols=False)
            self._claim(table.setdefault(whole, {}), n, key, whole)
            if len(words) > 1 and table is self._keywords:
                self._lengths[words[0]] = max(len(words), self._lengths.get(words[0], 1))

    def _claim(self, by_address: ByAddress, n: int, key: str, what: str) -> None:
        """Enters rule `n` for its addresses, unless an earlier one always answers there."""
        for address, text in _forms(self._settings.rules[n]):
            owners = by_address.setdefault(address, [])
            always = next((m for m in owners if self._conditions[m] is None and m != n), None)
            if always is not None:
                message = f"can never answer: rules[{always}] is {what} for {text} already"
                self._fault(n, key, message)
                return
            if n not in owners[-1:]:
                owners.append(n)


def keywords(rule: Rule) -> Iterator[tuple[str, str]]:
    """Yields the keyword and the aliases of a rule, with their keys in its table."""
    if rule.keyword is not None:
        yield "keyword", rule.keyword
    for i, alias in enumerate(rule.aliases):
        yield f"aliases[{i}]", alias


def _forms(rule: Rule) -> Iterator[tuple[str | None, str]]:
    """Yields each form of a rule's addresses, and the text in the configuration."""
    if rule.to is None:
        yield None, "any address"
        return
    for text in [rule.to] if isinstance(rule.to, str) else rule.to:
        for form in sorted(addresses(text)):
            yield form, text
