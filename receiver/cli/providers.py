"""`receiver providers`: list, show, test and new."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from receiver import config as configuration
from receiver.cli import output
from receiver.cli.command_group import ListByDefault
from receiver.cli.exit_status import print_errors
from receiver.cli.options import ConfigFile, Json, load_leniently
from receiver.errors import ConfigError, Failed
from receiver.providers import Kind, Origin, Registry, is_file, known, load_file
from receiver.views.providers import (
    Known,
    load,
    look_up,
    provider_details,
    provider_json,
    provider_row,
)

group = typer.Typer(
    cls=ListByDefault, help="Lists the gateways that can be used; shows, describes and tests one."
)

NameOrFile = Annotated[
    str, typer.Argument(metavar="NAME_OR_FILE", help="The name of a provider, or its file.")
]


@group.command("list")
def list_(*, json: Json = False, config: ConfigFile = None) -> None:
    """Lists the providers. `receiver providers` alone does the same.

    Those of the configuration, if there is one, and those that are installed.
    """
    providers = _providers(config)
    found = [look_up(providers, name) for name in providers]
    if json:
        output.json_lines(map(provider_json, found))
        return
    rows = [provider_row(each) for each in found]
    output.table(("NAME", "TITLE", "FROM", "CAN"), rows, if_empty="no providers")


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
            metavar="NAME_OR_FILE",
            help="The name of a provider, or its file.",
            show_default=False,
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
        providers = _providers(config)
        found = [look_up(providers, name) for name in providers]
    faulty = [each.name for each in found if not _passes(each, json=json)]
    if faulty:
        raise Failed(f"{', '.join(faulty)}: not as expected")


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
    providers = _providers(config)
    if name_or_file not in providers:
        raise typer.BadParameter(providers.unknown(name_or_file))
    return look_up(providers, name_or_file)


def _providers(config: Path | None) -> Registry:
    """Returns the providers of the configuration; without one, those that are installed."""
    try:
        configuration.find(config)
    except ConfigError:
        if config is not None:
            raise
        return known()
    return known(load_leniently(config))
