"""Fake providers: the APIs of the known providers on one port, as documented, to try sending with.

`running` serves them in this process, `receiver fake` in its own. They keep accepted messages, so
that these can be counted, and make faults at a chosen rate.
"""

from __future__ import annotations

from receiver.fake.book import Counts, Course, Message
from receiver.fake.options import Options
from receiver.fake.server import Fake, running

__all__ = ["Counts", "Course", "Fake", "Message", "Options", "running"]
