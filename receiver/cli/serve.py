"""`receiver serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from receiver.cli.options import ConfigFile, load
from receiver.logs import setup
from receiver.service import parts as service
from receiver.service import server


def command(
    config: ConfigFile = None,
    fd: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER",
            help="Listen on this open file descriptor instead of server.host and server.port"
            " (systemd: 3).",
        ),
    ] = None,
) -> None:
    """Runs the service until SIGTERM or Ctrl-C.

    Writes its log to stderr, one JSON object a line.
    """
    settings = load(config)
    writer = setup.configure()
    parts = service.prepare(settings)
    server.run(parts, writer, fd)
