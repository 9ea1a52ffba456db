"""Events as other systems get them: CloudEvents in structured mode, over HTTP and NATS alike.

https://github.com/cloudevents/spec/tree/v1.0.2/cloudevents/bindings
"""

from __future__ import annotations

from receiver.events import Data, Event, encode_event


def structured(event: Event[Data]) -> tuple[dict[str, str], bytes]:
    """Returns the headers and the body of the message that tells of an event."""
    return {"content-type": "application/cloudevents+json"}, encode_event(event)
