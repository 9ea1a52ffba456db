"""`receiver check`."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.cli import output
from receiver.cli.options import ConfigFile
from receiver.cli.parts import prepare
from receiver.config import Source
from receiver.plugin_host.lint import cautions
from receiver.providers import PROVIDERS, Entry


def command(config: ConfigFile = None) -> None:
    """Validates the configuration, plugins and rules, and prints warnings.

    Opens no store and no connection. The exit status is 2 if there are faults.
    """
    parts = prepare(config)
    settings = parts.config
    print(f"{settings.file}: no faults\n")
    rows = [row for name, source in settings.sources.items() for row in _rows(name, source)]
    titles = ("SOURCE", "PROVIDER", "URL", "FOR", "CREDENTIAL")
    output.table(titles, rows, if_empty="no sources: no provider can push")
    plugins = ", ".join(plugin.name for plugin in parts.plugins)
    print()
    server = settings.server
    output.details(
        (
            ("plugins", plugins or "none: events are stored and not answered"),
            ("store", str(settings.store_path)),
            ("address", f"{server.host}:{server.port}"),
            ("admin", server.admin or "none"),
        )
    )
    warnings = cautions(settings, parts.plugins, parts.regions)
    if warnings:
        print()
    for warning in warnings:
        output.line(f"warning: {warning}")


def _rows(name: str, source: Source) -> Iterator[tuple[str, ...]]:
    provider = PROVIDERS[source.provider]
    if not provider.pushes:
        yield (name, provider.name, "", "sending only: it pushes nothing", "")
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
