"""A thousand connections that bring nothing whole: the others do not notice, and all are ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.battery.load import run
from tests.battery.slow import CLIENTS, GONE, PROMPT, Siege, enough_files
from tests.harness import serve, settings

MEBIBYTE = 1024 * 1024


@pytest.mark.slow
def test_a_thousand_slow_connections_hold_up_nobody(tmp_path: Path) -> None:
    """Whole requests are answered as promptly as ever, none with 503; the slow are all ended."""
    if not enough_files():
        pytest.skip("this process may not have so many open files")
    with serve(tmp_path, settings()) as service:
        before = service.resident()
        siege = Siege(service.port)
        run(siege.run())
        assert siege.statuses == {200}
        assert max(siege.took) <= PROMPT
        assert len(siege.lasted) == CLIENTS
        assert max(siege.lasted) <= GONE
        assert service.resident() - before < 64 * MEBIBYTE
        assert len(siege.took) > 20, "too few: the case proves nothing"
