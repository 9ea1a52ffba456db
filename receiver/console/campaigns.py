"""The pages about campaigns: the list, one with its progress, and what can be done with it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Literal

from starlette.responses import Response

from receiver.console.changes import of_record
from receiver.console.filters import following
from receiver.console.lists import ListPage, Paging
from receiver.console.roles import Role
from receiver.console.web import Endpoint, Page, Visit, id_of, path_of
from receiver.errors import NotFound
from receiver.service.commands import ChangeCampaign
from receiver.store import Reader
from receiver.views.campaigns import campaign_details, reasons_of
from receiver.views.lists import ListedCampaign, campaign_listing, with_counts

_Act = Literal["pause", "resume", "cancel"]
#: What can be done with a campaign in each state: name, act, and the look of its button.
_ACTS: dict[str, tuple[tuple[str, _Act, str], ...]] = {
    "draft": (("Cancel", "cancel", "danger"),),
    "running": (("Pause", "pause", ""), ("Cancel", "cancel", "danger")),
    "paused": (("Resume", "resume", ""), ("Cancel", "cancel", "danger")),
}


async def _campaigns(reader: Reader, **wanted: Any) -> AsyncGenerator[ListedCampaign]:
    for each in await with_counts(reader, await reader.campaigns.every(**wanted)):
        yield each


async def campaign(visit: Visit) -> Response:
    """Shows a campaign and how far it is; why people were not reached to who may see texts."""
    id_ = id_of(visit)
    async with visit.desk.reader() as reader:
        found = await reader.campaigns.find(id_)
        if found is None:
            raise NotFound(f"{id_}: no such campaign")
        counts = await reader.campaigns.counts(id_)
        reasons = await reasons_of(reader, id_) if visit.sees(Role.CARE) else []
    return visit.page(
        "details.html",
        title=f"Campaign {id_}",
        progress=(counts.ended, counts.people) if counts.people else None,
        pairs=campaign_details(visit.seen(found), counts, reasons),
        links={"people": f"/messages?campaign={id_}"},
        acts=[
            (name, path_of("campaigns", str(id_), act), look)
            for name, act, look in _ACTS.get(found.state, ())
        ],
    )


def _change(act: _Act, done: str) -> Endpoint:
    return of_record(lambda id_: ChangeCampaign(campaign=id_, act=act), "/campaigns/{}", done)


CAMPAIGNS = ListPage[ListedCampaign](
    path="/campaigns",
    title="Campaigns",
    about="Messages to many: how far each is.",
    filters=(following("before"),),
    times=(),
    listing=lambda _: campaign_listing(),
    find=_campaigns,
    paging=Paging(
        key=lambda listed: listed.campaign.id, parameter="before", begin=lambda id_: str(id_ + 1)
    ),
    links=lambda listed: (path_of("campaigns", str(listed.campaign.id)),),
)
PAGES = (
    Page("/campaigns/{id:int}", Role.VIEWER, campaign),
    Page("/campaigns/{id:int}/pause", Role.OPERATOR, _change("pause", "paused"), "POST"),
    Page("/campaigns/{id:int}/resume", Role.OPERATOR, _change("resume", "resumed"), "POST"),
    Page("/campaigns/{id:int}/cancel", Role.OPERATOR, _change("cancel", "cancelled"), "POST"),
)
