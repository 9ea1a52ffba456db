"""Tests of this folder need PostgreSQL's programs, and psycopg."""

from __future__ import annotations

import pytest

from tests.postgresql.servers import binaries


@pytest.fixture(scope="session", autouse=True)
def _postgresql() -> None:
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed: `apt-get install postgresql`")
