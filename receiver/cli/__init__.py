"""The program `receiver`: one module a command, imported only when that command runs.

`COMMANDS` is the registry. A module has the function `command`, or the Typer application `group`
for a command with subcommands, such as `opt-outs`.
"""

from __future__ import annotations

import gc
import os
import sys
from contextvars import copy_context
from importlib import import_module
from typing import Annotated

import typer
from typer.main import get_command

from receiver import __version__
from receiver.cli.exit_status import as_status

#: By name: the line about it in `receiver --help`.
COMMANDS = {
    "init": "Writes a commented receiver.toml with new random tokens.",
    "check": "Validates the configuration, plugins and rules, and prints warnings.",
    "doctor": "Checks the whole installation, and says what to do about each problem.",
    "serve": "Runs the service.",
    "reload": "Makes the running service read its configuration, rules and plugins again.",
    "demo": "Runs the service with sample traffic, in a temporary folder.",
    "events": "Lists stored events, the newest first, or shows new ones as they come.",
    "person": "Shows everything about a number in one timeline.",
    "subscribers": "Lists, counts and corrects the subscription book.",
    "opt-outs": "Lists and changes who must not be messaged.",
    "report": "Counts messages in and out by day, keyword, network, source, service and status.",
    "quarantine": "Lists requests that could not become events, and tries them again.",
    "jobs": "Lists background work and dead letters, and tries them again.",
    "send": "Sends a message through a source's API, to one person or to many.",
    "campaigns": "Lists messages to many; pauses, resumes and cancels them.",
    "messages": "Lists the messages that we sent or will send, with their delivery status.",
    "balance": "Shows the credit that is left at each provider.",
    "call": "Calls a provider's API directly.",
    "providers": "Lists the gateways that can be used; shows, describes and tests one.",
    "simulate": "Sends a realistic push to a running service.",
    "explain": "Shows which rule answers a message, and why the others do not.",
    "backup": "Copies the store to a new file and verifies the copy.",
    "restore": "Replaces the store with a backup.",
    "migrate-store": "Copies the store from SQLite to PostgreSQL, or back, and verifies the copy.",
    "purge": "Deletes data by its age, in small steps.",
    "forget": "Deletes all data about a person.",
    "console": "Runs the web console and HTTP API; manages its users.",
    "audit": "Lists who changed data with a command, and what retention deleted.",
    "replay": "Runs stored events through today's rules, and shows what would differ.",
    "fake": "Runs fake providers on one port, to try sending without a provider.",
    "schema": "Prints the JSON Schema of the events.",
    "completion": "Prints the script that completes commands and options in a shell.",
}


def main() -> None:
    """Runs the program and ends the process."""
    # Loading makes many objects and no garbage, and the end of the process frees them all: looking
    # through them takes a fifth of the time of a short command.
    gc.set_threshold(100_000, 20, 20)
    for stream in (sys.stdout, sys.stderr):
        # A terminal without a character shows its number.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # always a file
    status = run(sys.argv[1:])
    gc.freeze()
    sys.exit(status)


def run(arguments: list[str]) -> int:
    """Runs the program and returns its exit status."""
    # What a command sets for itself, such as the zone of times, ends with it.
    return as_status(lambda: copy_context().run(_run, arguments))


def _run(arguments: list[str]) -> int | None:
    command = get_command(application(arguments or _words_to_complete()))
    result = command.main(arguments, prog_name="receiver", standalone_mode=False)
    return result if isinstance(result, int) else None


def _words_to_complete() -> list[str]:
    """Returns the words after `receiver` on the line that a shell completes."""
    if "_RECEIVER_COMPLETE" not in os.environ:
        return []
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")
    return line.split()[1:]


def application(arguments: list[str]) -> typer.Typer:
    """Returns the program, with only the command loaded that `arguments` name."""
    wanted = next(iter(arguments), "")
    app = typer.Typer(
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    app.callback()(_program)
    for name, summary in COMMANDS.items():
        if name != wanted:
            app.command(name, help=summary)(_not_loaded)
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
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Receives the pushes of SMS gateways, stores them as events, and answers them."""


def _not_loaded() -> None:
    raise NotImplementedError
