"""Makes a first description of a gateway from pushes that it sent, for a person to finish."""

from __future__ import annotations

from receiver.providers.drafting.captures import Capture, capture, read_capture
from receiver.providers.drafting.draft import draft, skeleton

__all__ = ["Capture", "capture", "draft", "read_capture", "skeleton"]
