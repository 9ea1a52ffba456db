"""Compares two pushes with the same key: the same event, or another one.

Gateways restart and count from 1 again, or give every push the id 0. So the key of a push only
finds candidates in the store. A repeat has the same kind, the same person, the same content, and
the same time where the id is a placeholder.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec

from receiver.events import Data, DeliveryReport, Message

#: Ids that gateways write where they have none.
_PLACEHOLDERS = frozenset(("", "0", "null", "none", "n/a", "-", "undefined", "nil"))
_LONGEST = max(map(len, _PLACEHOLDERS))

#: The key of a push without an id and a time, such as a subscription, begins so: it names
#: something with a state, and the push is a repeat if that is the state already.
STATE = "state:"

_encode = msgspec.json.Encoder().encode


def is_placeholder(id_: str) -> bool:
    """True for an id, without white space around it, that stands for none."""
    return len(id_) <= _LONGEST and id_.casefold() in _PLACEHOLDERS


def has_id(data: Data) -> bool:
    """True if the provider's id tells the event from others."""
    if isinstance(data, Message):
        return not is_placeholder(data.external_id)
    return not (isinstance(data, DeliveryReport) and is_placeholder(data.message_id))


def digested(*parts: str) -> str:
    """Digests parts of a key: it outlives its event, and must not tell whose that was."""
    data = "\0".join(parts).encode("utf-8", "surrogatepass")
    return blake2b(data, digest_size=16).hexdigest()


def content(type_: str, data: Data) -> str:
    """Returns the kind of an event and the part of its content that a repeat has in common.

    Of a subscription the key says all of it.
    """
    said: tuple[str, ...] = ()
    if isinstance(data, Message):
        said = (data.text.strip(),)
    elif isinstance(data, DeliveryReport):
        said = (data.message_id, data.raw_code or (data.raw_status or "").casefold())
    return _encode((type_, *said)).decode()
