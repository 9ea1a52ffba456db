"""What people do in the console. Each form becomes a command, which the service carries out."""

from __future__ import annotations

from starlette.responses import Response

from receiver.console.roles import Role
from receiver.console.web import Page, Visit, id_of, path_of
from receiver.errors import Failed, InvalidInput
from receiver.service.commands import (
    AddOptOut,
    Command,
    DropJob,
    Forget,
    Outcome,
    RemoveOptOut,
    RetryQuarantined,
    RunJob,
    SendMessage,
)
from receiver.service.numbers import parse_msisdn


async def send(visit: Visit) -> Response:
    """Sends a message to a person."""
    person = _person(visit)
    command = SendMessage(to=person, text=visit.field("text"), source=visit.field("source"))
    await order(visit, command)
    return visit.back(path_of("persons", person), "sent")


async def opt_out(visit: Visit) -> Response:
    """Notes that a person must not be messaged."""
    person = _person(visit)
    await order(visit, AddOptOut(person))
    return visit.back(path_of("persons", person), "opted-out")


async def opt_in(visit: Visit) -> Response:
    """Notes that a person may be messaged again."""
    person = _person(visit)
    await order(visit, RemoveOptOut(person))
    return visit.back(path_of("persons", person), "opted-in")


async def forget(visit: Visit) -> Response:
    """Deletes all data about a person, whose number was typed once more."""
    person = _person(visit)
    if parse_msisdn(visit.field("again"), visit.desk.settings) != person:
        raise InvalidInput("expected the same number once more, to be sure", "again")
    await order(visit, Forget(person))
    return visit.back("/events", "forgotten")


async def run_job(visit: Visit) -> Response:
    """Does a job now."""
    await order(visit, RunJob(id_of(visit)))
    return visit.back("/jobs", "run")


async def drop_job(visit: Visit) -> Response:
    """Gives a job up."""
    await order(visit, DropJob(id_of(visit)))
    return visit.back("/jobs", "dropped")


async def retry_quarantined(visit: Visit) -> Response:
    """Reads a request of the quarantine again."""
    await order(visit, RetryQuarantined(id_of(visit)))
    return visit.back("/quarantine", "taken")


async def order(visit: Visit, command: Command) -> Outcome:
    """Has a command carried out. Raises `Failed` with the reason if it is not."""
    outcome = await visit.desk.order(command, visit.visitor.name)
    if outcome.failures:
        raise Failed(*outcome.failures)
    return outcome


def _person(visit: Visit) -> str:
    return parse_msisdn(visit.request.path_params["msisdn"], visit.desk.settings)


CHANGES = (
    Page("/persons/{msisdn}/messages", Role.CARE, send, "POST"),
    Page("/persons/{msisdn}/opt-out", Role.CARE, opt_out, "POST"),
    Page("/persons/{msisdn}/opt-in", Role.CARE, opt_in, "POST"),
    Page("/persons/{msisdn}/forget", Role.OPERATOR, forget, "POST"),
    Page("/jobs/{id:int}/run", Role.OPERATOR, run_job, "POST"),
    Page("/jobs/{id:int}/drop", Role.OPERATOR, drop_job, "POST"),
    Page("/quarantine/{id:int}/retry", Role.OPERATOR, retry_quarantined, "POST"),
)
