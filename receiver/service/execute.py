"""Carrying out commands, each with a line in the audit."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import structlog

from receiver.actions import OptIn, OptOut, Send
from receiver.errors import ConfigError, ProviderError, PushError
from receiver.jobs import purge
from receiver.jobs.channel import apis
from receiver.outgoing import OutgoingMessage
from receiver.providers import Push
from receiver.service import forget, replay
from receiver.service.commands import (
    AddOptOut,
    Command,
    CorrectBook,
    Forget,
    Outcome,
    PurgeStep,
    Reload,
    RemoveOptOut,
    Replay,
    RetryJobs,
    RetryQuarantined,
    SendMessage,
)
from receiver.service.parts import Service
from receiver.service.reload import reload
from receiver.store import Reader, jobs, to_micros
from receiver.text.msisdn import mask

log = structlog.get_logger("receiver.service.execute")

#: What a source lacks whose reply comes too late for an answer.
_NO_SEND = "its source has no [sources.NAME.send]; add its api_key, then `receiver jobs retry`"


async def carry_out(service: Service, command: Command, who: str) -> Outcome:
    """Does what a command says, for `who`. Raises `StoreUnavailable`."""
    outcome = await _do(service, command)
    # Of a purge the first step and the last.
    if not isinstance(command, PurgeStep) or not command.after or outcome.position is None:
        act, details = _audited(command, outcome)
        log.info("command carried out", command=act, who=who, **details)
        await service.store.note_act(who, act, details, service.intake.clock())
    return outcome


def _audited(command: Command, outcome: Outcome) -> tuple[str, dict[str, Any]]:
    """What is noted of a command: its name, and what it was about; no texts, numbers masked."""
    given = msgspec.to_builtins(command)
    act = given.pop("type")
    details = {name: value for name, value in given.items() if value and name != "text"}
    for name in ("msisdn", "to"):
        if name in details:
            details[name] = mask(details[name])
    for name in ("corrections", "events"):
        if name in details:
            details[name] = len(details[name])
    results = {
        "changed": outcome.changed,
        "message": outcome.message,
        "failures": len(outcome.failures),
        "counts": outcome.counts,
    }
    return act, {**details, **{name: value for name, value in results.items() if value}}


async def _do(service: Service, command: Command) -> Outcome:
    match command:
        case AddOptOut() | RemoveOptOut():
            outcome = Outcome(int(await _change_opt_out(service, command)))
        case RetryJobs(id_):
            now = to_micros(service.intake.clock())
            outcome = Outcome(await service.store.run(jobs.revive, id_, now))
        case RetryQuarantined(id_):
            outcome = await _retry_quarantined(service, id_)
        case SendMessage():
            outcome = await _send(service, command)
        case CorrectBook():
            outcome = await _correct_book(service, command)
        case Replay():
            outcome = await _replay(service, command)
        case Reload():
            outcome = await _reload(service)
        case PurgeStep():
            outcome = await _purge(service, command)
        case Forget(msisdn, force):
            outcome = await _forget(service, msisdn, force=force)
    return outcome


async def _change_opt_out(service: Service, command: AddOptOut | RemoveOptOut) -> bool:
    store, now = service.store, service.intake.clock()
    scope = {"short_code": command.short_code, "service_id": command.service_id}
    if isinstance(command, AddOptOut):
        return await store.opt_out(OptOut(command.msisdn, "operator", **scope), now)
    return await store.opt_in(OptIn(command.msisdn, "operator", **scope), now)


async def _correct_book(service: Service, command: CorrectBook) -> Outcome:
    now = service.intake.clock()
    corrected = await service.store.correct_book(
        command.corrections, command.time, now, "reconcile"
    )
    return Outcome(corrected)


async def _purge(service: Service, command: PurgeStep) -> Outcome:
    if not command.after:  # retention may go by the same clock now
        await service.store.trust_clock(service.intake.clock())
    gone, stretch = await purge.step(service.store, command.sweep, command.after)
    counts = Counter(command.gone) + gone
    return Outcome(gone.total(), counts=dict(counts), position=stretch.position)


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
    return Outcome(1)


async def _send(service: Service, command: SendMessage) -> Outcome:
    """Makes the message, unless it is plain that it would be refused."""
    api = apis(service.parts.config, service.parts.providers).get(command.source)
    if api is None:
        expected = f"[sources.{command.source}.send] in the configuration, to send through it"
        return Outcome(failures=[f"{command.source}: expected {expected}"])
    outgoing = OutgoingMessage(
        to=api.provider.person(command.to),
        text=command.text,
        sender=api.provider.address(command.sender),
        service_id=command.service_id,
        link_id=command.link_id,
    )
    try:
        api.check(outgoing)
    except ProviderError as error:
        # A link_id is good for one message.
        splits = api.send_settings.split and not command.link_id
        if not (splits and api.too_long(outgoing)):
            return Outcome(failures=[str(error)])
    blocking = await service.store.reader.opt_outs.blocking(
        outgoing.to, sender=api.sender(outgoing), service_id=api.service(outgoing)
    )
    if blocking is not None:
        hint = "`receiver opt-outs remove` if that is no longer so"
        return Outcome(failures=[f"{outgoing.to} has opted out; {hint}"])
    wanted = Send(source=command.source, **msgspec.structs.asdict(outgoing))
    message = await service.store.add_message(wanted, service.intake.clock())
    return Outcome(1, message=message)


async def _retry_quarantined(service: Service, id_: int | None) -> Outcome:
    """Oldest first; what becomes an event, or is a repeat of one, leaves the quarantine."""
    reader, store = service.store.reader, service.store
    ids = [id_] if id_ is not None else await _all_quarantined(reader)
    changed, failures = 0, []
    for each in sorted(ids):
        entries = await reader.quarantined(each)
        if not entries:
            failures.append(f"{each}: no such request")
            continue
        entry = entries[0]
        push = Push(
            method=entry.request.method,
            token=entry.request.token,
            query=entry.request.query,
            headers=entry.request.headers,
            body=entry.request.body,
            received_at=entry.received_at,
            client=entry.client,
        )
        try:
            event = await service.intake.retake(entry.source, push)
        except PushError as error:
            failures.append(f"{each}: {error}")
            continue
        await store.drop_quarantined(each)
        changed += 1
        if event is not None and await _cannot_reply(service, entry.source, event):
            failures.append(f"{each}: taken, but its reply cannot be sent: {_NO_SEND}")
    return Outcome(changed, failures)


async def _cannot_reply(service: Service, source: str, event: int) -> bool:
    """Whether there is a reply to an event which its source has no way to send."""
    settings = service.parts.config.sources[source].send
    return settings is None and bool(await service.store.reader.messages.find(event=event))


async def _all_quarantined(reader: Reader) -> list[int]:
    ids: list[int] = []
    while entries := await reader.quarantined(before=ids[-1] if ids else None):
        ids += [entry.id for entry in entries]
    return ids


async def _replay(service: Service, command: Replay) -> Outcome:
    """All of it in one transaction, but for events of which today's handlers think otherwise."""
    dispatcher, people, store = service.parts.dispatcher, service.parts.people, service.store
    wanted, failures = [], []
    for seq, expected in command.events:
        stored = await store.reader.event_by_seq(seq)
        id_ = store.ids.text(seq)
        if stored is None:
            failures.append(f"{id_}: no such event")
            continue
        with people.before(seq):
            plan = dispatcher.plan(stored.event)
        if replay.digest(plan) != expected:
            why = "the service goes by other rules than the configuration; `receiver reload`"
            failures.append(f"{id_}: left as it is: {why}")
            continue
        wanted.append(replay.redo_of(plan, seq, again=command.again))
    done = await store.redo(wanted, service.intake.clock())
    failures += [
        f"{store.ids.text(one.seq)}: left as it is: {result.left}"
        for one, result in zip(wanted, done, strict=True)
        if result.left is not None
    ]
    counts = {
        "replies": sum(result.replies for result in done),
        "actions": sum(result.actions for result in done),
        "handlers": sum(result.handlers for result in done),
    }
    return Outcome(sum(result.changed for result in done), failures, counts=counts)
