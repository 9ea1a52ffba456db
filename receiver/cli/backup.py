"""`receiver backup`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from receiver.cli.exit_status import print_errors
from receiver.cli.options import ConfigFile, load
from receiver.cli.restore import store_file
from receiver.errors import ReceiverError
from receiver.events import utc_now
from receiver.service.users import caller
from receiver.store.engine.sqlite.backup import Copy, back_up, note_backup

_INSTEAD = (
    "its own programs copy it while receivers run: pg_dump for one file, pg_basebackup and an"
    " archive of the log for a copy of every moment (PITR)"
)


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The new file to write.")],
    config: ConfigFile = None,
) -> None:
    """Copies the store to a new file and verifies the copy; the service may run.

    The files in the plugins' data folders are copied to the folder FILE.plugins, the console's
    users and tokens to FILE.console.
    """
    store = store_file(load(config), _INSTEAD)
    copy = back_up(store, file.absolute())
    print(f"{copy.file}: {copy.events:,} events, {copy.bytes:,} bytes, verified")
    if copy.plugin_files:
        print(f"{copy.file}.plugins: {copy.plugin_files:,} files of plugins")
    if copy.accounts:
        print(f"{copy.file}.console: users and tokens of the console")
    if trouble := _note(copy, store):
        print_errors([f"the copy is good, but the audit has no line of it: {trouble}"])


def _note(copy: Copy, store: Path) -> str | None:
    """Has the audit say who made the copy; returns why it does not, or None."""
    # Only now: these import the whole service, and a copy is made without it.
    from receiver.service.commands import NoteBackup
    from receiver.service.control import ask

    note = NoteBackup(file=str(copy.file), events=copy.events, bytes=copy.bytes)
    try:
        return "; ".join(asyncio.run(ask(store, note)).failures) or None
    except OSError:
        pass  # no service runs
    except ReceiverError as error:
        return str(error)
    try:
        noted = note_backup(copy, store, caller(), utc_now())
    except (ReceiverError, OSError) as error:
        return str(error)
    return None if noted else "the store is of an earlier program; the service upgrades it"
