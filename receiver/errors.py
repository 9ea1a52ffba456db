"""All errors of the program, as one tree.

ReceiverError
├── ConfigError             the configuration has faults; lists all of them
├── Failed                  a command did not do everything it was asked to do
├── HandlerError            a handler failed, and knows if and when to try it again
├── InvalidInput            a person asks for something that cannot be done as asked
├── NotFound                the store has nothing with this id
├── PluginError             a plugin cannot be loaded or used
├── PushError               a push that is not taken; carries the HTTP status of the answer
│   ├── Unreadable          400  the body cannot be read at all
│   ├── Malformed           400  authenticated, but no event can be made of it
│   ├── BadRequest          400  no HTTP request that can be read
│   │   ├── UrlTooLong      414
│   │   └── HeadTooLarge    431
│   ├── CredentialMissing   401
│   ├── CredentialWrong     401
│   ├── ClockOff            401  the credential is right, its time is not ours
│   ├── AddressRefused      403
│   ├── UnknownSource       404
│   ├── MethodRefused       405
│   ├── TooSlow             408
│   ├── TooLarge            413
│   ├── EncodingRefused     415
│   ├── TooMany             429
│   └── StoreUnavailable    503  also a StoreError
├── ProviderError           a provider refuses a call, or its outcome is not known
├── NotTaken                a system does not take an event; carries when to try again
│   └── NoAnswer            it gave no answer
└── StoreError
    ├── StoreLocked         another process has the store
    ├── StoreUnusable       not a store of ours, damaged, or from a newer program
    └── StoreUnavailable    the store cannot take it now

The docstring of a class is the message of an instance made without one.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec


class ReceiverError(Exception):
    """Something went wrong in sms-receiver."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message if message is not None else type(self).__doc__)


class Fault(msgspec.Struct, frozen=True):
    """One fault of a configuration: its dotted key, and the expected value."""

    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}" if self.key else self.message


class ConfigError(ReceiverError):
    """The configuration has faults."""

    def __init__(self, faults: list[Fault], file: str = "") -> None:
        self.faults = faults
        self.file = file
        prefix = f"{file}: " if file else ""
        super().__init__("\n".join(f"{prefix}{fault}" for fault in faults))


class Failed(ReceiverError):
    """A command did not do everything it was asked to do."""

    def __init__(self, *lines: str) -> None:
        self.lines = lines
        """What failed, a line each."""
        super().__init__("; ".join(lines) or None)


class HandlerError(ReceiverError):
    """A handler failed."""

    def __init__(
        self, words: str | None = None, *, retryable: bool = True, retry_after: float | None = None
    ) -> None:
        self.retryable = retryable
        """False: it would fail again, so it becomes a dead letter at once."""
        self.retry_after = retry_after
        """Seconds that it is not tried again for, at least."""
        super().__init__(words)


class InvalidInput(ReceiverError):
    """A person asks for something that cannot be done as asked."""

    def __init__(self, message: str | None = None, field: str | None = None) -> None:
        self.field = field
        """The value to change, such as `older_than`: an option, or a field of a form."""
        super().__init__(message)


class NotFound(ReceiverError):
    """The store has nothing with this id."""


class PluginError(ReceiverError):
    """A plugin cannot be used."""


class PushError(ReceiverError):
    """A push that is not taken."""

    status: ClassVar[int] = 400
    #: The name of this refusal in counters and logs.
    outcome: ClassVar[str] = "refused"


class Unreadable(PushError):
    """The body cannot be read."""

    outcome = "unreadable"


class Malformed(PushError):
    """No event can be made of this request."""

    outcome = "malformed"


class BadRequest(PushError):
    """It is no HTTP request."""

    outcome = "bad_request"


class UrlTooLong(BadRequest):
    """The URL is too long."""

    status = 414
    outcome = "url_too_long"


class HeadTooLarge(BadRequest):
    """There are too many or too large headers."""

    status = 431
    outcome = "head_too_large"


class CredentialMissing(PushError):
    """No credential."""

    status = 401
    outcome = "credential_missing"


class CredentialWrong(PushError):
    """The credential is wrong."""

    status = 401
    outcome = "credential_wrong"


class ClockOff(PushError):
    """The credential is right, but of a time too far from ours."""

    status = 401
    outcome = "clock"


class AddressRefused(PushError):
    """This address is not on the allow-list of the source (allow_ips)."""

    status = 403
    outcome = "address_refused"


class UnknownSource(PushError):
    """No such source."""

    status = 404
    outcome = "unknown_source"


class MethodRefused(PushError):
    """The provider does not use this method."""

    status = 405
    outcome = "method_refused"


class TooSlow(PushError):
    """The request did not arrive whole within the time limit (server.request_timeout)."""

    status = 408
    outcome = "too_slow"


class TooLarge(PushError):
    """The body is larger than the limit (server.max_body)."""

    status = 413
    outcome = "too_large"


class EncodingRefused(PushError):
    """Content-Encoding is not supported: send the body as it is."""

    status = 415
    outcome = "encoding_refused"


class TooMany(PushError):
    """More pushes than the source's own limit (max_per_second)."""

    status = 429
    outcome = "too_many"


class ProviderError(ReceiverError):
    """A provider refuses a call, or its outcome is not known."""

    def __init__(
        self,
        words: str | None = None,
        *,
        code: str | None = None,
        retryable: bool = False,
        unknown: bool = False,
        retry_after: float | None = None,
        tomorrow: bool = False,
        opted_out: bool = False,
        link_invalid: bool = False,
    ) -> None:
        self.words = words if words is not None else type(self).__doc__ or ""
        """The provider's own, where it said any."""
        self.code = code
        """The provider's own, or the HTTP status."""
        self.retryable = retryable
        """Nothing was done, and the same request may work later."""
        self.unknown = unknown
        """It may have been done: nobody knows."""
        self.retry_after = retry_after
        """Seconds that the provider asks to wait."""
        self.tomorrow = tomorrow
        """It may work on the next day of the provider: a limit of this message's day is used up."""
        self.opted_out = opted_out
        """The person must not be messaged."""
        self.link_invalid = link_invalid
        """The link_id is used up or too old."""
        super().__init__(f"{self.words} ({code})" if code else words)


class NotTaken(ReceiverError):
    """The system does not take the event."""

    def __init__(
        self,
        message: str | None = None,
        *,
        retry_after: float | None = None,
        for_good: bool = False,
    ) -> None:
        """`retry_after`: seconds that it asks to wait; `for_good`: it takes nothing more."""
        super().__init__(message)
        self.retry_after = retry_after
        self.for_good = for_good


class NoAnswer(NotTaken):
    """There was no answer, or none that can be understood."""


class StoreError(ReceiverError):
    """The store failed."""


class StoreLocked(StoreError):
    """Another process has the store open."""


class StoreUnusable(StoreError):
    """The file is not a store that this program can use."""


class StoreUnavailable(StoreError, PushError):
    """The store cannot take it now."""

    status = 503
    outcome = "store_unavailable"
