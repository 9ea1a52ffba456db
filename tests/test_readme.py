"""README.md shows what the program does."""

from __future__ import annotations

import socket
from pathlib import Path

from tests import readme


def test_first_session_is_true(tmp_path: Path) -> None:
    """Each command of the first session works, and shows what README.md says it shows."""
    with socket.socket() as one, socket.socket() as other:
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
        port, admin = one.getsockname()[1], other.getsockname()[1]
    session = readme.run(tmp_path, port, admin)
    assert readme.masked(session) == readme.masked(readme.written())


def test_it_is_said_in_five_lines() -> None:
    """What it is and for whom stands at the top, in few lines."""
    title, _, *rest = readme.README.read_text("utf-8").splitlines()
    assert title == "# sms-receiver"
    assert rest.index("") <= 5
