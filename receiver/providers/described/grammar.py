"""A whole description. docs/descriptions.md explains every key to those who write one."""

from __future__ import annotations

from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from receiver.providers.described.push_grammar import (
    Answer,
    Auth,
    Example,
    Message,
    Method,
    Report,
    Subscription,
    Table,
)
from receiver.providers.described.send_grammar import Sending


class Description(Table, frozen=True, kw_only=True):
    """A whole description: the name of its file is the name of the provider."""

    title: str
    documentation: list[str]
    timezone: ZoneInfo = ZoneInfo("UTC")
    region: str
    methods: list[Method] = msgspec.field(default_factory=lambda: ["POST"])
    format: Literal["json", "form"] | None = None
    auth: Auth = Auth()
    message: Message | list[Message] = []
    report: Report | list[Report] = []
    subscription: Subscription | list[Subscription] = []
    networks: dict[str, str] = {}
    answer: Answer = Answer()
    send: Sending | None = None
    example: list[Example] = []
