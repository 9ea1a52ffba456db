"""`receiver providers new`."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import typer

from receiver.cli import output
from receiver.cli.exit_status import print_errors
from receiver.cli.options import known_providers, load_if_there
from receiver.config import Config, StoreAddress
from receiver.errors import ConfigError, Failed, InvalidInput
from receiver.providers import load_file
from receiver.providers.drafting import Capture, capture, draft, read_capture, skeleton
from receiver.store import open_reader

_NAME = re.compile("[a-z0-9][a-z0-9-]*")


def new(
    name: str,
    files: list[Path],
    ids: list[int],
    *,
    to: Path | None,
    config: Path | None,
    force: bool,
) -> None:
    """Writes a description, of captures if there are any, and says what to do next."""
    if not _NAME.fullmatch(name):
        raise typer.BadParameter(f"expected small letters, digits and -, got {name!r}")
    settings = load_if_there(config)
    captures = [*map(_from_file, files), *_from_quarantine(ids, settings)]
    file = to if to is not None else _folder(settings) / f"{name}.toml"
    if file.exists() and not force:
        raise Failed(f"{file}: exists already; --force overwrites it")
    if name in known_providers(config) and not force:
        expected = "expected a new name, for a file of this one would take its place"
        raise Failed(f"{name}: is a provider already; {expected}; --force writes it")
    text = draft(name, captures) if captures else skeleton(name)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    except OSError as error:
        raise Failed(f"{file}: {error.strerror}") from None
    output.line(f"Wrote {file}" + (f" of {len(captures)} captures." if captures else "."))
    if settings is None or file.parent.absolute() not in _folders(settings):
        output.line(f'Name its folder in the configuration: [providers] path = ["{file.parent}"]')
    output.line(f"Look it over, then: receiver providers test {file}")
    try:
        load_file(file)
    except ConfigError as error:
        print_errors(f"still to mend: {fault}" for fault in error.faults)


def _folders(settings: Config) -> list[Path]:
    return [folder.absolute() for folder in settings.providers.path]


def _folder(settings: Config | None) -> Path:
    """Returns the folder for a new description."""
    if settings is not None and settings.providers.path:
        return settings.providers.path[0]
    return Path("providers")


def _from_file(file: Path) -> Capture:
    try:
        return read_capture(file.read_bytes())
    except OSError as error:
        raise Failed(f"{file}: {error.strerror}") from None
    except InvalidInput as error:
        raise Failed(f"{file}: {error}") from None


def _from_quarantine(ids: list[int], settings: Config | None) -> list[Capture]:
    if not ids:
        return []
    if settings is None:
        raise typer.BadParameter("--quarantine needs the configuration of the service: --config")
    return asyncio.run(_quarantined(settings.store_address, ids))


async def _quarantined(store: StoreAddress, ids: list[int]) -> list[Capture]:
    """Returns requests of the quarantine. Raises `Failed` for an id that it does not have."""
    async with open_reader(store) as reader:
        entries = {each.id: each async for each in reader.every_quarantined()}
        found = []
        for id_ in ids:
            if id_ not in entries:
                raise Failed(f"{id_}: no such request in the quarantine")
            request = (await reader.quarantined(id_))[0].request
            headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in request.headers]
            body = request.body.decode("utf-8", "replace")
            found.append(capture(request.method, request.query.decode("latin-1"), headers, body))
        return found
