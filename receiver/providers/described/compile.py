"""Compiles a description into a provider."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from receiver.config import Source
from receiver.errors import ConfigError
from receiver.providers.contract import Provider, PushUrl
from receiver.providers.described import paths
from receiver.providers.described.answers import compile_answer
from receiver.providers.described.auth import (
    Credentials,
    SignedSource,
    compile_auth,
    compile_signature,
)
from receiver.providers.described.compilation import Compilation
from receiver.providers.described.compile_send import compile_api, settings_of
from receiver.providers.described.grammar import Description
from receiver.providers.described.kinds import Kind, Kinds, compile_kinds
from receiver.providers.described.payload import compile_reader
from receiver.providers.described.provider import Described, DescribedSender
from receiver.text.msisdn import is_region

_LABELS = {
    "message": "messages",
    "report": "delivery reports",
    "subscription": "subscriptions",
}


def compiled(name: str, description: Description) -> type[Described]:
    """Returns the provider of a description. Raises `ConfigError` with every fault."""
    found = Compilation()
    if not is_region(description.region):
        found.fault("region", f"expected a region such as KE, got {description.region!r}")
    kinds = compile_kinds(found, description)
    if not kinds and description.send is None:
        found.fault("message", "missing: expected [message], [report], [subscription] or [send]")
    credentials = compile_auth(found, description.auth)
    signature = compile_signature(found, description.auth)
    answers = compile_answer(found, description.answer)
    api = compile_api(found, description)
    source, send = settings_of(found, description, SignedSource if signature else Source)
    if found.faults:
        raise ConfigError(found.faults)
    reader = compile_reader(
        description.format,
        names=tuple(sorted({*found.names, *credentials.fields})),
        credentials=credentials.fields,
        query=tuple(sorted(found.query)),
        words=frozenset(found.words),
    )
    attributes: dict[str, Any] = {
        "__doc__": f"Reads and answers the pushes of {description.title}.",
        "__module__": Described.__module__,
        "name": name,
        "title": description.title,
        "methods": frozenset(description.methods),
        "default_timezone": description.timezone,
        "default_region": description.region,
        "push_urls": tuple(_urls(kinds, credentials)),
        "receives_messages": any(kind.key.startswith("message") for kind in kinds),
        "sample_kinds": tuple(example.name for example in description.example),
        "description": description,
        "reader": reader,
        "credentials": credentials,
        "signature": signature,
        "credential_settings": ("tokens", "signing_secrets") if signature else ("tokens",),
        "kinds": Kinds(kinds),
        "answers": answers,
        "meanings": tuple(found.meanings),
        "api": api,
        "settings": source,
        "send_settings": send,
    }
    if answers.reply is None:  # what a provider does not do is as in the contract
        attributes["takes_reply"] = Provider.takes_reply
    base = Described if kinds else DescribedSender
    return type(_class_name(name), (base,), attributes)


def _urls(kinds: list[Kind], credentials: Credentials) -> Iterator[PushUrl]:
    """Yields a URL for all pushes, or one for each word after it that tells their kind."""
    labels: dict[str, list[str]] = {}
    for kind in kinds:
        words = kind.expected.get(paths.WORD, frozenset())
        for word in sorted(words) if isinstance(words, frozenset) and words else [""]:
            name = _LABELS[kind.key.partition("[")[0]]
            if name not in labels.setdefault(word, []):
                labels[word].append(name)
    for word, names in labels.items():
        label = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
        yield PushUrl(f"{label}, with /{word} after it" if word else label, credentials.secret)


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.replace("_", "-").split("-"))
