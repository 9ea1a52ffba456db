"""The log of the service, and its histograms."""

from __future__ import annotations

import sys


def _load_structlog() -> None:
    """Loads structlog without rich, a sixth of the time until the service listens.

    It would load that for tracebacks with the values of variables, which our log must not show.
    """
    if "rich" in sys.modules:
        return
    sys.modules["rich"] = None  # type: ignore[assignment] # it says: not installed
    try:
        import structlog  # noqa: F401, PLC0415 - for those that come after
    finally:
        del sys.modules["rich"]


_load_structlog()
