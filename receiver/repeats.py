"""What makes two pushes with the same key the same event.

Gateways restart and count from 1 again, or give every push the id 0. So the key of a push finds
what may have been stored before, and these say whether it was this: the kind, the person, what it
says, and the time where the id is none.
"""

from __future__ import annotations

import msgspec

from receiver.events import Data, DeliveryReport, Message

#: What gateways write where they have no id.
_PLACEHOLDERS = frozenset(("", "0", "null", "none", "n/a", "-", "undefined", "nil"))
_LONGEST = max(map(len, _PLACEHOLDERS))

#: How the key begins of what has neither an id nor a time, such as a subscription: the key names
#: what has a state, and the push is a repeat if that is the state already.
STATE = "state:"

_encode = msgspec.json.Encoder().encode


def is_placeholder(id_: str) -> bool:
    """Whether an id, without white space around it, stands for none."""
    return len(id_) <= _LONGEST and id_.casefold() in _PLACEHOLDERS


def has_id(data: Data) -> bool:
    """Whether the provider's id tells the event from others."""
    if isinstance(data, Message):
        return not is_placeholder(data.external_id)
    return not (isinstance(data, DeliveryReport) and is_placeholder(data.message_id))


def content(type_: str, data: Data) -> str:
    """The kind of an event and what it says, as far as a repeat has to say the same.

    Of a subscription the key says all of it.
    """
    said: tuple[str, ...] = ()
    if isinstance(data, Message):
        said = (data.text.strip(),)
    elif isinstance(data, DeliveryReport):
        said = (data.message_id, data.raw_code or (data.raw_status or "").casefold())
    return _encode((type_, *said)).decode()
