"""How many examples Hypothesis tries: each test says it for a full run, the profile scales it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import hypothesis
import pytest

# A machine with much to do is no fault of what is tested.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")
# `make test-fast`, `make test-lowest` and `make test-on` have this one.
hypothesis.settings.register_profile("fast", deadline=None, max_examples=10)


def examples(number: int, **others: Any) -> hypothesis.settings:
    """Settings of a test with this number of examples; the profile `fast` has a tenth of them."""
    profile = hypothesis.settings().max_examples
    return hypothesis.settings(max_examples=max(1, number * profile // 100), **others)


@contextmanager
def share_of(test: Any, part: int) -> Iterator[None]:
    """While the block runs, a test that is a property tries one of `part` examples."""
    if not hypothesis.is_hypothesis_test(test):
        yield
        return
    given = test._hypothesis_internal_use_settings
    fewer = hypothesis.settings(given, max_examples=max(1, given.max_examples // part))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(test, "_hypothesis_internal_use_settings", fewer)
        yield
