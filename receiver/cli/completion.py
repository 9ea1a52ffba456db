"""`receiver completion`."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Annotated, Literal

import typer
from typer.main import get_command

from receiver.cli.options import UnusedConfigFile


def command(
    shell: Annotated[
        Literal["bash", "zsh", "fish"], typer.Argument(help="The shell.", show_default=False)
    ],
    *,
    config: UnusedConfigFile = None,
) -> None:
    """Prints the script that completes commands and options in a shell.

    For this session: `source <(receiver completion bash)`. For all of a user's:
    `receiver --install-completion`.
    """
    from receiver.cli import application

    os.environ["_RECEIVER_COMPLETE"] = f"source_{shell}"
    try:
        with suppress(SystemExit):
            get_command(application([])).main([], prog_name="receiver")
    finally:
        del os.environ["_RECEIVER_COMPLETE"]
