"""Passwords of tests are hashed quickly: how slowly the console does it, one test looks at."""

from __future__ import annotations

import argon2
import pytest

from receiver.console import accounts


@pytest.fixture(autouse=True)
def _quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashing costs microseconds."""
    quick = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(accounts, "_hasher", lambda: quick)
