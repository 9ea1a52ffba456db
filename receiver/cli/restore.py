"""`receiver restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from receiver.cli.options import ConfigFile, load
from receiver.config import Config
from receiver.errors import Failed
from receiver.events import utc_now
from receiver.service.users import caller
from receiver.store.engine.console_data import accounts_path
from receiver.store.engine.plugin_data import folder_of
from receiver.store.engine.sqlite.backup import restore

_INSTEAD = (
    "stop every receiver, then put back what pg_dump (with pg_restore) or pg_basebackup made; a"
    " backup of a store in SQLite is brought there by `receiver migrate-store --from sqlite:FILE`"
)


def command(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A backup that `receiver backup` made.")
    ],
    config: ConfigFile = None,
) -> None:
    """Replaces the store with a backup, and keeps the old store beside it.

    The plugins' files in the folder FILE.plugins, if there is one, replace theirs, and the users
    and tokens in FILE.console those of the console. Refused while a service runs.
    """
    store = store_file(load(config), _INSTEAD)
    copy, kept = restore(file.absolute(), store, utc_now(), caller())
    print(f"{copy.file}: {copy.events:,} events, verified")
    if copy.plugin_files:
        print(f"{copy.file}.plugins: {copy.plugin_files:,} files of plugins")
    if copy.accounts:
        print(f"{copy.file}.console: users and tokens of the console")
    if kept is not None:
        print(f"the old store: {kept}")


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
