"""A provider whose pushes tell several events, for tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from receiver.errors import Malformed
from receiver.intake.endpoint import Endpoint
from receiver.providers import Answer, Parsed, Push
from receiver.providers.tilil import Tilil
from receiver.providers.tilil.reports import Payload
from receiver.providers.tilil.settings import TililSource
from receiver.service.parts import Service
from tests.harness import TOKEN


class Many(Tilil):
    """Takes payloads of Tilil, one a line; the token is in the URL."""

    def read(self, push: Push) -> Payload:
        """Reads the first line."""
        return super().read(replace(push, body=push.body.splitlines()[0]))

    def authenticate(self, push: Push) -> None:
        """Compares the token in the URL."""
        self.require_credential(presented=self.tokens.verify(push.url_tokens()))

    def parse(self, push: Push) -> Sequence[Parsed | Malformed]:  # type: ignore[override] # wider
        """Returns the event of each line."""
        return [self._item(push, line) for line in push.body.splitlines()]

    def acknowledge(self, push: Push, parsed: Parsed, reply: str) -> Answer:
        """Names the event, so that a test can tell whose answer it is, and its content type."""
        answer = super().acknowledge(push, parsed, reply)
        body = json.dumps({"of": parsed.key, "reply": reply}).encode()
        return replace(answer, body=body)

    def _item(self, push: Push, line: bytes) -> Parsed | Malformed:
        try:
            return super().parse(replace(push, body=line, payload=None))[0]
        except Malformed as error:
            return error


def serve_many(service: Service, source: str = "tilil") -> None:
    """Has a source of a service in this process take several events a push."""
    was = service.intake.endpoints[source]
    settings = was.provider.source
    assert isinstance(settings, TililSource)
    made = Endpoint.of(source, was.source, Many(settings), was.dispatcher)
    service.intake.endpoints[source] = made


def of(*payloads: bytes) -> dict[str, Any]:
    """Returns the arguments of `take` for a push of these payloads."""
    return {"body": b"\n".join(payloads), "token": TOKEN}


def replying(answer: Answer) -> tuple[str, str]:
    """Returns the event that an answer names, and the reply in it."""
    said = json.loads(answer.body)
    return said["of"], said["reply"]
