"""All pages of the console."""

from __future__ import annotations

from typing import Any

from receiver.console import campaigns, explaining, overview, people, traffic, users, work
from receiver.console.changes import CHANGES
from receiver.console.counts import SHEETS
from receiver.console.details import DETAILS
from receiver.console.lists import ListPage
from receiver.console.preview import PREVIEW
from receiver.console.roles import Role
from receiver.console.traffic import EVENTS, MESSAGES
from receiver.console.web import Page
from receiver.store import AuditEntry
from receiver.views import lists

__all__ = ["EVENTS", "LISTS", "MESSAGES", "PAGES"]

AUDIT = ListPage[AuditEntry](
    path="/audit",
    title="Audit",
    about="Who changed data, and what retention deleted.",
    role=Role.OPERATOR,
    listing=lambda _: lists.audit_listing(),
    find=lambda reader, **wanted: reader.audit.every(**wanted),
    time=lambda act: act.time,
)

LISTS: tuple[ListPage[Any], ...] = (
    *(EVENTS, MESSAGES, campaigns.CAMPAIGNS),
    *(*people.LISTS, *work.LISTS, AUDIT),
)
PAGES: tuple[Page, ...] = (
    *overview.PAGES,
    *traffic.LIVE,
    *(page for each in LISTS for page in each.pages()),
    *(page for sheet in (people.GROWTH, *SHEETS, PREVIEW) for page in sheet.pages()),
    *explaining.PAGES,
    *work.DETAILS,
    *DETAILS,
    *CHANGES,
    *campaigns.PAGES,
    *users.PAGES,
)
