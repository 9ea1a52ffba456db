"""What all tests share; helpers to call are in `tests.harness`."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Tests marked `anyio` run on the loop that the service runs on."""
    return "asyncio", {"use_uvloop": True}
