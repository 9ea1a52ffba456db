"""Writes the table of a source for `receiver init`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from receiver.providers import Provider, ProviderType


def folders_table(folders: list[str]) -> str:
    """Returns the table that says where files of providers are; empty without folders."""
    if not folders:
        return ""
    path = ", ".join(json.dumps(folder) for folder in folders)
    return f"[providers]\npath = [{path}]  # folders with files of providers\n\n"


def source_table(provider: ProviderType, token: str | None, *, asked_for: bool) -> str:
    """Returns the commented table of a source of this provider, named after it.

    A provider that pushes nothing has no `token`. Its table waits in comments, unless it was
    asked for: it needs the key of an account.
    """
    lines = list(_source(provider, token))
    send = list(_send(provider))
    if provider.pushes:
        return "".join(_lines([*lines, "", *_why_send(provider), *map(_comment, send)]))
    whole = [*lines, "", *send]
    return "".join(_lines(whole if asked_for else map(_comment, whole)))


def _source(provider: ProviderType, token: str | None) -> Iterator[str]:
    yield f"[sources.{provider.name}]  # {provider.title}"
    yield f'provider = "{provider.name}"'
    if token is not None:
        yield f'tokens = ["{token}"]'


def _why_send(provider: ProviderType) -> Iterator[str]:
    if provider.api is None:
        return
    if provider.receives_messages and provider.takes_reply is Provider.takes_reply:
        yield "# It takes no reply in its answer to a message: replies are sent, which needs"
    else:
        yield "# To send through it:"


def _send(provider: ProviderType) -> Iterator[str]:
    if provider.api is None:
        return
    yield f"[sources.{provider.name}.send]"
    variable = "".join(char if char.isalnum() else "_" for char in provider.name).upper()
    yield f'api_key = "env:{variable}_API_KEY"'
    if provider.api.needs_sender:
        yield 'sender = "YOURNAME"  # at most 11 letters, or a number'


def _comment(line: str) -> str:
    return f"# {line}".rstrip()


def _lines(lines: Iterable[str]) -> Iterator[str]:
    return (f"{line}\n" for line in lines)
