"""Writes the table of a source for `receiver init`."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from receiver.providers import Provider, ProviderType

if TYPE_CHECKING:
    from receiver.providers.described import Description

#: 256 bits.
_TOKEN_BYTES = 32


def folders_table(folders: list[str]) -> str:
    """Returns the table that says where files of providers are; empty without folders."""
    if not folders:
        return ""
    path = ", ".join(json.dumps(folder) for folder in folders)
    return f"[providers]\npath = [{path}]  # folders with files of providers\n\n"


def new_token(provider: ProviderType) -> str:
    """Returns a random token; with a user name before it for a gateway that sends both."""
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    described = _description(provider)
    return f"receiver:{token}" if described is not None and described.auth.basic else token


def source_table(provider: ProviderType, token: str | None, url: str, *, asked_for: bool) -> str:
    """Returns the commented table of a source of this provider, named after it.

    `url` is that of its pushes. A provider that pushes nothing has no `token`. Its table waits in
    comments, unless it was asked for: it needs the key of an account.
    """
    lines = [*_source(provider, token), *map(_comment, _signed(provider, url))]
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
    yield f'api_key = "env:{_variable(provider)}_API_KEY"'
    if provider.api.needs_sender:
        yield 'sender = "YOURNAME"  # at most 11 letters, or a number'
    described = _description(provider)
    if described is not None and described.send is not None:
        for name, setting in described.send.settings.items():
            default = f" (default: {setting.default})" if setting.default is not None else ""
            needed = "" if setting.required else "optional: "
            yield f'{name} = "…"  # {needed}{setting.meaning}{default}'


def _signed(provider: ProviderType, url: str) -> Iterator[str]:
    """Yields the settings of a gateway that may sign its pushes."""
    if "signing_secrets" in provider.credential_settings:
        yield f'signing_secrets = ["env:{_variable(provider)}_SIGNING_SECRET"]  # if it signs'
    if "public_url" in provider.settings.__struct_fields__:
        yield f'public_url = "{url}"  # if it signs the URL as well'


def _description(provider: ProviderType) -> Description | None:
    description: Description | None = getattr(provider, "description", None)
    return description


def _variable(provider: ProviderType) -> str:
    """Returns the beginning of names of environment variables."""
    return "".join(char if char.isalnum() else "_" for char in provider.name).upper()


def _comment(line: str) -> str:
    return f"# {line}".rstrip()


def _lines(lines: Iterable[str]) -> Iterator[str]:
    return (f"{line}\n" for line in lines)
