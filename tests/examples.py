"""How many examples Hypothesis tries: each test says it for a full run, the profile scales it."""

from __future__ import annotations

from typing import Any

import hypothesis

# A machine with much to do is no fault of what is tested.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")
# `make test-fast`, `make test-lowest` and `make test-on` have this one.
hypothesis.settings.register_profile("fast", deadline=None, max_examples=10)


def examples(number: int, **others: Any) -> hypothesis.settings:
    """Settings of a test with this number of examples; the profile `fast` has a tenth of them."""
    profile = hypothesis.settings().max_examples
    return hypothesis.settings(max_examples=max(1, number * profile // 100), **others)
