"""Sends campaigns: messages to many, as far as replies leave room.

A campaign has one job, which is due when it may go on. Each look at it begins as many requests as
there is room for: of one person, or of a chunk of people where the gateway's answer tells them
apart. The job is never claimed: what is under way are the messages of the chunk, each with a job
of its own, so nothing but them is lost with the process. A chunk without an answer is *unknown* as
a whole, and not sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby, islice
from typing import NamedTuple

import structlog
from msgspec.structs import replace

from receiver.errors import ProviderError
from receiver.events import Status
from receiver.jobs.channel import RETRIES
from receiver.jobs.outcomes import MessageQueue
from receiver.jobs.queue import BROKEN
from receiver.jobs.runner import Runner
from receiver.jobs.send import NO_LINE
from receiver.outgoing import Sent
from receiver.providers.contract import Request, Response
from receiver.store import Failure, StoredCampaign, Work, campaigns, to_micros
from receiver.store.campaign_reads import Waiting
from receiver.store.jobs import NEVER, PIECE
from receiver.store.messages import Outcome

log = structlog.get_logger("receiver.jobs.campaign")

Answers = list[Sent | ProviderError]

#: Seconds until a campaign is looked at again that waits for what is under way.
_AGAIN = 5.0
_TOO_LATE = Failure("it waited longer than the campaign is valid for", Status.EXPIRED)


class _Chunk(NamedTuple):
    """People whose messages are one request."""

    campaign: StoredCampaign
    people: list[Waiting]
    request: Request[Answers]


class Campaign(MessageQueue):
    """The campaigns of one source."""

    kind = "campaign"

    def pause(self) -> float:
        """As the line has it for campaigns."""
        return self.line.spare_pause()

    def room(self) -> int:
        """As the line has it for campaigns."""
        return self.line.spare_room

    async def claim(self, chosen: list[Work]) -> list[Work]:
        """Begins requests of these campaigns. Each is a piece of work."""
        await self.line.remember(self.runner)
        begun: list[Work] = []
        for work in chosen:
            assert work.campaign is not None
            if self.room() > 0:
                begun += await self._go_on(work, work.campaign)
        return begun

    async def perform(self, work: Work) -> None:
        """Makes a request and stores what came of each person's message."""
        chunk: _Chunk = work.prepared
        answers: Answers
        try:
            answers = await self.line.call(chunk.request)
        except ProviderError as error:
            answers = [error for _ in chunk.people]
        ends = []
        for one, answer in zip(chunk.people, answers, strict=True):
            if isinstance(answer, Sent):
                ends.append(self.taken(one.id, answer))
                continue
            if answer.opted_out:
                await self.note_opt_out(one.outgoing.to)
            ends.append(self._stopped(chunk.campaign, one, answer))
        await self._settle(chunk.campaign, ends)

    async def _go_on(self, work: Work, campaign: StoredCampaign) -> list[Work]:
        """Begins as many requests of a campaign as there is room for now."""
        runner, line = self.runner, self.line
        store, now, schedule = runner.store, runner.clock(), campaign.schedule
        moment = schedule.next_moment(now, line.api.provider.timezone)
        expires = schedule.expires_at
        if moment > now and (expires is None or now < expires):
            until = moment if expires is None else min(moment, expires)
            await store.run(campaigns.put_off, campaign.id, to_micros(until))
            return []
        found = await store.reader.campaigns.waiting(campaign.id, limit=self._most(schedule.rate))
        if not found:
            await self._rest(campaign, now + timedelta(seconds=_AGAIN))
            return []
        if expires is not None and now >= expires:
            late = [(one.id, _TOO_LATE) for one in found]
            await store.run(campaigns.refuse_all, late, runner.now())
            self._more = True
            return []
        able = [one for one in found if self._is_due(one, now)]
        if not able:
            due = min(one.tried_at + timedelta(seconds=_pause(one.attempts)) for one in found)
            await store.run(campaigns.put_off, campaign.id, to_micros(due))
            return []
        return await self._begin(work, campaign, able, now)

    def _most(self, rate: int | None) -> int:
        """Returns the number of people that one commit begins: more would hold up the pushes."""
        size = self.line.settings.bulk_size if self.line.bulk else 1
        return min(self.room() * size, max(PIECE, size), rate or NEVER)

    async def _begin(
        self, work: Work, campaign: StoredCampaign, able: list[Waiting], now: datetime
    ) -> list[Work]:
        """Marks messages as being sent, after a look at opt-outs; a piece of work a request."""
        runner = self.runner
        judged = [(one.id, self.fault(one.id, one.outgoing)) for one in able]
        faults = [(id_, why) for id_, why in judged if why is not None]
        if faults:
            await runner.store.run(campaigns.refuse_all, faults, runner.now())
            refused = {id_ for id_, _ in faults}
            able = [one for one in able if one.id not in refused]
        chunks = list(islice(self._chunked(able), max(0, self.room())))
        rate, people = campaign.schedule.rate, sum(map(len, chunks))
        pause = 60 * people / rate if rate else 0.0
        attempts = [[self.attempt(one.id, one.outgoing) for one in chunk] for chunk in chunks]
        nothing: list[list[int | None]] = [[None] * len(chunk) for chunk in chunks]
        go_on = to_micros(now + timedelta(seconds=pause))
        values = campaign.id, attempts, runner.now(), runner.owner, go_on
        begun = await runner.claim(campaigns.begin, nothing, *values)
        if pause:  # a look comes each second only
            asyncio.get_running_loop().call_later(pause, self.wake)
        self._more = True
        found = []
        for chunk, jobs in zip(chunks, begun, strict=True):
            ours = [one for one, job in zip(chunk, jobs, strict=True) if job is not None]
            request = self._request(campaign, ours, bulk=len(chunk) > 1) if ours else None
            if request is not None:
                # By an id of its own: chunks of one campaign do not wait for each other.
                own, chunk_of = next(filter(None, jobs)), _Chunk(campaign, ours, request)
                found.append(replace(work, id=own, seq=None, prepared=chunk_of))
                self.line.reserve(bulk=request.bulk)
            elif ours:
                broken = Failure(BROKEN, Status.REJECTED)
                await self._settle(
                    campaign, [Outcome(one.id, broken, runner.now(), runner.owner) for one in ours]
                )
        return found

    async def _settle(self, campaign: StoredCampaign, ends: list[Outcome]) -> None:
        runner = self.runner
        await runner.commit(campaigns.settle, campaign.id, ends, runner.now())

    async def _rest(self, campaign: StoredCampaign, again: datetime) -> None:
        """Nobody waits: the campaign ends, or is looked at again after what is under way."""
        runner = self.runner
        if not await runner.store.run(campaigns.finish, campaign.id, runner.now()):
            await runner.store.run(campaigns.put_off, campaign.id, to_micros(again))

    def _chunked(self, people: list[Waiting]) -> Iterator[list[Waiting]]:
        """Yields the people of each request."""
        if not self.line.bulk:
            yield from ([one] for one in people)
            return
        size = self.line.settings.bulk_size
        for _, group in groupby(people, key=_but_for_the_person):
            same = list(group)
            yield from (same[start : start + size] for start in range(0, len(same), size))

    def _request(
        self, campaign: StoredCampaign, people: list[Waiting], *, bulk: bool
    ) -> Request[Answers] | None:
        """Makes the request of a chunk; None if the provider's file fails at it."""
        api, expires = self.line.api, campaign.schedule.expires_at
        messages = [one.outgoing for one in people]
        if expires is not None:
            left = max(1, round((expires - self.runner.clock()).total_seconds()))
            messages = [replace(each, valid_for=left) for each in messages]
        try:
            if bulk and (request := api.send_many(messages)) is not None:
                return request.then(partial(_of_all, len(people)))
            (message,) = messages
            return api.send(message).then(_alone)
        except Exception:  # nothing has left
            log.exception("campaign cannot be sent", source=self.lane)
            return None

    def _stopped(self, campaign: StoredCampaign, one: Waiting, error: ProviderError) -> Outcome:
        """Nothing was sent to a person, or nobody knows."""
        now = self.runner.clock()
        if (outcome := self.final(one.id, error)) is not None:
            return outcome
        until, expires = now + self._patience(one), campaign.schedule.expires_at
        until = until if expires is None else min(until, expires)
        due = self.next_try(one.attempts + 1, error, until)
        if due is not None and error.tomorrow:
            due = campaign.schedule.next_moment(due, self.line.api.provider.timezone)
        outcome = self.put_off(one.id, error, due)
        again = due is not None and not error.tomorrow
        return outcome._replace(again=again)

    def _patience(self, one: Waiting) -> timedelta:
        """Returns how much of `send.give_up_after` is left for a message that was tried so often.

        A campaign may wait for days before it tries somebody: only pauses after tries count.
        """
        tried = sum(map(_pause, range(one.attempts + 1)))
        return timedelta(seconds=max(0.0, self.line.settings.give_up_after - tried))

    def _is_due(self, one: Waiting, now: datetime) -> bool:
        return not now - timedelta(seconds=_pause(one.attempts)) < one.tried_at <= now


async def refuse(runner: Runner, source: str) -> None:
    """Pauses the campaigns of a source that cannot send."""
    await runner.store.run(campaigns.pause_lane, source, runner.now(), NO_LINE.format(source))


def _pause(attempts: int) -> float:
    """Returns the seconds between so many attempts and the next one."""
    pauses = RETRIES.pauses
    return pauses[min(attempts, len(pauses)) - 1] if attempts else 0.0


def _but_for_the_person(one: Waiting) -> tuple[str, str | None, str | None]:
    message = one.outgoing
    return message.text, message.sender, message.service_id


def _of_all(people: int, answers: Answers, _: Response) -> Answers:
    """Returns the answers about a chunk, one about each. Raises ValueError for another number."""
    if len(answers) != people:
        raise ValueError("a provider's file reads an answer for other people")
    return answers


def _alone(sent: Sent, _: Response) -> Answers:
    """Returns the answer about one person as that about a chunk of one."""
    return [sent]
