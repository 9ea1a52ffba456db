"""Words for the status of a message: one table for all providers.

Gateways use the words of SMPP receipts (DELIVRD), those of Parlay X (DeliveredToTerminal) and
English ones, in British and American spelling, with any case and separators. A provider has a
table of its own only for what means something else there.
"""

from __future__ import annotations

import re

from receiver.events import Status

#: The meaning of each word: its letters, in lower case.
_STATUSES = {
    Status.QUEUED: (
        *("queued", "pending", "scheduled", "waiting", "processing", "sending"),
        *("messagewaiting", "enqueued", "created"),
    ),
    Status.SENT: (
        *("sent", "submitted", "enroute", "acceptd", "accepted", "buffered", "acknowledged"),
        *("dispatched", "deliveredtonetwork", "deliveryuncertain"),
    ),
    Status.DELIVERED: ("delivered", "delivrd", "deliverd", "deliveredtoterminal"),
    Status.UNDELIVERED: (
        *("undelivered", "undeliv", "undelivrd", "undeliverd", "undeliverable"),
        *("notdelivered", "nondelivered"),
    ),
    Status.FAILED: ("failed", "failure", "deliveryimpossible"),
    Status.REJECTED: ("rejected", "rejectd"),
    Status.EXPIRED: ("expired", "expird"),
    Status.CANCELLED: ("cancelled", "canceled", "deleted"),
    Status.UNKNOWN: ("unknown",),
}
_BY_WORD = {word: status for status, words in _STATUSES.items() for word in words}

#: Words beside that of the status, as in `sms.delivery.failed`. With any other word beside it, as
#: in `delivered_to_gateway`, the meaning is not known.
_NEUTRAL = frozenset(
    {
        *("sms", "mms", "message", "messages", "msg", "text", "mt", "outbound", "outgoing"),
        *("delivery", "report", "receipt", "dlr", "dr", "status", "stat", "state", "event"),
        *("update", "updated", "notification", "callback", "webhook", "v"),
    }
)
_LETTERS = re.compile("[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_MOST = 64
"""Characters of the longest name that is read."""


def status_of(*names: str | None) -> tuple[str | None, Status]:
    """Returns the first name that tells a status (`DELIVRD`, `sms.failed`), and the status.

    Without one it returns the first name at all, and UNKNOWN.
    """
    for name in names:
        if name is not None and (status := _read(name)) is not None:
            return name, status
    return next(filter(None, names), None), Status.UNKNOWN


def is_known(name: str) -> bool:
    """True if a name tells a status, which may be that the gateway itself does not know."""
    return _read(name) is not None


def _read(name: str) -> Status | None:
    known = _BY_WORD.get(name) or _BY_WORD.get(name.lower())
    if known is not None or len(name) > _MOST:
        return known
    words = [word.lower() for word in _LETTERS.findall(name)]
    telling = "".join(word for word in words if word not in _NEUTRAL)
    return _BY_WORD.get("".join(words)) or _BY_WORD.get(telling)


def without_zeros(code: str | None) -> str | None:
    """Returns a numeric code without leading zeros: `25` of `0025`; others as they are."""
    if code is not None and code[:1] == "0" and code.isdecimal():
        return code.lstrip("0") or "0"
    return code
