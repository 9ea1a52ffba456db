"""The page that explains which rule answers a message, and why the others do not."""

from __future__ import annotations

from starlette.responses import Response

from receiver.console.lists import linked
from receiver.console.roles import Role
from receiver.console.web import Page, Visit
from receiver.errors import InvalidInput
from receiver.service.explain import Explained, explain
from receiver.views.explain import RULE_TITLES, outcome_pairs, rule_row

Rules = list[list[tuple[str, str | None]]]


async def explained(visit: Visit) -> Response:
    """Asks for a message, and explains what would answer it. Nothing is stored or sent."""
    given = visit.request.query_params
    text, to, sender, source = (given.get(name, "") for name in ("text", "to", "from", "source"))
    found: Explained | None = None
    why = ""
    if to:
        try:
            parts = await visit.desk.prepared.parts()
            found = await explain(parts, text, to.strip(), sender.strip() or None, source or None)
        except InvalidInput as error:
            why = str(error)
    return visit.page(
        "explain.html",
        400 if why else 200,
        given=given,
        sources=list(visit.desk.settings.sources),
        why=why,
        pairs=outcome_pairs(found) if found else [],
        titles=RULE_TITLES,
        rows=rules_of(found) if found else None,
    )


def rules_of(explained_: Explained) -> Rules:
    """Returns the rows of a table of rules."""
    return [linked(rule_row(name, rule), ()) for name, rule in explained_.rules]


PAGES = (Page("/explain", Role.CARE, explained),)
