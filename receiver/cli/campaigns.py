"""`receiver campaigns`: the list, one of them, `pause`, `resume` and `cancel`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Annotated, Literal

import typer

from receiver.cli import output
from receiver.cli.command_group import ListByDefault, report_outcome
from receiver.cli.listing import form_of, show_stored
from receiver.cli.options import ConfigFile, Csv, Json, Limit, load_leniently
from receiver.cli.parts import perform, prepare
from receiver.cli.times import Tz
from receiver.config import StoreAddress
from receiver.errors import Failed
from receiver.service.commands import ChangeCampaign
from receiver.store import Reader, StoredCampaign, open_reader
from receiver.store.campaign_reads import CampaignCounts
from receiver.views.campaigns import campaign_details, campaign_json, reasons_of
from receiver.views.lists import ListedCampaign, campaign_listing, with_counts

group = typer.Typer(
    cls=ListByDefault, help="Lists messages to many; pauses, resumes and cancels them."
)
_Id = Annotated[int, typer.Argument(metavar="ID", min=1, help="The campaign.")]
#: Campaigns that are read at once.
_PIECE = 50
#: Seconds between looks at a campaign that is followed.
_LOOK = 0.5


@group.command("list")
def list_(
    id_: Annotated[
        int | None,
        typer.Argument(metavar="ID", min=1, help="Show all about one.", show_default=False),
    ] = None,
    *,
    limit: Limit = None,
    json: Json = False,
    as_csv: Csv = False,
    _tz: Tz = None,
    config: ConfigFile = None,
) -> None:
    """Lists the campaigns, the newest first. `receiver campaigns` alone does the same.

    `receiver messages --campaign ID` lists the message of each person with its status.
    """
    form = form_of(json=json, as_csv=as_csv, one=id_)
    settings = load_leniently(config)
    if id_ is not None:
        asyncio.run(show(settings.store_address, id_, json=json))
        return

    async def find(reader: Reader, _: int | None) -> AsyncGenerator[ListedCampaign]:
        before = None
        while found := await reader.campaigns.every(before=before, limit=_PIECE):
            for each in await with_counts(reader, found):
                yield each
            before = found[-1].id

    show_stored(settings, campaign_listing(), find, form, limit)


@group.command()
def pause(id_: _Id, config: ConfigFile = None) -> None:
    """Stops a campaign for a while. What is under way ends."""
    _change(config, id_, "pause", "campaign paused")


@group.command()
def resume(id_: _Id, config: ConfigFile = None) -> None:
    """Has a paused campaign go on where it was."""
    _change(config, id_, "resume", "campaign resumed")


@group.command()
def cancel(id_: _Id, config: ConfigFile = None) -> None:
    """Ends a campaign for good: whoever still waits gets nothing of it."""
    _change(config, id_, "cancel", "campaign cancelled")


def _change(
    config: Path | None, id_: int, act: Literal["pause", "resume", "cancel"], done: str
) -> None:
    report_outcome(perform(prepare(config), ChangeCampaign(campaign=id_, act=act)), done)


async def show(store: StoreAddress, id_: int, *, json: bool) -> None:
    """Prints all about a campaign. Raises `Failed` if there is none with this id."""
    async with open_reader(store) as reader:
        campaign, counts = await _look(reader, id_)
        if json:
            output.json_lines([campaign_json(campaign, counts)])
            return
        output.details(campaign_details(campaign, counts, await reasons_of(reader, id_)))


async def follow(store: StoreAddress, id_: int, seconds: float, *, json: bool) -> None:
    """Shows the progress of a campaign until it ends, at most for so long.

    Raises `Failed` if people were not reached, or some still wait.
    """
    end = time.monotonic() + seconds
    async with open_reader(store) as reader:
        campaign, counts = await _look(reader, id_)
        with output.progress(0, counts.people) as advance:
            while campaign.state == "running" and time.monotonic() < end:
                await asyncio.sleep(_LOOK)
                campaign, counts = await _look(reader, id_)
                advance(counts.ended, counts.ended)
    await show(store, id_, json=json)
    if campaign.state != "done":
        late = f" after {seconds:g} s" if campaign.state == "running" else ""
        raise Failed(f"campaign {id_} is {campaign.state}{late}")
    if counts.sent != counts.people:
        raise Failed(f"campaign {id_}: {counts.people - counts.sent:,} people were not reached")


async def _look(reader: Reader, id_: int) -> tuple[StoredCampaign, CampaignCounts]:
    campaign = await reader.campaigns.find(id_)
    if campaign is None:
        raise Failed(f"{id_}: no such campaign")
    return campaign, await reader.campaigns.counts(id_)
