"""The file of the store, for the commands that copy it."""

from __future__ import annotations

from pathlib import Path

from receiver.config import Config
from receiver.errors import Failed
from receiver.store.engine.console_data import accounts_path
from receiver.store.engine.plugin_data import folder_of


def store_file(settings: Config, instead: str) -> Path:
    """Returns the file of the store. Raises `Failed` with what to do `instead` for PostgreSQL."""
    if isinstance(settings.store_address, Path):
        return settings.store_address
    raise Failed(
        f"the store is in PostgreSQL ({settings.store_address}): {instead}",
        f"the console's users ({accounts_path(settings.store_path)}) and the plugins' data"
        f" ({folder_of(settings.store_path)}) are files of this machine, of which it knows nothing;"
        " see docs/scale-out.md",
    )
