"""README.md shows what the program does."""

from __future__ import annotations

from pathlib import Path

from tests import readme
from tests.ports import free_port


def test_first_session_is_true(tmp_path: Path) -> None:
    """Each command of the first session works, and shows what README.md says it shows."""
    session = readme.run(tmp_path, free_port(), free_port())
    assert readme.masked(session) == readme.masked(readme.written())


def test_it_is_said_in_five_lines() -> None:
    """What it is and for whom stands at the top, in few lines."""
    title, _, *rest = readme.README.read_text("utf-8").splitlines()
    assert title == "# sms-receiver"
    assert rest.index("") <= 5
