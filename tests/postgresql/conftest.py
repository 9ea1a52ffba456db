"""Tests of this folder need PostgreSQL's programs, and psycopg."""

from __future__ import annotations

import pytest

from tests.postgresql.network import refusal
from tests.postgresql.servers import binaries


@pytest.fixture(scope="session", autouse=True)
def _postgresql() -> None:
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed: `apt-get install postgresql`")


@pytest.fixture(scope="session")
def _cables() -> None:
    """Tests need a network that can be cut."""
    why = refusal()
    if why is not None:
        pytest.skip(f"no network namespaces: {why}")
