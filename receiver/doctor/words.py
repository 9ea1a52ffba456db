"""Checks that what providers push is understood."""

from __future__ import annotations

from collections import Counter
from typing import Any

from receiver.doctor.findings import Finding, Installation, green, yellow
from receiver.providers import Provider
from receiver.store.not_understood import NotUnderstood
from receiver.text.escape import escape

#: Words or reasons that are named, and characters of each: they come from outside.
_MOST_NAMED = 5
_MOST_LETTERS = 60


async def statuses(installation: Installation) -> list[Finding]:
    """Checks the statuses in the newest delivery reports of each source."""
    found = await installation.readable_health()
    if found is None:
        return []
    providers = installation.parts.providers
    worries = [
        finding
        for source, seen in found.not_understood.items()
        for finding in of_source(source, providers[source], seen)
    ]
    events = sum(seen.events for seen in found.not_understood.values())
    if worries or not events:
        return worries
    return [green(f"every status in the last {events:,} events is understood")]


def of_source(source: str, provider: Provider[Any], seen: NotUnderstood) -> list[Finding]:
    """Returns the finding about the words of one source, if some are not understood.

    A word that was mended since is understood.
    """
    unknown = Counter(
        {
            words: n
            for words, n in seen.statuses.items()
            if not any(map(provider.knows_status, filter(None, words)))
        }
    )
    if not unknown:
        return []
    said = (
        f"{unknown.total():,} of the last {seen.events:,} events have a status that is not"
        f" understood: {counted(Counter({_named(*words): n for words, n in unknown.items()}))}"
    )
    [(most, _)] = unknown.most_common(1)
    do = (
        f"see one in `receiver events {seen.newest[most]} --raw`, and add the word to the"
        " provider's description; if the provider came with the program, tell its developers"
    )
    return [yellow(said, do, check=f"source {source}")]


def counted(words: Counter[str]) -> str:
    """Returns the most frequent words with their numbers: `12 x status 'FOO'`."""
    named = [f"{n:,} x {word}" for word, n in words.most_common(_MOST_NAMED)]
    left = len(words) - len(named)
    return ", ".join([*named, f"and {left:,} others"] if left else named)


def shortened(word: str) -> str:
    """Returns a text from outside in one bounded line."""
    return escape(word[:_MOST_LETTERS]) + ("…" if len(word) > _MOST_LETTERS else "")


def _named(word: str | None, code: str | None) -> str:
    said = (("status", word), ("code", code))
    return " ".join(f"{kind} '{shortened(text)}'" for kind, text in said if text) or "no status"
