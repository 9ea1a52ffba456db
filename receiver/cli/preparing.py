"""What commands need that work with the plugins, the providers or a store of their own."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from receiver.cli.options import load
from receiver.logs import setup
from receiver.service import commands, control
from receiver.service import parts as service
from receiver.service.parts import Parts


def prepare(file: Path | None) -> Parts:
    """Providers and plugins of the configuration. Raises `ConfigError`."""
    setup.configure(level=logging.WARNING)
    return service.prepare(load(file))


def perform(parts: Parts, command: commands.Command) -> commands.Outcome:
    """Has a command carried out, by the running service or here. Raises `StoreError`."""
    return asyncio.run(control.perform(parts, command))
