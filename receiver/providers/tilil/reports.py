"""Delivery reports of Tilil, whether they are pushed or asked for."""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import Any

import msgspec

from receiver.events import DeliveryReport, EventType, Status
from receiver.providers.contract import Parsed
from receiver.providers.payloads import as_network, as_word
from receiver.providers.statuses import status_of, without_zeros
from receiver.text.times import instant

#: The name and the meaning of each dlrStatus. SENT if the network will not tell more.
STATUSES = {
    "1": ("DeliveredToTerminal", Status.DELIVERED),
    "2": ("MessageWaiting", Status.QUEUED),
    "3": ("DeliveryImpossible", Status.FAILED),
    "4": ("DeliveryNotificationNotSupported", Status.DELIVERED),  # test bed
    "5": ("DeliveredToNetwork", Status.SENT),
    "6": ("DeliveryUncertain", Status.SENT),  # after 24 h
    "7": ("Insufficient_Balance", Status.FAILED),
    "8": ("Invalid_Linkid", Status.FAILED),
    "9": ("TeleserviceNotProvisioned", Status.FAILED),
    "10": ("UserInBlacklist", Status.REJECTED),
    "11": ("UserAbnormalState", Status.FAILED),
    "12": ("UserIsSuspended", Status.FAILED),
    "13": ("NotSFCUser", Status.FAILED),
    "14": ("UserNotSubscribed", Status.FAILED),
    "15": ("UserNotExist", Status.FAILED),
    "16": ("AbsentSubscriber", Status.FAILED),  # after 24 h
    "17": ("NOT_DELIVERED", Status.FAILED),
    "18": ("DELIVERED", Status.DELIVERED),
    "19": ("ForwardedToNetwork", Status.SENT),
    "20": ("MessagePaused", Status.QUEUED),
    "21": ("MessageRejected", Status.REJECTED),
    "22": ("Queued", Status.QUEUED),
    "23": ("InvalidMobile", Status.FAILED),
    "24": ("ReportNotHandled", Status.FAILED),
    "25": ("SenderName Blacklisted", Status.REJECTED),
    "26": ("MessagePurged", Status.CANCELLED),
}
#: Codes that say that the person asked the network to stop this sender.
OPTED_OUT = frozenset({"10", "21", "25"})
#: The code of a link_id that was used up or too old.
LINK_INVALID = "8"


class Payload(msgspec.Struct):
    """The fields of all three pushes; the kind of a push is told by which of them are there."""

    api_token: Any = None
    timestamp: Any = None
    mobile: Any = None
    message: Any = None
    shortcode: Any = None
    inbox_id: Any = None
    service_id: Any = None
    network_name: Any = None
    link_id: Any = None
    update_type: Any = None
    keyword: Any = None
    subscriber_ref: Any = None
    messageId: Any = None
    dlrTime: Any = None
    dlrStatus: Any = None
    dlrDesc: Any = None
    network: Any = None


def delivery(
    payload: Payload, message_id: str, to: str | None, zone: tzinfo, received_at: datetime
) -> Parsed:
    """Makes a delivery report, pushed or asked for."""
    name, said = as_word(payload.dlrDesc), without_zeros(as_word(payload.dlrStatus))
    known = next(filter(None, map(_known_code, (said, name))), None)
    code = said or known
    known_name, status = STATUSES[known] if known else (None, status_of(said, name)[1])
    data = DeliveryReport(
        message_id=message_id,
        to=to,
        status=status,
        raw_status=name or known_name,
        raw_code=code,
        network=as_network(payload.network),
        final=status.final,
        opted_out=known in OPTED_OUT,
    )
    return Parsed(
        type=EventType.DELIVERY_UPDATED,
        data=data,
        key=f"delivery:{message_id}:{code or (name or '').casefold()}",
        time=instant(as_word(payload.dlrTime), zone, received_at) or received_at,
        link_invalid=known == LINK_INVALID,
    )


def _known_code(word: str | None) -> str | None:
    """Returns the code that a code or name of the documentation means."""
    return word if word in STATUSES else _CODES.get(_letters(word or ""))


def _letters(name: str) -> str:
    """Returns the letters of a name: `UserInBlacklist` is written with spaces and `_`, too."""
    return "".join(filter(str.isalpha, name)).casefold()


_CODES = {_letters(name): code for code, (name, _) in STATUSES.items()}
