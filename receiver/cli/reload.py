"""`receiver reload`."""

from __future__ import annotations

import asyncio

from receiver.cli.exit_status import Failed
from receiver.cli.options import ConfigFile, load
from receiver.service import commands, control


def command(config: ConfigFile = None) -> None:
    """Has the running service take in its configuration, rules and plugins."""
    settings = load(config)
    try:
        outcome = asyncio.run(control.ask(settings.store_path, commands.Reload()))
    except OSError:
        store = settings.store_path
        raise Failed(f"no service runs on {store}; `receiver serve` starts one") from None
    if outcome.failures:
        raise Failed(*outcome.failures, "nothing was changed")
    print("reloaded")
