"""What people do in the console. Each form becomes a command, which the service carries out."""

from __future__ import annotations

from collections.abc import Callable

from starlette.responses import Response

from receiver.console.roles import Role
from receiver.console.web import Endpoint, Page, Visit, id_of, path_of
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


async def forget(visit: Visit) -> Response:
    """Deletes all data about a person, whose number was typed once more."""
    person = _person(visit)
    if parse_msisdn(visit.field("again"), visit.desk.settings) != person:
        raise InvalidInput("expected the same number once more, to be sure", "again")
    await order(visit, Forget(person))
    return visit.back("/events", "forgotten")


def of_person(make: Callable[[str], Command], done: str) -> Endpoint:
    """Returns what has a command about the person in the path carried out."""

    async def endpoint(visit: Visit) -> Response:
        person = _person(visit)
        await order(visit, make(person))
        return visit.back(path_of("persons", person), done)

    return endpoint


def of_record(make: Callable[[int], Command], after: str, done: str) -> Endpoint:
    """Returns what has a command about the record in the path carried out.

    `after`: the page to go on with, `{}` for the id.
    """

    async def endpoint(visit: Visit) -> Response:
        id_ = id_of(visit)
        await order(visit, make(id_))
        return visit.back(after.format(id_), done)

    return endpoint


async def order(visit: Visit, command: Command) -> Outcome:
    """Has a command carried out. Raises `Failed` with the reason if it is not."""
    outcome = await visit.desk.order(command, visit.visitor.name)
    if outcome.failures:
        raise Failed(*outcome.failures)
    return outcome


def _person(visit: Visit) -> str:
    return parse_msisdn(visit.request.path_params["msisdn"], visit.desk.settings)


_CARE, _OPERATOR = Role.CARE, Role.OPERATOR
CHANGES = (
    Page("/persons/{msisdn}/messages", _CARE, send, "POST"),
    Page("/persons/{msisdn}/opt-out", _CARE, of_person(AddOptOut, "opted-out"), "POST"),
    Page("/persons/{msisdn}/opt-in", _CARE, of_person(RemoveOptOut, "opted-in"), "POST"),
    Page("/persons/{msisdn}/forget", _OPERATOR, forget, "POST"),
    Page("/jobs/{id:int}/run", _OPERATOR, of_record(RunJob, "/jobs", "run"), "POST"),
    Page("/jobs/{id:int}/drop", _OPERATOR, of_record(DropJob, "/jobs", "dropped"), "POST"),
    Page(
        *("/quarantine/{id:int}/retry", _OPERATOR),
        *(of_record(RetryQuarantined, "/quarantine", "taken"), "POST"),
    ),
)
