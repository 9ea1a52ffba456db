"""Carries out commands, each with a line in the audit."""

from __future__ import annotations

from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import msgspec
import structlog

from receiver.actions import OptIn, OptOut
from receiver.errors import ConfigError
from receiver.jobs import purge
from receiver.service import campaigns, forget, job_commands, quarantine, replay, send
from receiver.service.commands import (
    AddOptOut,
    AddPeople,
    Change,
    ChangeCampaign,
    Command,
    CorrectBook,
    DraftCampaign,
    DropJob,
    Forget,
    ForwardAgain,
    NoteBackup,
    Outcome,
    PurgeStep,
    Reload,
    RemoveOptOut,
    Replay,
    RetryJobs,
    RetryQuarantined,
    RunJob,
    SendMessage,
)
from receiver.service.parts import Service
from receiver.service.reload import reload
from receiver.store import audit, book, opt_outs, purges
from receiver.store.jobs import OPERATOR, by_operator
from receiver.text.msisdn import mask

log = structlog.get_logger("receiver.service.execute")

#: Characters of a text in the audit: names and paths are shorter.
_MOST_CHARS = 500


async def carry_out(service: Service, command: Command, who: str) -> Outcome:
    """Does what a command says, for `who`. Raises `StoreUnavailable`."""
    # Of a backup the line in the audit is all.
    outcome = Outcome() if isinstance(command, NoteBackup) else await _do(service, command)
    if not _is_step(command, outcome):
        act, details = _audited(command, outcome)
        log.info("command carried out", command=act, who=who, **details)
        await service.store.run(audit.add, who, act, details, service.intake.clock())
    return outcome


def _is_step(command: Command, outcome: Outcome) -> bool:
    """Returns True for one of many steps: of a purge the first and the last are noted."""
    if isinstance(command, PurgeStep):
        return bool(command.after) and outcome.position is not None
    return isinstance(command, AddPeople | DraftCampaign)  # the start is noted, with the people


def _audited(command: Command, outcome: Outcome) -> tuple[str, dict[str, Any]]:
    """Returns the name and the details of a command for the audit: no texts, numbers masked."""
    given = msgspec.to_builtins(command)
    act = given.pop("type")
    details = {name: _cut(value) for name, value in given.items() if value and name != "text"}
    for name in ("msisdn", "to"):
        if name in details:
            details[name] = mask(details[name])
    if "://" in details.get("target", ""):  # the rest of it may be a secret
        details["target"] = urlsplit(details["target"]).hostname
    for name in ("corrections", "events"):
        if isinstance(details.get(name), list):
            details[name] = len(details[name])
    results = {
        "changed": outcome.changed,
        "message": outcome.message,
        "campaign": outcome.campaign,
        "failures": len(outcome.failures),
        "counts": outcome.counts,
    }
    return act, {**details, **{name: value for name, value in results.items() if value}}


def _cut(value: Any) -> Any:
    """Bounds a text that somebody gave."""
    if isinstance(value, str) and len(value) > _MOST_CHARS:
        return f"{value[:_MOST_CHARS]}…"
    return value


async def _do(service: Service, command: Change) -> Outcome:
    match command:
        case AddOptOut() | RemoveOptOut():
            outcome = Outcome(int(await _change_opt_out(service, command)))
        case RetryJobs() | RunJob() | DropJob() | ForwardAgain():
            outcome = await job_commands.carry_out(service, command)
        case RetryQuarantined(id_):
            outcome = await quarantine.retry(service, id_)
        case SendMessage() | DraftCampaign() | AddPeople() | ChangeCampaign():
            outcome = await _send(service, command)
        case CorrectBook():
            outcome = await _correct_book(service, command)
        case Replay():
            outcome = await replay.replay(service, command)
        case Reload():
            outcome = await _reload(service)
        case PurgeStep():
            outcome = await _purge(service, command)
        case Forget(msisdn, force):
            outcome = await _forget(service, msisdn, force=force)
    return outcome


async def _send(service: Service, command: SendMessage | campaigns.CampaignCommand) -> Outcome:
    if isinstance(command, SendMessage):
        return await send.send(service, command)
    return await campaigns.carry_out(service, command)


async def _change_opt_out(service: Service, command: AddOptOut | RemoveOptOut) -> bool:
    store, origin = service.store, by_operator(service.intake.clock())
    scope = {"short_code": command.short_code, "service_id": command.service_id}
    if isinstance(command, AddOptOut):
        out = OptOut(command.msisdn, OPERATOR, **scope)
        return await store.run(opt_outs.opt_out, origin, OPERATOR, out)
    back = OptIn(command.msisdn, OPERATOR, **scope)
    return await store.run(opt_outs.opt_in, origin, back)


async def _correct_book(service: Service, command: CorrectBook) -> Outcome:
    now = service.intake.clock()
    corrected = await service.store.run(
        book.correct, command.corrections, time=command.time, now=now, reason="reconcile"
    )
    return Outcome(corrected)


async def _purge(service: Service, command: PurgeStep) -> Outcome:
    if not command.after:  # from now on retention may trust the clock as well
        await service.store.run(purges.trust_clock, service.intake.clock())
    gone, batch = await purge.step(service.store, command.rule, command.after)
    counts = Counter(command.gone) + gone
    return Outcome(gone.total(), counts=dict(counts), position=batch.position)


async def _forget(service: Service, msisdn: str, *, force: bool) -> Outcome:
    obstacles = [] if force else await forget.obstacles(service.store, msisdn)
    if obstacles:
        return Outcome(failures=obstacles)
    forgotten = await forget.forget(service.store, msisdn, service.parts.providers)
    counts = dict(forgotten.gone)
    return Outcome(forgotten.gone.total(), forgotten.left, counts=counts)


async def _reload(service: Service) -> Outcome:
    try:
        await reload(service)
    except ConfigError as error:
        return Outcome(failures=str(error).split("\n"))
    await service.store.run(service.store.membership.ask_reload)
    return Outcome(1)
