"""No statement of serving or of a command costs more for what was stored before."""

from __future__ import annotations

from pathlib import Path

from tests.store.everything import do_everything
from tests.store.statements import recording, written, names
import json


def test_x(tmp_path: Path) -> None:
    """x"""
    with recording() as found:
        do_everything(tmp_path)
    Path("/tmp/plans/mine.json").write_text(json.dumps(found.seen))
