"""Makes the parts of a configuration for a command, and has commands carried out."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from receiver.cli.options import load
from receiver.logs import setup
from receiver.service import control
from receiver.service import parts as service
from receiver.service.commands import Command, Outcome
from receiver.service.parts import Parts


def prepare(file: Path | None) -> Parts:
    """Makes the providers and plugins of a configuration. Raises `ConfigError`."""
    setup.configure(level=logging.WARNING)
    return service.prepare(load(file))


def perform(parts: Parts, command: Command) -> Outcome:
    """Has a command carried out by the running service, or by this process if none runs.

    Raises `StoreError`.
    """
    return asyncio.run(control.perform(parts, command))
