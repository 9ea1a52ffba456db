"""Reads what a provider said to an attempt to send a message: what becomes of the message."""

from __future__ import annotations

from datetime import datetime

import structlog

from receiver.actions import OptOut
from receiver.errors import ProviderError
from receiver.events import Status
from receiver.jobs.channel import RETRIES, Line
from receiver.jobs.queue import BROKEN
from receiver.jobs.runner import Runner
from receiver.outgoing import OutgoingMessage, Sent
from receiver.store import Attempt, Failure, to_micros
from receiver.store.jobs import OPERATOR, by_operator
from receiver.store.messages import Outcome
from receiver.store.opt_outs import opt_out
from receiver.text.times import SKEW, next_day

log = structlog.get_logger("receiver.jobs.outcomes")

#: Seconds until the status of a message is asked for the first time.
FIRST_POLL = 2.0


def attempt_of(line: Line, message: int, outgoing: OutgoingMessage) -> Attempt:
    """Returns the attempt to send a message, by which its opt-outs are judged."""
    api = line.api
    return Attempt(message, outgoing.to, api.sender(outgoing), api.service(outgoing))


def taken(line: Line, message: int, sent: Sent, now: int) -> Outcome:
    """Returns the end of an attempt that the provider took."""
    polls = line.polls and sent.message_id is not None and not sent.status.final
    return Outcome(message, sent, due=now + round(FIRST_POLL * 1e6) if polls else None)


def final(line: Line, message: int, error: ProviderError) -> Outcome | None:
    """Returns the end of an attempt that nothing follows; None: the message may be tried again."""
    if error.unknown and not line.settings.resend_unknown:
        return Outcome(message, Failure(error.words, Status.UNKNOWN, error.code))
    if not (error.retryable or error.unknown):
        return Outcome(message, Failure(error.words, Status.REJECTED, error.code))
    return None


def put_off(message: int, error: ProviderError, due: datetime | None) -> Outcome:
    """Returns the end of an attempt after which the message is tried again then; None: never."""
    if due is None:
        words = f"given up: {error.words}"
        return Outcome(message, Failure(words, Status.FAILED, error.code))
    return Outcome(message, Failure(error.words, Status.QUEUED, error.code), to_micros(due))


def next_try(
    line: Line, attempts: int, error: ProviderError, now: datetime, until: datetime
) -> datetime | None:
    """Returns when a message is tried again after so many attempts; None: never.

    If the limit of a day is used up, that is on the next day at the provider.
    """
    asked = error.retry_after
    if error.tomorrow:
        asked = (next_day(now, line.api.provider.timezone) + SKEW - now).total_seconds()
    return RETRIES.next(attempts, now, asked=asked, until=until)


async def note_opt_out(runner: Runner, to: str) -> None:
    """Opts a person out as the network told it, whatever the message was about."""
    origin, change = by_operator(runner.clock()), OptOut(to, "network")
    await runner.commit(opt_out, origin, OPERATOR, change)


def fault(line: Line, message: int, outgoing: OutgoingMessage) -> Failure | None:
    """Returns why the provider would refuse a message, if it is known before."""
    try:
        line.api.check(outgoing)
    except ProviderError as error:
        return Failure(str(error), Status.REJECTED, error.code)
    except Exception:  # it must not keep those after it from being sent
        log.exception("message cannot be sent", message=message, source=line.name)
        return Failure(BROKEN, Status.REJECTED)
    return None
