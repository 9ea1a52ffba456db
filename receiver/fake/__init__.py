"""Fake providers: the APIs of all five on one port, as documented, to try sending with.

`running` serves them in this process, `receiver fake` in its own. They keep accepted messages, so
that these can be counted, and make faults at a chosen rate.
"""

from __future__ import annotations

from receiver.fake.book import Counts, Fate, Message
from receiver.fake.options import NAMES, Options
from receiver.fake.server import Fake, running

__all__ = ["NAMES", "Counts", "Fake", "Fate", "Message", "Options", "running"]
