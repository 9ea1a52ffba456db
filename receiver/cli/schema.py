"""`receiver schema`."""

from __future__ import annotations

import json

from receiver.cli.options import UnusedConfigFile
from receiver.events import event_schema


def command(config: UnusedConfigFile = None) -> None:
    """Prints the JSON Schema of the events."""
    print(json.dumps(event_schema(), indent=2))
