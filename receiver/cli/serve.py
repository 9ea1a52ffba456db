"""`receiver serve`."""

from __future__ import annotations

import asyncio

import uvloop

from receiver import logs, server, service
from receiver.cli.options import ConfigFile, load


def command(config: ConfigFile = None) -> None:
    """Runs the service until SIGTERM or Ctrl-C. Logs go to stderr, a JSON object a line."""
    settings = load(config)
    logs.configure()
    parts = service.prepare(settings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.serve(parts))
