"""The provider that a description is compiled into."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import ClassVar

from receiver.config import Send, Source
from receiver.errors import CredentialMissing, InvalidInput, Malformed, PushError, Unreadable
from receiver.events import EventType
from receiver.providers.contract import Answer, Parsed, Provider, Push, PushUrl, Sample
from receiver.providers.described import samples
from receiver.providers.described.answers import Answers
from receiver.providers.described.auth import Credentials, Signature, SignedSource
from receiver.providers.described.grammar import Description
from receiver.providers.described.kinds import Kinds
from receiver.providers.described.paths import Payload
from receiver.providers.described.payload import PayloadReader, split_word
from receiver.providers.described.reports import Meaning
from receiver.providers.described.sending import DescribedApi
from receiver.providers.send_only import SendOnlyProvider


class Described(Provider[Payload]):
    """Reads and answers the pushes of a gateway as its description says.

    `compile_description` makes a subclass for each description.
    """

    description: ClassVar[Description]
    send_settings: ClassVar[type[Send]]
    """The keys of `[sources.NAME.send]`."""
    api: ClassVar[type[DescribedApi] | None] = None
    reader: ClassVar[PayloadReader]
    credentials: ClassVar[Credentials]
    signature: ClassVar[Signature | None] = None
    kinds: ClassVar[Kinds]
    answers: ClassVar[Answers]
    meanings: ClassVar[tuple[Meaning, ...]]

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._signed: SignedSource | None = None
        if self.signature and isinstance(source, SignedSource) and source.signing_secrets:
            self._signed = source
            self.clock_tolerance = self.signature.tolerance

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields settings that the description requires, and those that no signature has."""
        if self.signature and isinstance(self.source, SignedSource):
            source = self.source
            yield from self.signature.scheme.faults(source.signing_secrets, source.public_url)
        send, sending = self.source.send, self.description.send
        if send is None or sending is None:
            return
        for name, setting in sending.settings.items():
            if setting.required and getattr(send, name) is None:
                yield f"send.{name}", f"missing: {self.title} needs {setting.meaning}"

    def read(self, push: Push) -> Payload:
        """Reads JSON, a form or the parameters of the URL."""
        return self.reader.read(push)

    def authenticate(self, push: Push) -> None:
        """Compares the tokens in the URL, in headers and in fields."""
        if not self.requires_credential:
            return
        words = self.reader.words
        presented = self.tokens.verify(self._in_url(push) if words else push.url_tokens())
        if self.credentials.headers or self.credentials.basic:
            presented |= self.tokens.verify(self.credentials.in_headers(push))
        if self._signed is not None and self.signature is not None:
            if not self.signature.verify(self._signed, push):
                raise CredentialMissing("expected a signature: signing_secrets are set")
            presented = True
        if self.credentials.fields:
            try:
                presented |= self.tokens.verify(self.payload(push).credentials)
            except Unreadable:
                if not presented:
                    raise
        self.require_credential(presented=presented)

    def parse(self, push: Push) -> list[Parsed | Malformed]:
        """Returns the messages, delivery reports or changes of subscriptions."""
        if push.payload is None:
            push.payload = self.read(push)
        return self.kinds.parse(self, push)

    def takes_reply(self, parsed: Parsed) -> bool:
        """Returns True for a message, if the answer can carry a text."""
        return self.answers.reply is not None and parsed.type is EventType.MESSAGE_RECEIVED

    def acknowledge(self, push: Push, parsed: Parsed, reply: str) -> Answer:
        """Makes the answer of `[answer]`."""
        if reply and self.takes_reply(parsed):
            return self.answers.with_reply(reply)
        return self.answers.plain

    def challenged(self, push: Push) -> Answer | None:
        """Gives back the parameter `challenge` of the description."""
        return self.answers.challenged(push.query)

    def refuse(self, error: PushError) -> Answer:
        """Makes the answer `refused` of the description."""
        return self.answers.refused or super().refuse(error)

    @classmethod
    def reply_in(cls, answer: bytes) -> str:
        """Returns the reply in an answer of `acknowledge`; empty without one."""
        return cls.answers.reply_in(answer)

    @classmethod
    def knows_status(cls, word: str) -> bool:
        """Returns True for a word of the description's own, or of the usual ones."""
        return super().knows_status(word) or any(each.has(word) for each in cls.meanings)

    @classmethod
    def sample(cls, kind: str, secret: str, values: dict[str, str]) -> Sample:
        """Makes the push of the example that has this name."""
        return samples.sample(cls, kind, secret, values)

    @classmethod
    def fresh_values(cls, kind: str, now: datetime) -> dict[str, str]:
        """Returns a new id and time for an example."""
        return samples.fresh_values(cls, kind, now)

    def signed(self, sample: Sample, now: datetime) -> Sample:
        """Signs a sample as the gateway does, if this source has signing secrets."""
        if self._signed is None or self.signature is None:
            return sample
        if not self.signature.scheme.secret_signs:
            raise InvalidInput(f"nobody but {self.title} can sign: the source has its public key")
        return self.signature.signed(self._signed, sample, now)

    def credential(self, url: PushUrl) -> str:
        """Names the signature, where pushes carry one."""
        named = super().credential(url)
        if self._signed is None or self.signature is None:
            return named
        signature = f"a signature ({self.signature.scheme.secret})"
        return f"{named}, and {signature}" if self.source.tokens else signature

    def _in_url(self, push: Push) -> Iterator[str]:
        """Yields the credentials in the URL, without the word of the description."""
        tokens = iter(push.url_tokens())
        if push.token and (first := split_word(next(tokens), self.reader.words)[0]):
            yield first
        yield from tokens


class DescribedSender(SendOnlyProvider, Described):
    """Only sends: its gateway pushes nothing."""
