"""Tests of this folder need PostgreSQL's programs, and psycopg."""

from __future__ import annotations

import pytest

from tests.postgresql.network import refusal


@pytest.fixture(scope="session", autouse=True)
def _postgresql(postgresql: None) -> None:
    pass


@pytest.fixture(scope="session")
def _cables() -> None:
    """Tests need a network that can be cut."""
    why = refusal()
    if why is not None:
        pytest.skip(f"no network namespaces: {why}")
