"""The pages about work: jobs and dead letters, forwards, the quarantine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from starlette.responses import Response

from receiver.console.filters import Filter, following
from receiver.console.lists import ListPage, Paging
from receiver.console.roles import Role
from receiver.console.seen import HIDDEN
from receiver.console.web import Page, Visit, id_of, path_of
from receiver.errors import NotFound
from receiver.http.redact import masked
from receiver.store import ForwardAttempt, Quarantined, Reader, Request
from receiver.store.jobs import KINDS
from receiver.views import lists
from receiver.views.jobs import job_details
from receiver.views.lists import ListedJob, redact_quarantined
from receiver.views.redact import redact_job
from receiver.views.requests import quarantined_details, request_details

#: Parts of a request with credentials, in whatever form.
_CREDENTIALS = ("header authorization", "header cookie", "header proxy-authorization")


def _jobs(reader: Reader, *, limit: int, **wanted: Any) -> AsyncGenerator[ListedJob]:
    return lists.with_events(reader, reader.every_job(**wanted))


def _job_links(listed: ListedJob) -> Sequence[str | None]:
    event = path_of("events", listed.event) if listed.event else None
    return (path_of("jobs", str(listed.job.id)), None, None, None, None, event)


async def job(visit: Visit) -> Response:
    """Shows a job, and what can be done about it."""
    id_ = id_of(visit)
    async with visit.desk.reader() as reader:
        found = await reader.jobs(id_=id_)
        event = reader.ids.text(found[0].event) if found and found[0].event else None
    if not found:
        raise NotFound(f"{id_}: no such job; it is done, or was dropped")
    [record] = found
    shown = redact_job(visit.seen(record), visit.desk.secrets)
    links = {"event": path_of("events", event)} if event else {}
    if record.message:
        links["message"] = path_of("messages", str(record.message))
    return visit.page(
        "details.html",
        title=f"Job {id_}",
        pairs=job_details(shown, event),
        links=links,
        acts=[
            ("Try now", path_of("jobs", str(id_), "run"), ""),
            ("Drop", path_of("jobs", str(id_), "drop"), "danger"),
        ],
    )


def _has_credential(word: str, entry: Quarantined) -> bool:
    return entry.authenticated == (word == "right")


def _quarantined(reader: Reader, *, limit: int, **wanted: Any) -> AsyncGenerator[Quarantined]:
    return reader.every_quarantined(**wanted)


async def quarantined(visit: Visit) -> Response:
    """Shows a request that could not become an event; as it came to operators."""
    id_ = id_of(visit)
    async with visit.desk.reader() as reader:
        found = await reader.quarantined(id_)
    if not found:
        raise NotFound(
            f"{id_}: no such request in the quarantine; it became an event, or is purged"
        )
    shown = redact_quarantined(visit.seen(found[0]), visit.desk.secrets)
    return visit.page(
        "details.html",
        title=f"Quarantined request {id_}",
        pairs=quarantined_details(shown, request=False),
        raw=raw_request(visit, found[0].request),
        acts=[("Try again", path_of("quarantine", str(id_), "retry"), "")],
    )


def raw_request(visit: Visit, request: Request | None) -> list[tuple[str, str | None]]:
    """Returns a request as it came, without credentials; nothing for who is no operator."""
    if request is None or not visit.sees(Role.OPERATOR):
        return []
    secrets = visit.desk.secrets
    return [
        (name, HIDDEN if name in _CREDENTIALS else value and masked(value, secrets))
        for name, value in request_details(request)
    ]


JOBS = ListPage[ListedJob](
    path="/jobs",
    title="Jobs",
    about="Background work: what waits to be done or tried again, and dead letters. What is done"
    " is not listed.",
    filters=(
        Filter("state", "State", "choice", ("due", "dead")),
        Filter("kind", "Kind", "choice", KINDS),
        following("after"),
    ),
    times=(),
    listing=lambda visit: lists.job_listing(visit.desk.secrets),
    find=_jobs,
    paging=Paging(
        key=lambda listed: listed.job.id,
        parameter="after",
        begin=lambda id_: str(id_ - 1),
        more="Newer",
    ),
    links=_job_links,
)
FORWARDS = ListPage[ForwardAttempt](
    path="/forwards",
    title="Forwards",
    about="What other systems answered when events were posted to them.",
    filters=(Filter("target", "Target"),),
    listing=lambda _: lists.forward_listing(),
    find=lambda reader, **wanted: reader.forwards.every(**wanted),
    time=lambda attempt: attempt.time,
    links=lambda attempt: (
        None,
        path_of("events", attempt.event),
        None,
        path_of("jobs", str(attempt.job)) if not attempt.taken else None,
    ),
)
QUARANTINE = ListPage[Quarantined](
    path="/quarantine",
    title="Quarantine",
    about="Requests that could not become events: of providers, and of strangers.",
    filters=(
        Filter("source", "Source", "source", keeps=lambda name, entry: entry.source == name),
        Filter("credential", "Credential", "choice", ("right", "wrong"), keeps=_has_credential),
        following("before"),
    ),
    times=(),
    listing=lambda visit: lists.quarantine_listing(visit.desk.secrets),
    find=_quarantined,
    paging=Paging(key=lambda entry: entry.id, parameter="before", begin=lambda id_: str(id_ + 1)),
    links=lambda entry: (path_of("quarantine", str(entry.id)),),
)

LISTS: tuple[ListPage[Any], ...] = (JOBS, FORWARDS, QUARANTINE)
DETAILS = (
    Page("/jobs/{id:int}", Role.VIEWER, job),
    Page("/quarantine/{id:int}", Role.VIEWER, quarantined),
)
