"""Messages through a line: how an attempt is judged before, and what its answer makes of it.

The kinds `send` and `campaign` share it.
"""

from __future__ import annotations

from datetime import datetime

import structlog

from receiver.actions import OptOut
from receiver.errors import ProviderError
from receiver.events import Status
from receiver.jobs.channel import RETRIES, LineQueue
from receiver.jobs.queue import BROKEN
from receiver.outgoing import OutgoingMessage, Sent
from receiver.store import Attempt, Failure, to_micros
from receiver.store.jobs import OPERATOR, by_operator
from receiver.store.messages import Outcome
from receiver.store.opt_outs import opt_out
from receiver.text.times import SKEW, next_day

log = structlog.get_logger("receiver.jobs.outcomes")

#: Microseconds until the status of a message is asked for the first time.
FIRST_POLL = 2_000_000


class MessageQueue(LineQueue):
    """Messages that leave through a source's line."""

    one_each = True

    def attempt(self, message: int, outgoing: OutgoingMessage) -> Attempt:
        """Returns the attempt to send a message, by which its opt-outs are judged."""
        api = self.line.api
        return Attempt(message, outgoing.to, api.sender(outgoing), api.service(outgoing))

    def fault(self, message: int, outgoing: OutgoingMessage) -> Failure | None:
        """Returns why the provider would refuse a message, if it is known before."""
        try:
            self.line.api.check(outgoing)
        except ProviderError as error:
            return Failure(str(error), Status.REJECTED, error.code)
        except Exception:  # it must not keep those after it from being sent
            log.exception("message cannot be sent", message=message, source=self.lane)
            return Failure(BROKEN, Status.REJECTED)
        return None

    def taken(self, message: int, sent: Sent) -> Outcome:
        """Returns the end of an attempt that the provider took."""
        now = self.runner.now()
        polls = self.line.polls and sent.message_id is not None and not sent.status.final
        due = now + FIRST_POLL if polls else None
        return Outcome(message, sent, now, self.runner.owner, due=due)

    def final(self, message: int, error: ProviderError) -> Outcome | None:
        """Returns the end of an attempt that nothing follows; None: it may be tried again."""
        if error.unknown and not self.line.settings.resend_unknown:
            status = Status.UNKNOWN
        elif error.unknown or error.retryable:
            return None
        else:
            status = Status.REJECTED
        return self._failed(message, Failure(error.words, status, error.code))

    def next_try(self, attempts: int, error: ProviderError, until: datetime) -> datetime | None:
        """Returns when a message is tried again after so many attempts; None: never.

        If the limit of a day is used up, that is on the next day at the provider.
        """
        now, asked = self.runner.clock(), error.retry_after
        if error.tomorrow:
            asked = (next_day(now, self.line.api.provider.timezone) + SKEW - now).total_seconds()
        return RETRIES.next(attempts, now, asked=asked, until=until)

    def put_off(self, message: int, error: ProviderError, due: datetime | None) -> Outcome:
        """Returns the end of an attempt after which it is tried again then; None: never."""
        if due is None:
            why = Failure(f"given up: {error.words}", Status.FAILED, error.code)
            return self._failed(message, why)
        return self._failed(message, Failure(error.words, Status.QUEUED, error.code), due)

    async def note_opt_out(self, to: str) -> None:
        """Opts a person out as the network told it, whatever the message was about."""
        origin, change = by_operator(self.runner.clock()), OptOut(to, "network")
        await self.runner.commit(opt_out, origin, OPERATOR, change)

    def _failed(self, message: int, why: Failure, due: datetime | None = None) -> Outcome:
        at = None if due is None else to_micros(due)
        return Outcome(message, why, self.runner.now(), self.runner.owner, due=at)
