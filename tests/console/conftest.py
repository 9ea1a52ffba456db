"""What the tests of the console share: quick passwords, and a live tail that ends at once."""

from __future__ import annotations

import argon2
import pytest

from receiver.console import accounts, traffic


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashing costs microseconds; one test looks at how slow it is. A stream looks once."""
    quick = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(accounts, "_hasher", lambda: quick)
    monkeypatch.setattr(traffic, "_LOOKS", 1)
    monkeypatch.setattr(traffic, "_POLL", 0)
