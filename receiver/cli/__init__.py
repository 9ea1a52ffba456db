"""The program `receiver`: one module a command, imported only when that command runs.

`COMMANDS` is the registry. A module has the function `command`, or, for a group such as
`opt-outs`, the Typer application `group`.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Annotated

import typer
from typer.main import get_command

from receiver import __version__
from receiver.cli.exit_status import as_status

#: Name: what `receiver --help` says about it.
COMMANDS = {
    "init": "Writes a commented receiver.toml with fresh tokens.",
    "check": "Validates the configuration, plugins and rules; opens nothing.",
    "doctor": "Looks at the whole installation: what is well, and what to do.",
    "serve": "Runs the service.",
    "reload": "Has the running service take in its configuration, rules and plugins.",
    "demo": "Runs the whole service with sample traffic, in a folder that is thrown away.",
    "events": "Stored events, newest first, or as they come.",
    "subscribers": "The subscription book.",
    "opt-outs": "Who must not be messaged.",
    "quarantine": "Requests that could not become events.",
    "jobs": "Background work and dead letters.",
    "send": "Sends a message through a source's API.",
    "messages": "What we sent, with its delivery status.",
    "balance": "Credit at each provider.",
    "call": "Calls a provider's API directly.",
    "simulate": "Sends a realistic push to a running service.",
    "explain": "Which rule answers a message, and why the others do not.",
    "backup": "Copies the store to a new file, also while the service runs.",
    "restore": "Puts a backup in the place of the store.",
    "purge": "Lets go of data by its age.",
    "forget": "Lets go of all that is about a person.",
    "audit": "Who did what to the data by hand.",
    "replay": "Runs stored events through today's rules, and shows what would differ.",
    "fake": "Runs fake providers on one port, to try sending with.",
    "schema": "JSON Schema of the events.",
}


def main() -> None:
    """Runs the program and ends the process."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a character shows its number.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # always a file
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs the program; its exit status."""
    return as_status(lambda: _run(arguments))


def _run(arguments: list[str]) -> int | None:
    command = get_command(application(arguments or _being_typed()))
    result = command.main(arguments, prog_name="receiver", standalone_mode=False)
    return result if isinstance(result, int) else None


def _being_typed() -> list[str]:
    """The words after `receiver` on the line for which a shell asks what may follow."""
    if "_RECEIVER_COMPLETE" not in os.environ:
        return []
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")
    return line.split()[1:]


def application(arguments: list[str]) -> typer.Typer:
    """The program, with the one command whole that `arguments` ask for."""
    wanted = next(iter(arguments), "")
    app = typer.Typer(
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    app.callback()(_program)
    for name, summary in COMMANDS.items():
        if name != wanted:
            app.command(name, help=summary)(_elsewhere)
            continue
        module = import_module(f"receiver.cli.{name.replace('-', '_')}")
        if hasattr(module, "group"):
            app.add_typer(module.group, name=name)
        else:
            app.command(name)(module.command)
    return app


def _show_version(value: bool) -> None:  # noqa: FBT001 - as typer calls it
    if value:
        from receiver.cli.version import with_commit

        print(f"receiver {with_commit(__version__)}")
        raise typer.Exit


def _program(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Shows the version."),
    ] = False,
) -> None:
    """Takes the pushes of SMS gateways, keeps them, and answers."""


def _elsewhere() -> None:
    raise NotImplementedError
