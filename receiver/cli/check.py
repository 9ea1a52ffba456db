"""`receiver check`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from receiver.cli import screen
from receiver.cli.options import ConfigFile
from receiver.cli.preparing import prepare
from receiver.config import Config, Source
from receiver.plugins import Plugin
from receiver.providers import PROVIDERS, Entry

#: Characters that a token should have; those of `receiver init` have 43.
_LONG_ENOUGH = 16


def command(config: ConfigFile = None) -> None:
    """Validates the configuration, plugins and rules; opens nothing."""
    parts = prepare(config)
    settings = parts.config
    print(f"{settings.file}: no faults\n")
    rows = [row for name, source in settings.sources.items() for row in _rows(name, source)]
    titles = ("SOURCE", "PROVIDER", "URL", "FOR", "CREDENTIAL")
    screen.table(titles, rows, nothing="no sources: nothing can push")
    plugins = ", ".join(plugin.name for plugin in parts.plugins)
    print()
    server = settings.server
    screen.details(
        (
            ("plugins", plugins or "none: events are stored, nothing answers"),
            ("store", str(settings.store_path)),
            ("address", f"{server.host}:{server.port}"),
            ("admin", server.admin or "none"),
        )
    )
    warnings = [*_warnings(settings), *_findings(parts.plugins)]
    if warnings:
        print()
    for warning in warnings:
        screen.line(f"warning: {warning}")


def _rows(name: str, source: Source) -> Iterator[tuple[str, ...]]:
    provider = PROVIDERS[source.provider]
    if not provider.pushes:
        yield (name, provider.name, "", "sending: it pushes nothing", "")
    for entry in provider.entries:
        path, credential = _path(name, entry, source), _credential(entry, source)
        yield (name, provider.name, path, entry.label, credential)


def _path(name: str, entry: Entry, source: Source) -> str:
    in_url = entry.secret is None and source.authentication == "required"
    return f"/hooks/{name}/TOKEN" if in_url else f"/hooks/{name}"


def _credential(entry: Entry, source: Source) -> str:
    if source.authentication == "none":
        return "none"
    if entry.secret is None:
        return "the token in the URL" if source.tokens else "impossible: no tokens"
    if source.digest:
        return f"{entry.secret}, a {source.digest.algorithm} digest"
    return entry.secret


def _warnings(settings: Config) -> Iterator[str]:
    for name, source in settings.sources.items():
        key = f"sources.{name}"
        if source.authentication == "none":
            yield f"{key}.authentication: anybody can push"
        for n, token in enumerate(source.tokens):
            if len(token.reveal()) < _LONG_ENOUGH:
                yield f"{key}.tokens[{n}]: shorter than {_LONG_ENOUGH} characters"
        if source.digest and not source.tokens:
            yield f"{key}.tokens: none, so delivery reports, which carry no digest, are refused"
    yield from _repeated(settings)


def _findings(plugins: Iterable[Plugin]) -> Iterator[str]:
    """What the plugins themselves warn of."""
    for plugin in plugins:
        key = f"plugins.{plugin.name}"
        if plugin.lint is None:
            continue
        try:
            findings = list(plugin.lint(plugin.context))
        except Exception as error:  # noqa: BLE001 - other people's code
            yield f"{key}: its lint raised {type(error).__name__}"
            continue
        for finding in findings:
            where = f"{key}.{finding.key}" if finding.key else key
            yield f"{where}: {finding.message}"


def _repeated(settings: Config) -> Iterator[str]:
    """Tokens that open several sources: who knows one of these can push as the other."""
    uses = Counter(token for source in settings.sources.values() for token in set(source.tokens))
    for name, source in settings.sources.items():
        for n, token in enumerate(source.tokens):
            others = [
                other
                for other, its in settings.sources.items()
                if uses[token] > 1 and other != name and token in its.tokens
            ]
            if others:
                yield f"sources.{name}.tokens[{n}]: also a token of {', '.join(others)}"
