"""Calls that change something. Each becomes a command, which the service carries out."""

from __future__ import annotations

from typing import Annotated

import msgspec
from starlette.responses import Response

from receiver.console.api.details import number_of
from receiver.console.api.operations import ROOT, Call, Operation, OutcomeUnknown, answer
from receiver.console.api.records import Content
from receiver.console.filters import Filter
from receiver.console.roles import Role
from receiver.console.web import path_of
from receiver.errors import Failed, InvalidInput, NotFound
from receiver.service.commands import (
    AddOptOut,
    Command,
    DropJob,
    Outcome,
    RemoveOptOut,
    RetryQuarantined,
    RunJob,
)
from receiver.service.numbers import parse_msisdn, parse_number
from receiver.service.send import compose

_Short = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class NewMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message to send."""

    to: _Short
    """The person's number, in any form."""
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=10_000)]
    source: _Short | None = None
    """The source to send through; by default the only one that sends."""
    sender: _Short | None = None
    """Short code or sender ID that it comes from; by default the source's."""
    service_id: _Short | None = None
    link_id: _Short | None = None
    """Of the message that it answers."""


class Stored(msgspec.Struct, frozen=True):
    """The message that was stored, to be sent at once."""

    id: int


class NewOptOut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person who must not be messaged: by a short code, about a service, or at all."""

    msisdn: _Short
    short_code: _Short | None = None
    service_id: _Short | None = None


class Done(msgspec.Struct, frozen=True):
    """The result of a change."""

    changed: int
    """How many things it changed; 0: it was so before."""
    notes: list[str] = []
    """What did not go as it should beside it."""


async def send(call: Call) -> Response:
    """Sends a message through a source's API, by the outbox of the service."""
    wanted: NewMessage = call.body
    command = compose(
        call.desk.settings,
        _source(call, wanted.source),
        to=wanted.to,
        text=wanted.text,
        sender=wanted.sender,
        service_id=wanted.service_id,
        link_id=wanted.link_id,
    )
    outcome = await _order(call, command)
    assert outcome.message is not None
    where = f"{ROOT}{path_of('messages', str(outcome.message))}"
    return answer(Stored(outcome.message), 201, {"location": where})


def _source(call: Call, wanted: str | None) -> str:
    """Returns the source to send through. Raises `InvalidInput`."""
    sending = call.desk.sending
    if wanted is None and len(sending) == 1:
        return sending[0]
    if wanted not in sending:
        expected = ", ".join(sending) or "a source with [sources.NAME.send], and there is none"
        raise InvalidInput(f"expected one of: {expected}", "source")
    return wanted


async def opt_out(call: Call) -> Response:
    """Notes that a person must not be messaged, and ends their subscriptions."""
    wanted: NewOptOut = call.body
    command = AddOptOut(*_scope(call, wanted.msisdn, wanted.short_code, wanted.service_id))
    return _done(await _order(call, command))


async def opt_in(call: Call) -> Response:
    """Notes that a person may be messaged again."""
    given = call.request.query_params
    msisdn = call.request.path_params["msisdn"]
    scope = _scope(call, msisdn, given.get("short_code"), given.get("service_id"))
    return _done(await _order(call, RemoveOptOut(*scope)))


def _scope(
    call: Call, msisdn: str, short_code: str | None, service_id: str | None
) -> tuple[str, str | None, str | None]:
    settings = call.desk.settings
    sender = parse_number(short_code, settings) if short_code else None
    return parse_msisdn(msisdn, settings, field="msisdn"), sender, service_id or None


async def run_job(call: Call) -> Response:
    """Does a job now that waits for a later time, or tries a dead letter again."""
    return _done(await _order(call, RunJob(await _job(call))))


async def drop_job(call: Call) -> Response:
    """Gives a job up: deletes it. A message that it would have sent is not sent."""
    return _done(await _order(call, DropJob(await _job(call))))


async def _job(call: Call) -> int:
    """Returns the id in the path. Raises `NotFound` if there is no such job."""
    id_ = number_of(call)
    async with call.desk.reader() as reader:
        if not await reader.jobs(id_=id_):
            raise NotFound(f"{id_}: no such job")
    return id_


async def retry_quarantined(call: Call) -> Response:
    """Reads a request of the quarantine again, by today's configuration."""
    id_ = number_of(call)
    async with call.desk.reader() as reader:
        if not await reader.quarantined(id_):
            raise NotFound(f"{id_}: no such request")
    return _done(await _order(call, RetryQuarantined(id_)))


async def _order(call: Call, command: Command) -> Outcome:
    """Has a command carried out.

    Raises `Failed` with the reason if nothing was done, and `OutcomeUnknown` if nobody knows.
    """
    outcome = await call.desk.order(command, call.visitor.name)
    if outcome.uncertain:
        raise OutcomeUnknown("; ".join(outcome.failures))
    if outcome.failures and not outcome.changed:
        raise Failed(*outcome.failures)
    return outcome


def _done(outcome: Outcome) -> Response:
    return answer(Done(outcome.changed, outcome.failures))


_DONE = Content([Done])
_SCOPE = (
    Filter("short_code", "Only messages from this short code or number"),
    Filter("service_id", "Only messages of this service"),
)
CHANGES = (
    Operation("POST", "/messages", Role.CARE, send, Content([Stored]), body=NewMessage, status=201),
    Operation("POST", "/opt-outs", Role.CARE, opt_out, _DONE, body=NewOptOut),
    Operation("DELETE", "/opt-outs/{msisdn}", Role.CARE, opt_in, _DONE, query=_SCOPE),
    Operation("POST", "/jobs/{id}/run", Role.OPERATOR, run_job, _DONE),
    Operation("DELETE", "/jobs/{id}", Role.OPERATOR, drop_job, _DONE),
    Operation("POST", "/quarantine/{id}/retry", Role.OPERATOR, retry_quarantined, _DONE),
)
