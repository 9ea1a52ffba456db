"""`receiver reload`."""

from __future__ import annotations

import asyncio
from pathlib import Path

from receiver.cli.options import ConfigFile, load
from receiver.errors import Failed
from receiver.service import commands, control


def command(config: ConfigFile = None) -> None:
    """Makes the running service read its configuration, rules and plugins again.

    If there is a fault, prints every one and the service goes on as before.
    """
    settings = load(config)
    try:
        outcome = asyncio.run(control.ask(settings.store_path, commands.Reload()))
    except OSError:
        where = settings.store_address
        here = "" if isinstance(where, Path) else " of this machine"
        raise Failed(f"no service{here} runs on {where}; `receiver serve` starts one") from None
    if outcome.failures:
        raise Failed(*outcome.failures, "nothing was changed")
    print("reloaded")
