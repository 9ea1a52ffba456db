"""`receiver check`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from receiver.cli import output
from receiver.cli.options import ConfigFile
from receiver.cli.parts import prepare
from receiver.config import Config
from receiver.events import EventType
from receiver.plugin_host.lint import cautions
from receiver.plugin_host.loader import Plugin, ordered
from receiver.providers import Provider, PushUrl
from receiver.service.parts import Parts


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
            ("asked last", _asked_last(parts.plugins)),
            ("store", str(settings.store_address)),
            ("files", _files(settings)),
            ("address", f"{server.host}:{server.port}"),
            ("admin", server.admin or "none"),
            ("console", settings.console.listen),
        )
    )
    found = cautions(settings, parts.providers, parts.plugins)
    _paragraph("warning", [*map(str, found), *_unused(parts)])
    notices = [
        f"{used.place} takes the place of the provider {name} ({other.kind})"
        for name, used, other in parts.registry.replaced()
    ]
    _paragraph("notice", notices)


def _paragraph(kind: str, lines: Sequence[str]) -> None:
    if lines:
        print()
    for line in lines:
        output.line(f"{kind}: {line}")


def _files(settings: Config) -> str | None:
    """Returns what this machine's own files are beside; None if that is the store."""
    return None if settings.store_path == settings.store_address else f"{settings.store_path}.*"


def _unused(parts: Parts) -> Iterator[str]:
    """Yields the faults of providers that no source uses: those of others end the check."""
    for name, error in parts.registry.faulty():
        for line in str(error).split("\n"):
            yield f"no source uses the provider {name}, and none could: {line}"


def _asked_last(plugins: Sequence[Plugin]) -> str | None:
    """Returns which handlers answer only what others do not, and which others; None without any."""
    named = [
        (f"{plugin.name}.{handler.function.__name__}", handler)
        for plugin, handler in ordered(plugins)
        if EventType.MESSAGE_RECEIVED in handler.types
    ]
    last = ", ".join(name for name, handler in named if handler.last)
    others = ", ".join(name for name, handler in named if not (handler.last or handler.inline))
    return f"{last}: if there is no reply of {others}" if last and others else None


def _rows(name: str, provider: Provider[Any]) -> Iterator[tuple[str, ...]]:
    if not provider.pushes:
        yield (name, provider.name, "", "sending only: it pushes nothing", "")
    for url in provider.push_urls:
        path, credential = _path(name, url, provider), provider.credential(url)
        yield (name, provider.name, path, url.label, credential)


def _path(name: str, url: PushUrl, provider: Provider[Any]) -> str:
    in_url = url.secret is None and provider.requires_credential
    return f"/hooks/{name}/TOKEN" if in_url else f"/hooks/{name}"
