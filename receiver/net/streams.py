"""Streams of NATS JetStream that events are stored in: their settings.

The events themselves are published by `receiver.net.jetstream`, which imports the client library:
that is an extra, and no other part of the program needs it.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from receiver.config.convert import Secret, Url
from receiver.events import Data, Event, EventType
from receiver.net.filtered import Filtered, Told, check_name
from receiver.net.nats_credentials import read_credentials
from receiver.text.urls import is_here

#: Events under way at the same time, and the most of a batch: the server takes up to 1000 in one.
_AT_ONCE = 100
_MOST_SECONDS = 15.0
#: A name of a stream, and a word of a subject: NATS gives the other characters a meaning.
_NAME = re.compile(r"[^\s.*>/\\\x00-\x1f\x7f]+")
_WORD = re.compile(r"[!-~]+")
#: What stands in a word of a subject as it is; all else as % and two digits.
_PLAIN = re.compile(rb"[A-Za-z0-9_-]")
_OF_NATS_ITSELF = ("$", "_INBOX")
_PACKAGES = {"nats": "nats-py", "cryptography": "cryptography"}


class Stream(Filtered, frozen=True, kw_only=True):
    """`[[plugins.NAME.streams]]`: a stream, how it is reached, and filters of events."""

    servers: list[str]
    """`nats://HOST:4222` or `tls://HOST:4222`; several of one cluster."""
    stream: str
    """Its name in JetStream. It is made by whoever runs the servers, not by us."""
    subject: str = "{type}.{source}"
    """Where an event is published: `{type}` and `{source}` stand for those of the event."""
    credentials: Secret | None = None
    """The contents of a credentials file (`.creds`)."""
    token: Secret | None = None
    user: str | None = None
    password: Secret | None = None
    ca: Path | None = None
    """The certificates that are trusted (PEM); None: those that this machine trusts."""
    certificate: Path | None = None
    """Our own certificate (PEM), for servers that ask for one."""
    key: Path | None = None
    """The private key of `certificate` (PEM)."""
    timeout: float = 15.0
    """Seconds until the stream must have acknowledged an event; at most 15."""
    monitors: list[Url] = []
    """Monitoring addresses of the servers (`http://HOST:8222`): they tell `sync_interval`."""

    @property
    def at_once(self) -> int:
        """The most events under way to it at the same time."""
        return _AT_ONCE

    @property
    def needs_tls(self) -> bool:
        """True if nothing is said to a server that does not encrypt."""
        tls = any(server.startswith("tls:") for server in self.servers)
        return tls or self.ca is not None or self.certificate is not None

    def subject_of(self, event: Event[Data]) -> str:
        """Returns the subject that an event is published to."""
        type_ = ".".join(map(_word, event.type.split(".")))
        return _filled(self.subject, type_, _word(event.source_name))

    def subjects(self) -> list[str]:
        """Returns all subjects that events go to, with `*` for a source that is not named."""
        types = self.types or [str(type_) for type_ in EventType]
        sources = [_word(name) for name in self.sources] or ["*"]
        made = (_filled(self.subject, type_, source) for type_ in types for source in sources)
        return list(dict.fromkeys(made))

    def tls(self) -> ssl.SSLContext:
        """Returns the certificates that are trusted, and ours. Raises OSError."""
        context = ssl.create_default_context(cafile=self.ca)
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key)
        return context

    def faults(self) -> Iterator[Told]:
        """Returns what cannot work."""
        yield from Filtered.faults(self)
        try:
            check_name(self.name)
        except ValueError as error:
            yield "name", str(error)
        for n, server in enumerate(self.servers):
            if why := _server_fault(server):
                yield f"servers[{n}]", why
        if not self.servers:
            yield "servers", "expected at least one, such as nats://127.0.0.1:4222"
        if not _NAME.fullmatch(self.stream):
            yield "stream", f"expected the name of a stream, such as SMS, got {self.stream!r}"
        if why := _subject_fault(self.subject):
            yield "subject", f"{why}, got {self.subject!r}"
        if not 0 < self.timeout <= _MOST_SECONDS:
            yield "timeout", f"expected at most {_MOST_SECONDS:g} s, got {self.timeout:g}"
        yield from self._faults_of_access()

    def _faults_of_access(self) -> Iterator[Told]:
        ways = [self.credentials, self.token, self.user]
        if sum(way is not None for way in ways) > 1:
            yield "credentials", "expected only one of credentials, token, and user with password"
        if (self.user is None) != (self.password is None):
            yield "user", "expected user and password together"
        if self.credentials is not None:
            try:
                read_credentials(self.credentials.reveal())
            except ValueError as error:
                yield "credentials", str(error)
        if self.key is not None and self.certificate is None:
            yield "key", "expected certificate beside it"
        try:
            if self.ca or self.certificate:
                self.tls()
        except OSError as error:  # of which ssl.SSLError is one
            files = ", ".join(str(file) for file in (self.ca, self.certificate, self.key) if file)
            yield "ca" if self.ca else "certificate", f"{files}: {error.strerror or error}"
        missing = [package for name, package in _PACKAGES.items() if find_spec(name) is None]
        if missing:
            needed = " and ".join(missing)
            yield "stream", f"needs {needed} (the extra nats): pip install 'sms-receiver[nats]'"

    def cautions(self, sources: Iterable[str]) -> Iterator[Told]:
        """Returns what is probably a mistake."""
        yield from Filtered.cautions(self, sources)
        if not all(map(is_here, self.servers)):
            if not self.needs_tls:
                yield "servers", "nats: events may cross the network unencrypted; write tls://"
            if not any((self.credentials, self.token, self.user, self.certificate)):
                yield "credentials", "none: whoever reaches the servers can write into the stream"
        if not self.monitors:
            why = (
                "none, so nobody sees whether the servers have sync_interval = always, without"
                " which an acknowledged event can be lost; such as http://127.0.0.1:8222"
            )
            yield "monitors", why


def _filled(template: str, type_: str, source: str) -> str:
    return template.replace("{type}", type_).replace("{source}", source)


def _word(text: str) -> str:
    """Returns a text as one word of a subject: with `%2E` for a dot, `%2A` for `*`."""
    return "".join(
        chr(byte) if _PLAIN.match(bytes([byte])) else f"%{byte:02X}" for byte in text.encode()
    )


def _server_fault(server: str) -> str | None:
    """Says what is wrong with the address of a server, without showing it."""
    expected = "expected nats:// or tls://, a host and a port, such as nats://127.0.0.1:4222"
    try:
        parts = urlsplit(server)
        port = parts.port
    except ValueError:
        return expected
    if "@" in parts.netloc:
        return "expected no user or password in it; use user and password, token or credentials"
    rest = parts.path.strip("/") or parts.query or parts.fragment
    if parts.scheme not in ("nats", "tls") or not parts.hostname or port == 0 or rest:
        return expected
    return expected if re.search(r"[\x00-\x20\x7f\\]", server) else None


def _subject_fault(template: str) -> str | None:
    words = _filled(template, "a.b", "c").split(".")
    if any(not _WORD.fullmatch(word) or set("*>{}") & set(word) for word in words):
        return "expected words with dots between them, {type} and {source}, and neither * nor >"
    if words[0].startswith(_OF_NATS_ITSELF):
        return "expected a subject of yours: those with $ or _INBOX are of NATS itself"
    return None
