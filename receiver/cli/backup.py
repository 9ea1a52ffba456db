"""`receiver backup`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from receiver.cli.options import ConfigFile, load
from receiver.store.backup import back_up


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The new file to write.")],
    config: ConfigFile = None,
) -> None:
    """Copies the store to a new file and verifies the copy; the service may run."""
    copy = back_up(load(config).store_path, file.absolute())
    print(f"{copy.file}: {copy.events:,} events, {copy.bytes:,} bytes, verified")
