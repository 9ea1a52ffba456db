"""Redacts errors and targets for display: no credentials, and no words that people wrote.

The log keeps to the same. New errors of providers are stored without our key; these functions
also serve for what is older, and for what other keys of the configuration are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import urlsplit

import msgspec

from receiver.config import Config
from receiver.config.convert import Secret
from receiver.config.store import password_in
from receiver.http.redact import masked
from receiver.service.person import Entry, Record
from receiver.service.stories import Story
from receiver.store import Job, MessageReport, StoredMessage

#: What a handler raised: its kind, then words that may hold a text or a number of a person.
_RAISED = re.compile(r"([A-Za-z_]\w*): ")


def secrets_of(config: Config) -> list[str]:
    """Returns every credential in the configuration, the longest first."""
    found = {secret.reveal() for secret in _secrets(config)}
    if password := password_in(config.store.url):
        found.add(password)
    return sorted(found, key=len, reverse=True)


def redact_message(message: StoredMessage, secrets: Iterable[str]) -> StoredMessage:
    """Returns the message, with credentials masked in what the provider said."""
    if message.error is None:
        return message
    return msgspec.structs.replace(message, error=masked(message.error, secrets))


def redact_report(report: MessageReport, secrets: Iterable[str]) -> MessageReport:
    """Returns the report, with credentials masked in what the provider said."""
    secrets = list(secrets)
    said = {
        name: text and masked(text, secrets)
        for name, text in msgspec.structs.asdict(report).items()
        if name in ("raw_status", "raw_code", "reason")
    }
    return msgspec.structs.replace(report, **said)


def redact_job(job: Job, secrets: Iterable[str]) -> Job:
    """Returns the job: of an exception its kind, of a URL its host, and credentials masked."""
    error, target, payload = job.error, job.target, job.payload
    if error is not None:
        raised = _RAISED.match(error) if job.kind == "handle" else None
        error = raised[1] if raised else masked(error, secrets)
    if payload is not None:
        payload = {
            key: redact_target(value) if isinstance(value, str) else value
            for key, value in payload.items()
        }
    return msgspec.structs.replace(
        job, error=error, target=target and redact_target(target), payload=payload
    )


def redact_story(story: Story, secrets: Iterable[str]) -> Story:
    """Returns the story, with its jobs and messages redacted."""
    return msgspec.structs.replace(
        story,
        jobs=tuple(redact_job(job, secrets) for job in story.jobs),
        messages=tuple(redact_message(message, secrets) for message in story.messages),
    )


def redact_entry(entry: Entry, secrets: Iterable[str]) -> Entry:
    """Returns an entry of a person's timeline, with its record redacted."""
    record: Record = entry.record
    match record:
        case Story():
            record = redact_story(record, secrets)
        case StoredMessage():
            record = redact_message(record, secrets)
        case Job():
            record = redact_job(record, secrets)
    return msgspec.structs.replace(entry, record=record)


def redact_target(target: str) -> str:
    """Returns a target's name; of a URL the host, since the rest may hold a secret."""
    if "://" not in target:
        return target
    try:
        return urlsplit(target).hostname or "…"
    except ValueError:
        return "…"


def _secrets(value: object) -> Iterator[Secret]:
    """Finds the credentials in anything that a configuration is made of."""
    if isinstance(value, Secret):
        yield value
    elif isinstance(value, msgspec.Struct):
        yield from _secrets([getattr(value, name) for name in value.__struct_fields__])
    elif isinstance(value, Mapping):
        yield from _secrets(list(value.values()))
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from _secrets(each)
