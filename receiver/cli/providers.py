"""`receiver providers`: list, show, test and new."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from receiver.cli import listing, output
from receiver.cli.command_group import ListByDefault
from receiver.cli.exit_status import print_errors
from receiver.cli.options import ConfigFile, Csv, Json, known_providers
from receiver.errors import Failed
from receiver.providers import Kind, Origin, is_file, load_file
from receiver.views.providers import (
    Known,
    load,
    look_up,
    provider_details,
    provider_json,
    provider_listing,
)

group = typer.Typer(
    cls=ListByDefault, help="Lists the gateways that can be used; shows, describes and tests one."
)

NameOrFile = Annotated[
    str, typer.Argument(metavar="NAME_OR_FILE", help="The name of a provider, or its file.")
]


@group.command("list")
def list_(*, json: Json = False, as_csv: Csv = False, config: ConfigFile = None) -> None:
    """Lists the providers. `receiver providers` alone does the same.

    Those of the configuration, if there is one, and those that are installed.
    """
    form = listing.form_of(json=json, as_csv=as_csv)
    providers = known_providers(config)
    found = [look_up(providers, name) for name in providers]
    shown = listing.show(provider_listing(), listing.each(found), form, None)
    asyncio.run(shown)


@group.command()
def show(name_or_file: NameOrFile, *, json: Json = False, config: ConfigFile = None) -> None:
    """Shows a provider; of a description the whole file, to begin another one with."""
    found = _find(name_or_file, config)
    if found.provider is None:
        raise Failed(*found.faults)
    if json:
        output.json_lines([provider_json(found)])
        return
    file = Path(found.origin.place)
    if file.suffix == ".toml" and file.is_file():
        for name, value in provider_details(found, found.provider):
            if value is not None:
                output.line(f"# {name}: {value}")
        print()
        output.as_it_came(file.read_bytes(), ())
    else:
        output.details(provider_details(found, found.provider))


@group.command("test")
def play(
    name_or_file: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME_OR_FILE", help="The name of a provider, or its file.", show_default=False
        ),
    ] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Every provider that is known.")] = False,
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Plays the examples of a description, and checks what every provider promises.

    A Python file is checked by its own samples. Nothing is sent. The exit status is 1 if a promise
    is broken.
    """
    if (name_or_file is None) != every:
        raise typer.BadParameter("expected NAME_OR_FILE or --all")
    if name_or_file is not None:
        found = [_find(name_or_file, config)]
    else:
        providers = known_providers(config)
        found = [look_up(providers, name) for name in providers]
    faulty = [each.name for each in found if not _passes(each, json=json)]
    if faulty:
        raise Failed(f"{', '.join(faulty)}: not as expected")


@group.command()
def new(
    name: Annotated[str, typer.Argument(help="The name of the new provider.")],
    *,
    captures: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="A captured push, as a whole HTTP request or its body alone; may be given"
            " several times: one of each kind at least.",
        ),
    ] = None,
    quarantine: Annotated[
        list[int] | None,
        typer.Option(metavar="ID", help="A request in the quarantine; may be given several times."),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The file to write. Default: NAME.toml in the first folder of providers.path, or"
            " in ./providers.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    config: ConfigFile = None,
) -> None:
    """Writes a first description of a gateway: of pushes that it sent, or one to fill in.

    What the fields of captured pushes mean is guessed by their names: look every line over.
    """
    from receiver.cli import new_provider

    new_provider.new(name, captures or [], quarantine or [], to=to, config=config, force=force)


def _passes(tested: Known, *, json: bool) -> bool:
    """Checks a provider and prints what came of it."""
    from receiver.testing.providers import PROMISES, check

    faults = list(tested.faults) if tested.provider is None else check(tested.provider)
    if json:
        output.json_lines([{"name": tested.name, "place": tested.origin.place, "faults": faults}])
        return not faults
    kinds = len(tested.provider.sample_kinds) if tested.provider is not None else 0
    if not faults:
        output.line(f"{tested.name}: {kinds} kinds of push, {len(PROMISES)} promises kept")
    print_errors(f"{tested.name}: {fault}" for fault in faults)
    return not faults


def _find(name_or_file: str, config: Path | None) -> Known:
    """Returns a provider by its name or file."""
    if is_file(name_or_file):
        path = Path(name_or_file)
        name = path.parent.name if path.name == "__init__.py" else path.stem
        if path.suffix == ".py":
            name = name.replace("_", "-")
        origin = Origin(kind=Kind.FILE, place=str(path), load=lambda: load_file(path))
        return load(name, origin)
    providers = known_providers(config)
    if name_or_file not in providers:
        raise typer.BadParameter(providers.unknown(name_or_file))
    return look_up(providers, name_or_file)
