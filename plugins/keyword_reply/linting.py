"""The warnings of `receiver check`: rules that are allowed and probably a mistake."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from receiver.handlers import Context, Finding, Reply, SourceInfo, addresses, beyond_gsm7, segments

from .matching import Rules, folded
from .settings import Settings
from .shadows import shadows
from .tables import keywords
from .templates import ReplyFailed, Values, fold_quotes, reason

#: Texts that people might write after a keyword, and providers in a field: a template is fine if it
#: makes a reply of one of these.
SAMPLES = ("100", "2026-11-20", "one two three")
_TIME = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
#: Characters that a finding names.
_NAMED = 3


def lint(context: Context[Rules]) -> list[Finding]:
    """Returns findings in file order, then those about the rules as a whole."""
    rules, settings, found = context.state, context.settings, list[Finding]()
    never = shadows(rules)
    for n in range(len(rules.rules)):
        found += never.get(n, ())
        found += _repeated(rules, n)
        found += _reply(rules, n, settings, context.sources)
    found += _without_default(rules)
    return found


def _repeated(rules: Rules, n: int) -> Iterator[Finding]:
    """Finds aliases that equal the keyword or another alias."""
    seen: dict[str, str] = {}
    for key, text in keywords(rules.rules[n]):
        whole = " ".join(folded(text, len(text), symbols=True))
        if whole in seen:
            yield Finding(f"rules[{n}].{key}", f"{whole} is {seen[whole]} already")
        seen.setdefault(whole, key)


def _without_default(rules: Rules) -> Iterator[Finding]:
    """Finds addresses with rules but no default rule."""
    if not rules.rules:
        return
    answered = {
        address
        for address, owners in rules.defaults.items()
        if any(rules.conditions[n] is None for n in owners)
    }
    if None in answered:
        return
    named: dict[str, None] = {}
    for rule in rules.rules:
        if rule.to is not None:
            named.update(dict.fromkeys([rule.to] if isinstance(rule.to, str) else rule.to))
    missing = [text for text in named if not addresses(text) & answered]
    if any(rule.to is None for rule in rules.rules):
        missing.append("other addresses" if named else "any address")
    if missing:
        message = f"no default rule for {', '.join(missing)}: what no keyword fits gets no answer"
        yield Finding("rules", message)


def _reply(
    rules: Rules, n: int, settings: Settings, sources: Mapping[str, SourceInfo]
) -> Iterator[Finding]:
    """Returns the fault of the longest reply that a rule gives to the samples."""
    key = f"rules[{n}].reply"
    source = fold_quotes(rules.rules[n].reply) if settings.fold_quotes else rules.rules[n].reply
    reply = rules.replies[n]
    if isinstance(reply, Reply):
        text, about = reply.text, ""
    else:
        try:
            text = _longest(rules, n)
        except ReplyFailed as error:
            yield Finding(key, f"fails with sample values: {error}")
            return
        about = " with sample values"
        if "fields" in source:
            for name in rules.templates.unguarded_fields(source):
                message = f"a message without fields.{name} gets no reply; default() would help"
                yield Finding(key, message)
    yield from _beyond(key, source, settings)
    size = segments(text)
    if size.parts > 1:
        message = f"takes {size.parts} SMS{about}: {size.units} units of {size.encoding}"
        yield Finding(key, message)
    yield from _too_long(key, text, about, sources.values())


def _beyond(key: str, source: str, settings: Settings) -> Iterator[Finding]:
    """Names the characters that make a reply UCS-2, which leaves 70 characters of 160."""
    strange = beyond_gsm7(source)
    if not strange:
        return
    named = ", ".join(f"{char} (U+{ord(char):04X})" for char in strange[:_NAMED])
    more = f" and {len(strange) - _NAMED} more" if len(strange) > _NAMED else ""
    are = "is" if len(strange) == 1 else "are"
    message = f"{named}{more} {are} not in the GSM alphabet, so an SMS holds 70 characters, not 160"
    if not settings.fold_quotes and not beyond_gsm7(fold_quotes(source)):
        message += "; fold_quotes = true would replace it"
    yield Finding(key, message)


def _too_long(key: str, text: str, about: str, sources: Iterable[SourceInfo]) -> Iterator[Finding]:
    for source in sources:
        if source.max_reply is not None and len(text) > source.max_reply:
            message = f"{len(text)} characters{about}; {source.provider} takes {source.max_reply}"
            yield Finding(key, f"{message} (sources.{source.name})")


class _Fields(dict[str, str]):
    """Has every field, with the same value."""

    def __init__(self, value: str) -> None:
        super().__init__(MM1=value)
        self.value = value

    def __missing__(self, name: str) -> str:
        return self.value


def _longest(rules: Rules, n: int) -> str:
    """Returns the longest reply to the samples. Raises `ReplyFailed` if there is none."""
    rule, render = rules.rules[n], rules.replies[n]
    assert not isinstance(render, Reply)
    regex = rules.regexes.patterns.get(n) if rules.regexes else None
    texts: list[str] = []
    failure = ""
    for sample in SAMPLES:
        keyword = rule.keyword or "HELLO"
        values: Values = {
            "msisdn": "+254712345678",
            "text": f"{keyword} {sample}",
            "keyword": " ".join(folded(keyword, len(keyword), symbols=True)),
            "rest": sample,
            "network": "safaricom",
            "name": "Wanjiku",
            "fields": _Fields(sample),
            "time": _TIME,
            **dict.fromkeys(regex.groups if regex else (), sample),
        }
        try:
            texts.append(render(values))
        except Exception as error:  # noqa: BLE001 - a template can raise anything
            failure = reason(error, rule.reply)
    if not texts:
        raise ReplyFailed(failure)
    return max(texts, key=lambda text: segments(text).units)
