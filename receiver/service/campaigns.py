"""Carries out what a person commands about campaigns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.jobs.channel import apis
from receiver.service.commands import AddPeople, ChangeCampaign, DraftCampaign, Outcome
from receiver.store import campaigns, to_micros
from receiver.store.jobs import OPERATOR, by_operator

if TYPE_CHECKING:
    from receiver.service.parts import Service

CampaignCommand = DraftCampaign | AddPeople | ChangeCampaign


async def carry_out(service: Service, command: CampaignCommand) -> Outcome:
    """Makes or changes a campaign. Raises `StoreUnavailable`."""
    store, now = service.store, service.intake.clock()
    match command:
        case DraftCampaign(source=source, schedule=schedule):
            if source not in apis(service.parts.config, service.parts.providers):
                expected = f"[sources.{source}.send] in the configuration, to send through it"
                return Outcome(failures=[f"{source}: expected {expected}"])
            origin = by_operator(now)
            id_ = await store.run(campaigns.create, origin, OPERATOR, source, schedule)
            return Outcome(1, campaign=id_)
        case AddPeople(campaign=id_):
            added = await store.run(
                campaigns.add,
                id_,
                command.people,
                to_micros(now),
                sender=command.sender,
                service_id=command.service_id,
            )
            if added is None:
                return Outcome(failures=[f"{id_}: expected a campaign that is draft"])
            return Outcome(added, campaign=id_)
        case ChangeCampaign(campaign=id_, act=act):
            return await _change(service, id_, act)


async def _change(service: Service, id_: int, act: str) -> Outcome:
    """Changes the state of a campaign; of a cancelled one all who wait get nothing."""
    store, now = service.store, to_micros(service.intake.clock())
    refused = await store.run(campaigns.change, id_, act, now)
    if refused is not None:
        return Outcome(failures=[f"{id_}: {refused}"])
    ended = 0
    if act == "cancel":  # some at a time, so that no push waits long
        while some := await store.run(campaigns.cancel_some, id_, now):
            ended += some
    counts = await store.reader.campaigns.counts(id_)
    return Outcome(1, campaign=id_, counts={"people": counts.people, "cancelled": ended})
