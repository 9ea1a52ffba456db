"""Signatures of pushes: the schemes of gateways by name, and HMAC as a description has it.

A `Scheme` proves that a push comes from its gateway (`verify`), signs examples as the gateway does
(`sign`), and tells which settings do not suit it (`faults`). It is given the secrets, which are in
`signing_secrets` of the source. Each scheme is a module of this folder.
"""

from __future__ import annotations

from receiver.providers.signing.hmacs import Hmac
from receiver.providers.signing.messagebird import MessageBird
from receiver.providers.signing.plivo import Plivo
from receiver.providers.signing.scheme import Scheme
from receiver.providers.signing.standard_webhooks import StandardWebhooks
from receiver.providers.signing.telnyx import Telnyx
from receiver.providers.signing.twilio import Twilio
from receiver.providers.signing.vonage import Vonage

__all__ = ["SCHEMES", "Hmac", "Scheme"]

SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        MessageBird(),
        Plivo(),
        StandardWebhooks(),
        Telnyx(),
        Twilio(),
        Vonage(),
    )
}
"""The schemes that `scheme = "NAME"` may name."""
