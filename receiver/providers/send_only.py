"""The base of providers that never push: sources of them only send."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, NoReturn

from receiver.errors import CredentialMissing, Malformed, Unreadable
from receiver.providers.contract import Provider, Push, PushUrl


class SendOnlyProvider(Provider[Any]):
    """Refuses every push, whatever it carries."""

    methods = frozenset()
    push_urls: ClassVar[tuple[PushUrl, ...]] = ()
    sample_kinds: ClassVar[tuple[str, ...]] = ()
    pushes = False

    def read(self, push: Push) -> NoReturn:
        """Raises `Unreadable`."""
        raise Unreadable(f"{self.name} pushes nothing")

    def authenticate(self, push: Push) -> None:
        """Raises `CredentialMissing`."""
        raise CredentialMissing(f"{self.name} pushes nothing")

    def parse(self, push: Push) -> NoReturn:
        """Raises `Malformed`."""
        raise Malformed(f"{self.name} pushes nothing")

    @classmethod
    def sample(cls, kind: str, secret: str, values: dict[str, str]) -> NoReturn:
        """Raises LookupError."""
        raise LookupError(f"{cls.name} pushes nothing")

    @classmethod
    def fresh_values(cls, kind: str, now: datetime) -> NoReturn:
        """Raises LookupError."""
        raise LookupError(f"{cls.name} pushes nothing")
