"""The page that shows what changed rules would answer to stored messages.

The rules are those of the configuration's file as it is now, which the service may not have loaded.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta

import msgspec
from anyio import to_thread

from receiver import config as configuration
from receiver.config import Config
from receiver.console.filters import SOURCE, TIMES
from receiver.console.roles import Role
from receiver.console.sheets import Block, Sheet
from receiver.console.web import Visit, path_of
from receiver.events import SHORT_ID, EventType, Message, utc_now
from receiver.service import parts as service
from receiver.service.replay import ReplayRun
from receiver.service.replay_compare import EventComparison
from receiver.store.replay_reads import Selection, open_replay_reader
from receiver.text.days import midnight
from receiver.views.replay import differences, summary_lines
from receiver.views.times import format_time, shown_zone, time_title

#: Messages that are compared, differences that are shown, and seconds that it may take.
_MESSAGES, _SHOWN, _SECONDS = 5000, 200, 5.0


class _Compared(msgspec.Struct, frozen=True):
    """What a comparison found."""

    summary: Sequence[str]
    different: Sequence[EventComparison]


async def _preview(
    visit: Visit,
    source: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Sequence[Block]:
    asked = visit.request.query_params or visit.request.url.path.endswith(".csv")
    if not asked:
        return ()  # it may take seconds
    zone = shown_zone.get()
    today = utc_now().astimezone(zone).date()
    wanted = Selection(
        type_=EventType.MESSAGE_RECEIVED.value,
        source=source,
        since=since or midnight(today - timedelta(days=1), zone),
        until=until or (utc_now() if since else midnight(today, zone)),
        limit=_MESSAGES,
    )
    compared = await to_thread.run_sync(_compare, visit.desk.settings, wanted)
    return [
        Block(
            title="What would differ",
            about=" ".join(f"{line[:1].upper()}{line[1:]}." for line in compared.summary),
            columns=(
                *("id", (time_title("RECEIVED"), "received"), "person", "text"),
                ("THEN → NOW", "differences"),
            ),
            records=[_record(one) for one in compared.different],
            if_empty="Every message would be answered as it was.",
            links=lambda record: (path_of("events", record["event"]),),
        )
    ]


def _compare(settings: Config, wanted: Selection) -> _Compared:
    """Compares messages until there is nothing more, or no time. Raises `ReceiverError`."""
    end = time.monotonic() + _SECONDS
    different: list[EventComparison] = []
    parts = service.prepare(configuration.load(settings.file) if settings.file else settings)
    run = ReplayRun(parts, wanted)
    with closing(run), open_replay_reader(settings.store_address) as reader:
        for chunk in run.chunks(reader):
            different += [one for one in chunk if one.differs or one.failing]
            if time.monotonic() > end:
                break
    summary = tuple(summary_lines(run.totals, None, finished=run.finished))
    return _Compared(summary, different[:_SHOWN])


def _record(compared: EventComparison) -> dict[str, str | None]:
    event = compared.event
    return {
        "event": event.id,
        "id": event.id[:SHORT_ID],
        "received": format_time(event.receivedat),
        "person": event.subject,
        "text": event.data.text if isinstance(event.data, Message) else None,
        "differences": "; ".join(differences(compared)),
    }


PREVIEW = Sheet(
    path="/keywords/preview",
    title="Preview",
    about="What the rules in the configuration's file, as it is now, would answer to yesterday's"
    " messages, or to those of another time. Change the file, look here, then reload the service."
    " Nothing is stored or sent.",
    role=Role.CARE,
    filters=(SOURCE, *TIMES),
    blocks=_preview,
)
