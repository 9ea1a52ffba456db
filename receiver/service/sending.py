"""Sets up outgoing work: messages, questions about them, ends of subscriptions, forwards."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import structlog

from receiver.handlers import Stream, Target
from receiver.jobs import campaign, deactivate, send
from receiver.jobs.campaign import Campaign
from receiver.jobs.channel import Calls, Line, open_lines
from receiver.jobs.deactivate import Deactivate
from receiver.jobs.forward import Forward, Forwarder
from receiver.jobs.poll import Observe, Poll
from receiver.jobs.purge import Retention
from receiver.jobs.runner import Runner
from receiver.jobs.send import Send
from receiver.plugin_host.loader import Plugin
from receiver.store import message_reports, messages, recovery
from receiver.supervision.supervisor import KeptTask

if TYPE_CHECKING:
    from typing import Any

    from receiver.config import Config
    from receiver.providers import Provider

log = structlog.get_logger("receiver.service.sending")

#: Seconds between looks for reports that nobody waits for any more.
_TIDY = 60.0
#: Seconds between looks for receivers that have ended.
_RECOVER = 5.0


class Sending:
    """Opens the queues of what leaves: of each source that sends, of each target.

    And deletes what is old. By one configuration at a time: what another one leaves as it is
    goes on, with its connections; what it changes first ends the requests that are under way.
    """

    def __init__(self, runner: Runner, observe: Observe, now: Callable[[], float]) -> None:
        """`now`: seconds of a clock that nobody sets."""
        self._runner = runner
        self._observe = observe
        self._now = now
        self._leaving: set[asyncio.Task[None]] = set()
        self._sweeping: KeptTask | None = None
        self.calls: defaultdict[str, Calls] = defaultdict(Calls)
        """By source, since the start."""
        self.lines: dict[str, Line] = {}
        self.forwarder: Forwarder
        self.retention: Retention

    async def start(
        self, config: Config, providers: dict[str, Provider[Any]], plugins: Iterable[Plugin]
    ) -> None:
        """Begins to send."""
        runner = self._runner
        self.lines = await open_lines(config, providers, runner.clock, self.calls)
        if lost := await runner.store.run(messages.recover, runner.now(), self._resend()):
            log.warning("messages were under way when the process ended", messages=lost)
        if runner.store.membership.slots > 1:
            runner.chore(_RECOVER, self._recover)
        runner.when_unserved(Send.kind, lambda source: send.refuse(runner, source))
        runner.when_unserved(Deactivate.kind, lambda source: deactivate.refuse(runner, source))
        runner.when_unserved(Campaign.kind, lambda source: campaign.refuse(runner, source))
        runner.chore(_TIDY, lambda: runner.store.run(message_reports.tidy, runner.now()))
        self.forwarder = Forwarder(runner, _targets(plugins), now=self._now)
        for line in self.lines.values():
            self._open(line)
        await self._sweep(config)

    async def stop(self) -> None:
        """Begins nothing more, and gives the requests under way a moment."""
        await self._end_sweeping()
        await self._runner.end(Send.kind, Campaign.kind, Poll.kind, Deactivate.kind, Forward.kind)
        await asyncio.gather(*self._leaving)
        for line in self.lines.values():
            await line.close()

    async def adopt(
        self, config: Config, providers: dict[str, Provider[Any]], plugins: Iterable[Plugin]
    ) -> None:
        """Goes on with another configuration; if its connections cannot be made, with the old one.

        Nobody waits for the requests of what is changed or gone: they end beside this.
        """
        old, clock = self.lines, self._runner.clock
        self.lines = await open_lines(config, providers, clock, self.calls, kept=old)
        for name, line in old.items():
            if self.lines.get(name) is not line:
                task = asyncio.create_task(_close_after(self._runner.retire(line.queues), line))
                self._leaving.add(task)
                task.add_done_callback(self._leaving.discard)
        for name, line in self.lines.items():
            if old.get(name) is not line:
                self._open(line)
        await self._sweep(config)
        self.forwarder.adopt(_targets(plugins))

    def _resend(self) -> list[str]:
        return [line.name for line in self.lines.values() if line.settings.resend_unknown]

    async def _recover(self) -> None:
        """Looks after what receivers left that have ended."""
        runner = self._runner
        values = runner.store.membership, runner.now(), self._resend()
        ended = await runner.store.run(recovery.recover, *values)
        for gone in ended:
            log.warning("a receiver has ended, and its work goes on", owner=gone.owner)

    def _open(self, line: Line) -> None:
        queues = [
            Send(self._runner, line),
            Campaign(self._runner, line),
            Deactivate(self._runner, line),
        ]
        if line.polls:
            queues.append(Poll(self._runner, line, self._observe))
        for queue in queues:
            self._runner.open(queue)

    async def _sweep(self, config: Config) -> None:
        await self._end_sweeping()
        runner = self._runner
        self.retention = Retention(config.retention, runner.store, runner.clock)
        keep = runner.supervisor.keep
        self._sweeping = keep("retention", self.retention.run, restart=True, finite=True)

    async def _end_sweeping(self) -> None:
        if self._sweeping is not None:
            await self._sweeping.stop()


async def _close_after(lives: list[KeptTask], line: Line) -> None:
    for life in lives:
        await life.wait()
    await line.close()


def _targets(plugins: Iterable[Plugin]) -> list[Target | Stream]:
    return [target for plugin in plugins for target in plugin.targets]
