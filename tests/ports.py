"""Ports for what has to know its own before it listens, with other tests beside it."""

from __future__ import annotations

import os
import socket
from itertools import count

#: Below those that the kernel gives to whoever asks for any, and to every client.
_FIRST, _MANY = 20_000, 12_000
#: Far from where another process begins.
_numbers = count(os.getpid() * 101)


def free_port() -> int:
    """A port that nobody has, and that nobody else is given, here or in another process."""
    while True:
        port = _FIRST + next(_numbers) % _MANY
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:  # taken
            continue
