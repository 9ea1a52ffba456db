"""The part of the handlers' runner that the intake uses, so that it need not know the rest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol

from receiver.events import Data, Event
from receiver.logs.histogram import HandlerRuns
from receiver.plugin_host.answers import Answers
from receiver.plugin_host.dispatch import BoundHandler
from receiver.plugin_host.loop_guard import Guard


class Workers(Protocol):
    """Runs the handlers that are not inline (`receiver.jobs.handle`)."""

    guard: Guard
    answers: Answers
    runs: defaultdict[str, HandlerRuns]
    """By handler, since the start."""

    @property
    def claims(self) -> int:
        """The owner of new work: this process if it has room; 0: nobody, it waits."""

    def push_settled(self) -> None:
        """Says that a push of a former configuration is stored, or is not."""

    def submit(
        self,
        event: Event[Data],
        seq: int,
        jobs: Sequence[tuple[int, BoundHandler]],
        held: str | None,
    ) -> None:
        """Begins jobs of a new event that were claimed with it; `held`: why none may reply."""
