"""A configured source, with everything that its pushes need."""

from __future__ import annotations

from typing import Any

import msgspec

from receiver.config import Source
from receiver.limits import Allowance
from receiver.plugin_host.dispatch import Dispatcher
from receiver.providers import Provider, Push
from receiver.providers.contract import Api
from receiver.providers.forms import read_form


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A source and its provider, as the intake needs them."""

    name: str
    path: str
    """The path in the `source` of its events."""
    source: Source
    provider: Provider[Any]
    dispatcher: Dispatcher
    """The dispatcher of the same configuration: a reload does not change it during a push."""
    limit: Allowance | None = None
    """The limit of `max_per_second`."""

    @classmethod
    def of(
        cls, name: str, source: Source, provider: Provider[Any], dispatcher: Dispatcher
    ) -> Endpoint:
        """Makes the endpoint of a source in the configuration."""
        rate = source.max_per_second
        return cls(
            name=name,
            path=f"/sources/{name}",
            source=source,
            provider=provider,
            dispatcher=dispatcher,
            limit=Allowance(rate, rate) if rate is not None else None,
        )

    def carries_nothing(self, push: Push) -> bool:
        """Returns True for a push without a body and with nothing but credentials in its URL."""
        if push.body or push.query.count(b"&") > 1:  # quick, for those that are pushes
            return False
        secrets = {"token", *(url.secret for url in self.provider.push_urls)}
        return read_form(push.query).keys() <= secrets

    @property
    def api(self) -> type[Api] | None:
        """The API to send through it; None if it does not send."""
        return self.provider.api if self.source.send is not None else None
