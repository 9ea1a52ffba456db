"""For tests of plugins: asks a plugin about an event, without a server, a store or a gateway.

    from receiver.testing import ask, message

    def test_hours() -> None:
        assert ask("plugins/hours.py", message("hours?")).reply == "Open Monday to Saturday."

`message`, `report`, `activation` and `deactivation` make events, `people` what the store would
know, `load` a plugin with settings, `faults` what is wrong with settings; `running` keeps a plugin
started for several events. Plain functions: they work with pytest and with everything else.

A plugin is a path of a file, the name of one that is installed or comes with the program, or a
module that the test has imported. Handlers are asked as the service asks them: only those that want
the event, inline ones first, `async def` ones on an event loop, between `start` and `stop`. What
they raise comes out of `ask`. Their actions are returned, and not carried out.
"""

from __future__ import annotations

from receiver.testing.events import MOMENT, PERSON, activation, deactivation, message, report
from receiver.testing.people import FakePeople, people, subscription
from receiver.testing.plugins import Asked, Running, ask, faults, load, running

__all__ = [
    "MOMENT",
    "PERSON",
    "Asked",
    "FakePeople",
    "Running",
    "activation",
    "ask",
    "deactivation",
    "faults",
    "load",
    "message",
    "people",
    "report",
    "running",
    "subscription",
]
