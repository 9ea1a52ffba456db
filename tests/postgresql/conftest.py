"""Tests of this folder need PostgreSQL's programs, and psycopg."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def _postgresql(postgresql: None) -> None:
    pass
