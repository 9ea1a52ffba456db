"""Carries out what a person commands about background work."""

from __future__ import annotations

from receiver.service.commands import DropJob, ForwardAgain, Outcome, RetryJobs, RunJob
from receiver.service.parts import Service
from receiver.store import forwards, job_changes, to_micros

JobCommand = RetryJobs | RunJob | DropJob | ForwardAgain


async def carry_out(service: Service, command: JobCommand) -> Outcome:
    """Changes jobs as a command says. Raises `StoreUnavailable`."""
    store, now = service.store, service.intake.clock()
    match command:
        case RetryJobs(id_):
            return Outcome(await store.revive(id_, now))
        case ForwardAgain(seq, target):
            posted = await store.run(forwards.again, seq, target, to_micros(now))
            return Outcome(len(posted))
    change = job_changes.run if isinstance(command, RunJob) else job_changes.drop
    changed = await store.run(change, command.id, to_micros(now))
    if changed.refused is not None:
        return Outcome(failures=[f"{command.id}: {changed.refused}"])
    return Outcome(1, counts={changed.kind: 1})
