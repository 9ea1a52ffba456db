"""Finds rules that never answer, since an earlier one always does.

Only rules without conditions always answer. A pattern can only be tried, with a few
messages that would be the later rule's: a pattern that fits all of them is taken to fit every one.
"""

from __future__ import annotations

from collections.abc import Iterator

from receiver.handlers import Finding

from .matching import Rules, folded
from .patterns import Patterns
from .tables import keywords

#: Texts that ordinary patterns do not fit.
_ANYTHING = ("", "zq", "qz 7q", "\u12a0 \U0001f3ae !")
#: Texts after a keyword that patterns are tried with.
_MORE = {"exact": ("",), "first": ("", " zq7", " qz 7q"), "prefix": ("", "zq7", " qz 7q")}

#: The rules that always answer, by folded keyword.
_Table = dict[str, list[int]]


def shadows(rules: Rules) -> dict[int, list[Finding]]:
    """Returns, by rule, its keywords that an earlier rule always answers."""
    return _Shadows(rules).all()


class _Shadows:
    """Goes through the rules in their order."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._firsts: _Table = {}
        self._wholes: _Table = {}
        self._beginnings: _Table = {}
        self._sizes: list[int] = sorted(rules.sizes)
        regexes = rules.regexes
        #: The rules with a pattern that always answer where it fits.
        self._places = [n for n in regexes.rules if rules.conditions[n] is None] if regexes else []
        self._patterns = (
            Patterns(str(rules.rules[n].pattern) for n in self._places) if self._places else None
        )
        self._every = self._fitting(_ANYTHING)

    def all(self) -> dict[int, list[Finding]]:
        """Returns every rule's findings."""
        found: dict[int, list[Finding]] = {}
        for n, rule in enumerate(self._rules.rules):
            if rule.match == "regex":
                found[n] = list(self._regex(n))
            elif rule.match == "default":
                found[n] = list(self._default(n))
            else:
                found[n] = list(self._keyworded(n))
                if self._rules.conditions[n] is None:
                    self._enter(n)
        return found

    def _fitting(self, texts: tuple[str, ...]) -> list[int]:
        """Returns the rules that always answer and whose patterns fit all these texts."""
        if self._patterns is None:
            return []
        first, *others = (set(self._patterns.fitting(text)) for text in texts)
        return sorted(self._places[place] for place in first.intersection(*others))

    def _enter(self, n: int) -> None:
        rule = self._rules.rules[n]
        tables = {"first": self._firsts, "exact": self._wholes, "prefix": self._beginnings}
        for _, text in keywords(rule):
            whole = " ".join(folded(text, len(text), symbols=True))
            tables[rule.match].setdefault(whole, []).append(n)

    def _covering(self, candidates: list[int], n: int, *, before: bool = True) -> int | None:
        """Returns the first candidate that answers wherever `n` does; of those `before` it only."""
        ours = self._rules.addresses[n]
        for m in candidates:
            theirs = self._rules.addresses[m]
            if (m < n or not before) and (theirs is None or (ours is not None and ours <= theirs)):
                return m
        return None

    def _keyworded(self, n: int) -> Iterator[Finding]:
        for key, text in keywords(self._rules.rules[n]):
            words = folded(text, len(text), symbols=True)
            by = self._covering(self._before(n, words), n)
            if by is not None:
                whole, label = " ".join(words), self._rules.rules[by].label
                message = f"{whole} never gets here: rules[{by}] ({label}) answers it before"
                yield Finding(f"rules[{n}].{key}", message)

    def _before(self, n: int, words: list[str]) -> list[int]:
        """Returns the earlier rules and patterns that answer all messages with these words."""
        whole, match = " ".join(words), self._rules.rules[n].match
        candidates: list[int] = []
        if match != "prefix":
            for count in range(1, len(words) + 1):
                candidates += self._firsts.get(" ".join(words[:count]), ())
        if match == "exact":
            candidates += self._wholes.get(whole, ())
        for size in self._sizes:
            if size <= len(whole):
                candidates += self._beginnings.get(whole[:size], ())
        candidates += self._fitting(tuple(f"{whole}{more}" for more in _MORE[match]))
        return sorted(candidates)

    def _regex(self, n: int) -> Iterator[Finding]:
        pattern = self._rules.rules[n].pattern
        same = [m for m in self._places if self._rules.rules[m].pattern == pattern]
        by = self._covering(sorted({*same, *self._every}), n)
        if by is not None:
            why = "has the same pattern" if by in same else "fits every message"
            yield Finding(f"rules[{n}].pattern", f"never gets here: rules[{by}] {why}")

    def _default(self, n: int) -> Iterator[Finding]:
        by = self._covering(self._every, n, before=False)  # a default rule is asked last
        if by is not None:
            yield Finding(f"rules[{n}]", f"never gets here: rules[{by}] fits every message")
            return
        owners = [
            m for m in self._rules.defaults.get(None, ()) if self._rules.conditions[m] is None
        ]
        by = self._covering(owners, n)
        if by is not None:
            message = f"never gets here: rules[{by}] is a default rule for any address"
            yield Finding(f"rules[{n}]", message)
