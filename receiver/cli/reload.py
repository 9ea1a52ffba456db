"""`receiver reload`."""

from __future__ import annotations

import asyncio

from receiver.cli.options import ConfigFile, load
from receiver.errors import Failed
from receiver.service import commands, control


def command(config: ConfigFile = None) -> None:
    """Makes the running service read its configuration, rules and plugins again.

    If there is a fault, prints every one and the service goes on as before.
    """
    store = load(config).store_path
    try:
        outcome = asyncio.run(control.ask(store, commands.Reload()))
    except OSError:
        raise Failed(f"no service runs on {store}; `receiver serve` starts one") from None
    if outcome.failures:
        raise Failed(*outcome.failures, "nothing was changed")
    print("reloaded")
