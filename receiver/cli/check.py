"""`receiver check`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from receiver.cli import output
from receiver.cli.options import ConfigFile
from receiver.cli.parts import prepare
from receiver.plugin_host.lint import cautions
from receiver.providers import Provider, PushUrl


def command(config: ConfigFile = None) -> None:
    """Validates the configuration, plugins and rules, and prints warnings.

    Opens no store and no connection. The exit status is 2 if there are faults.
    """
    parts = prepare(config)
    settings = parts.config
    print(f"{settings.file}: no faults\n")
    rows = [row for name, provider in parts.providers.items() for row in _rows(name, provider)]
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
    warnings = cautions(settings, parts.providers, parts.plugins)
    if warnings:
        print()
    for warning in warnings:
        output.line(f"warning: {warning}")


def _rows(name: str, provider: Provider[Any]) -> Iterator[tuple[str, ...]]:
    if not provider.pushes:
        yield (name, provider.name, "", "sending only: it pushes nothing", "")
    for url in provider.push_urls:
        path, credential = _path(name, url, provider), provider.credential(url)
        yield (name, provider.name, path, url.label, credential)


def _path(name: str, url: PushUrl, provider: Provider[Any]) -> str:
    in_url = url.secret is None and provider.requires_credential
    return f"/hooks/{name}/TOKEN" if in_url else f"/hooks/{name}"
