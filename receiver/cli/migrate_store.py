"""`receiver migrate-store`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from receiver.cli import output
from receiver.cli.options import ConfigFile, load
from receiver.config import Postgresql, StoreAddress
from receiver.config.convert import Secret
from receiver.config.store import fault_of
from receiver.store.engine import engine_of
from receiver.store.engine.console_data import accounts_path
from receiver.store.engine.plugin_data import folder_of
from receiver.store.moving import move

_URL = "sqlite:FILE or postgresql://USER@HOST/DATABASE; default: store.url of the configuration."


def command(
    *,
    source: Annotated[
        str | None, typer.Option("--from", metavar="URL", help=f"The store to copy: {_URL}")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--to", metavar="URL", help=f"Where it is copied to: {_URL}")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Copies the store from SQLite to PostgreSQL, or back, and verifies the copy.

    No service may run on either. The store that is copied stays as it is. A copy that was
    interrupted goes on where it was when the same command is run again.

    The password of a URL that is not in the configuration is taken from the URL, from PGPASSWORD
    or from ~/.pgpass.
    """
    if source is None and target is None:
        raise typer.BadParameter("expected --from or --to, or both")
    here, there = _address(source, "--from", config), _address(target, "--to", config)
    if isinstance(here, Path) == isinstance(there, Path):
        raise typer.BadParameter(
            f"expected one store in SQLite and one in PostgreSQL, got {here} and {there};"
            " `receiver backup` copies a file, and pg_dump a database"
        )
    rows = move(engine_of(here), engine_of(there), output.progress)
    output.line(f"{there}: {rows:,} rows, verified")
    output.line("It becomes the store when store.url names it and the service is started.")
    if isinstance(here, Path):
        beside = [place for place in (accounts_path(here), folder_of(here)) if place.exists()]
        for place in beside:
            output.line(f"{place} stays beside it: set store.files to {here.name!r}")


def _address(url: str | None, option: str, config: Path | None) -> StoreAddress:
    """Returns the address that an option names; by default, that of the configuration."""
    if url is None:
        return load(config).store_address
    if why := fault_of(url):
        raise typer.BadParameter(f"{option}: {why}")
    if url.startswith("sqlite:"):
        return (Path.cwd() / url.removeprefix("sqlite:")).resolve()
    return Postgresql(Secret(url))
