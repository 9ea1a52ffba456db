"""Writes the subscription book: a history that only grows, and the state that follows from it.

The state of a subscription is its newest change by time (`moment`), so the order in which changes
arrive, and repeats, do not matter. An opt-out changes all lines that it covers, also those that
become known later: it ends all that began before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from receiver.actions import Subscribe, Unsubscribe
from receiver.events import EventType
from receiver.store import deactivations, jobs
from receiver.store.jobs import OPERATOR, Origin
from receiver.store.opt_out_lines import blocked, opted_out_at
from receiver.store.opt_out_rule import Line, blocks, service
from receiver.store.records import to_micros
from receiver.store.tx import Tx

#: The columns of a line of the book.
LINE = (
    "source", "short_code", "service_id", "msisdn", "state", "since", "keyword", "subscriber_ref",
    "network",
)  # fmt: skip
_ADD_HISTORY = (
    "INSERT INTO subscription_history (event, source, short_code, service_id, msisdn, state,"
    " time, received_at, keyword, subscriber_ref, network, reason) VALUES (:event, :source,"
    " :short_code, :service_id, :msisdn, :state, :since, :received_at, :keyword, :subscriber_ref,"
    " :network, :reason)"
)
# Of changes with the same time the deactivation wins: a person who left must not be charged. The
# order of arrival must decide nothing, so the other columns are compared next.
_SET_SUBSCRIPTION = (
    f"INSERT INTO subscriptions ({', '.join(LINE)}) VALUES (:{', :'.join(LINE)})"
    " ON CONFLICT (source, short_code, service_id, msisdn) DO UPDATE SET"
    " state = excluded.state, since = excluded.since, keyword = excluded.keyword,"
    " subscriber_ref = excluded.subscriber_ref, network = excluded.network"
    " WHERE (excluded.since, excluded.state = 'inactive', coalesce(excluded.keyword, ''),"
    " coalesce(excluded.subscriber_ref, ''), coalesce(excluded.network, ''))"
    " > (subscriptions.since, subscriptions.state = 'inactive',"
    " coalesce(subscriptions.keyword, ''), coalesce(subscriptions.subscriber_ref, ''),"
    " coalesce(subscriptions.network, ''))"
)
_LINE = (
    "SELECT state, since FROM subscriptions"
    " WHERE source = ? AND short_code = ? AND service_id = ? AND msisdn = ?"
)
_ACTIVE = f"SELECT {', '.join(LINE)} FROM subscriptions WHERE msisdn = ? AND state = 'active'"
_WRITTEN_BY_PEOPLE = str(EventType.MESSAGE_RECEIVED)

#: The history's reasons for lines that an opt-out ended, and that the provider was told to end.
OPT_OUT = "opt-out"
TOLD = "ended at the provider"


class Correction(msgspec.Struct, frozen=True, kw_only=True):
    """A line that an operator writes into the book from the provider's list."""

    msisdn: str
    source: str
    short_code: str = ""
    service_id: str = ""
    active: bool


class _Change(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the history."""

    event: int | None = None
    source: str
    short_code: str
    service_id: str
    msisdn: str
    state: str
    since: int
    received_at: int
    keyword: str | None = None
    subscriber_ref: str | None = None
    network: str | None = None
    reason: str | None = None

    @property
    def line(self) -> tuple[str, str, str, str]:
        """The key of the line that it changes."""
        return self.source, self.short_code, self.service_id, self.msisdn


def moment(type_: str, time: int, received_at: int) -> int:
    """Returns the time by which the book orders an event of this type.

    A message of a person counts from its arrival, since a gateway's clock may be wrong by half a
    day. A provider knows the time of its own changes; it is never later than the arrival.
    """
    return received_at if type_ == _WRITTEN_BY_PEOPLE else min(time, received_at)


def note(tx: Tx, origin: Origin, handler: str, change: Subscribe | Unsubscribe) -> bool:
    """Appends a change to the history, and writes it into the book unless the line is newer.

    Returns False if the person stays subscribed, or stays unsubscribed.
    """
    left = isinstance(change, Unsubscribe)
    elsewhere = change.source if isinstance(change, Unsubscribe) else None
    made = _Change(
        event=origin.event,
        source=elsewhere or origin.source or "",
        short_code=change.short_code or "",
        service_id=service(change.service_id),
        msisdn=change.msisdn,
        state="inactive" if left else "active",
        since=origin.time,
        received_at=origin.received_at,
        keyword=change.keyword,
        subscriber_ref=change.subscriber_ref,
        network=change.network,
    )
    before, _ = _look(tx, made)
    _write(tx, made)
    if not left:
        _end_if_opted_out(tx, origin, handler, made)
    after, _ = _look(tx, made)
    return after != before


def correct(
    tx: Tx, corrections: Sequence[Correction], *, time: datetime, now: datetime, reason: str
) -> int:
    """Appends corrections to the history, as changes made now; returns their number.

    The provider's list does not say since when a person is subscribed, so it does not show that
    somebody joined again after an opt-out: they stay unsubscribed, and the provider is told.
    """
    at, arrival = to_micros(min(time, now)), to_micros(now)
    origin = Origin(time=at, received_at=arrival, now=arrival)
    for correction in corrections:
        made = _Change(
            source=correction.source,
            short_code=correction.short_code,
            service_id=service(correction.service_id),
            msisdn=correction.msisdn,
            state="active" if correction.active else "inactive",
            since=at,
            received_at=arrival,
            reason=reason,
        )
        _write(tx, made)
        if correction.active:
            stands = blocked(tx, made.msisdn, made.short_code, made.service_id)
            _end_if_opted_out(tx, origin, OPERATOR, made, at_once=stands)
    return len(corrections)


def end(tx: Tx, origin: Origin, handler: str, msisdn: str, opt_out: Line) -> None:
    """Ends the person's active lines that this opt-out covers, here and at the provider.

    Lines that began after it stay, since an opt-out may be processed late.
    """
    for row in tx.execute(_ACTIVE, (msisdn,)).fetchall():
        line = dict(zip(LINE, row, strict=True))
        began = _Change(**line, event=origin.event, received_at=origin.received_at)
        joined_since = origin.time < began.since <= origin.now
        if blocks([opt_out], began.short_code, began.service_id) and not joined_since:
            _end(tx, origin, handler, began, max(origin.time, began.since))


def _end_if_opted_out(
    tx: Tx, origin: Origin, handler: str, made: _Change, *, at_once: bool = False
) -> None:
    """Ends the line that this change made active if the person opted out then or later.

    With `at_once`, ends it in any case.
    """
    if _look(tx, made) != ("active", made.since):
        return  # a newer change was processed before
    until = opted_out_at(tx, made.msisdn, made.short_code, made.service_id, made.since)
    if until is None and at_once:
        until = made.since
    if until is not None:
        _end(tx, origin, handler, made, until)


def _end(tx: Tx, origin: Origin, handler: str, began: _Change, time: int) -> None:
    """Ends a line because of an opt-out; at the provider too, if it can be told the service."""
    _write(tx, msgspec.structs.replace(began, state="inactive", since=time, reason=OPT_OUT))
    if service(began.service_id) and began.source in deactivations.managing(tx):
        ended = deactivations.Subscribed(
            msisdn=began.msisdn,
            short_code=began.short_code or None,
            service_id=began.service_id,
        )
        deactivations.add(tx, origin, handler, ended, began.source)


def end_by_provider(tx: Tx, source: str, ended: deactivations.Subscribed, now: int) -> None:
    """Adds that the provider ended a subscription, if the person joined before that.

    The person may have joined again a moment before, and the provider may push that later.
    """
    made = _Change(
        source=source,
        short_code=ended.short_code or "",
        service_id=service(ended.service_id),
        msisdn=ended.msisdn,
        state="inactive",
        since=now,
        received_at=now,
        reason=TOLD,
    )
    if _look(tx, made) != (None, None):
        _write(tx, made)


def end_deactivation(
    tx: Tx, job: int, owner: int, source: str, ended: deactivations.Subscribed, now: int
) -> None:
    """Ends a deactivate job: the provider has ended the subscription."""
    if jobs.end(tx, job, owner):
        end_by_provider(tx, source, ended, now)


def set_line(tx: Tx, values: Mapping[str, object]) -> None:
    """Writes a line into the book unless it has a newer one. `values`: its columns."""
    tx.execute(_SET_SUBSCRIPTION, values)


def _look(tx: Tx, made: _Change) -> tuple[str | None, int | None]:
    """Returns the state of a change's line, and its time."""
    return tx.execute(_LINE, made.line).fetchone() or (None, None)


def _write(tx: Tx, change: _Change) -> None:
    values = msgspec.structs.asdict(change)
    tx.execute(_ADD_HISTORY, values)
    set_line(tx, values)
