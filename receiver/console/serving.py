"""Runs the console: one process, one address, beside the service."""

from __future__ import annotations

import signal

import uvicorn

from receiver.config import Config
from receiver.console.accounts import open_accounts
from receiver.console.app import create_app
from receiver.console.desk import Desk
from receiver.console.web import Console


def serve(settings: Config) -> None:
    """Runs the console until SIGTERM or Ctrl-C. Raises `ReceiverError`."""
    accounts = open_accounts(settings)
    console = Console(desk=Desk(settings), accounts=accounts, zone=settings.console.timezone)
    host, port = settings.console.address
    # uvicorn ends by itself at the signal, and raises it once more.
    signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        uvicorn.run(
            create_app(console),
            host=host,
            port=port,
            access_log=False,  # addresses hold numbers
            server_header=False,
            proxy_headers=False,
            log_level="warning",
            timeout_graceful_shutdown=3,  # live tails do not end by themselves
        )
    finally:
        accounts.close()
