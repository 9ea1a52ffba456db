"""Pages: who may see each, how it is rendered, and the headers of every answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, tzinfo
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from receiver import __version__
from receiver.console.access import FORM_TOKEN, Visitor, is_own_form, visitor_of_session
from receiver.console.accounts import Accounts
from receiver.console.desk import Desk
from receiver.console.forms import form_of
from receiver.console.menu import MENU
from receiver.console.roles import Role
from receiver.console.seen import seen_by
from receiver.errors import InvalidInput, NotFound, ReceiverError, StoreError
from receiver.text.escape import escape
from receiver.views.times import ShownTime, shown_zone

T = TypeVar("T")

#: Nothing but our own scripts, styles and answers; nobody may frame a page.
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
#: SQLite takes no larger number.
_HIGHEST = 2**62
#: What a page says after a change. The address names it, so nobody can have a page say more.
NOTICES = {
    "sent": "The message is on its way.",
    "opted-out": "Opted out: nothing more is sent.",
    "opted-in": "Opted in.",
    "forgotten": "Everything about the person is deleted.",
    "run": "It is due now.",
    "dropped": "Given up.",
    "taken": "It became an event.",
    "paused": "The campaign is paused. What is under way ends.",
    "resumed": "The campaign goes on.",
    "cancelled": "The campaign is cancelled: whoever waits gets nothing of it.",
    "user": "The user is saved. Their sessions ended.",
    "role": "The role is changed.",
    "user-removed": "The user is removed.",
    "sessions-ended": "The sessions are ended.",
    "token-removed": "The token is removed.",
}
#: Headers of each answer.
HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class Console(msgspec.Struct, frozen=True, kw_only=True):
    """What all pages share."""

    desk: Desk
    accounts: Accounts
    zone: tzinfo | None = None
    """The zone of shown times; None: this machine's."""


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """One request of somebody who may make it."""

    console: Console
    request: Request
    visitor: Visitor
    form: FormData | None = None
    """Of a POST, which a page of ours sent."""

    @property
    def desk(self) -> Desk:
        """The console's ways to the store."""
        return self.console.desk

    def sees(self, role: Role) -> bool:
        """Returns True if the visitor has this role, or a higher one."""
        return self.visitor.role >= role

    def seen(self, record: T) -> T:
        """Returns what the visitor may see of a record."""
        return seen_by(self.visitor.role, record)

    def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """Renders a page."""
        notice = NOTICES.get(self.request.query_params.get("done", ""), "")
        return render(template, status, visit=self, notice=notice, **values)

    @property
    def token_field(self) -> Markup:
        """The hidden field that each form carries."""
        field = Markup('<input type="hidden" name="{}" value="{}">')
        return field.format(FORM_TOKEN, self.visitor.form_token)

    def field(self, name: str) -> str:
        """Returns a field of the form, without white space around it; empty without one."""
        value = self.form.get(name) if self.form is not None else None
        return value.strip() if isinstance(value, str) else ""

    def back(self, path: str, done: str) -> Response:
        """Goes on with a page, which says what was done: one of `NOTICES`."""
        join = "&" if "?" in path else "?"
        return RedirectResponse(f"{path}{join}{urlencode({'done': done})}", 303)


Endpoint = Callable[[Visit], Awaitable[Response]]
Answering = Callable[[Request], Awaitable[Response]]


class Page(msgspec.Struct, frozen=True):
    """A path, who may use it, and what answers."""

    path: str
    role: Role
    endpoint: Endpoint
    method: str = "GET"


def guarded(page: Page, console: Console) -> Answering:
    """Returns what answers the requests to a page: only those of visitors who may make them."""

    async def answer(request: Request) -> Response:
        visitor = await visitor_of_session(console.accounts, request)
        if visitor is None:
            return RedirectResponse(f"/login?{urlencode({'next': _here(page, request)})}", 303)
        form = await form_of(request) if page.method == "POST" else None
        visit = Visit(console=console, request=request, visitor=visitor, form=form)
        if form is not None and not is_own_form(request, form, visitor):
            return refused(visit, 403, "The form came from another page. Load it again.")
        if not visit.sees(page.role):
            return refused(visit, 403, f"This page needs the role {page.role.word}.")
        shown_zone.set(console.zone)
        try:
            return await page.endpoint(visit)
        except ReceiverError as error:
            return refused(visit, status_of(error), str(error))

    return answer


def _here(page: Page, request: Request) -> str:
    """Returns the page to go on with after a login."""
    query = f"?{request.url.query}" if request.url.query else ""
    return f"{request.url.path}{query}" if page.method == "GET" else "/"


def status_of(error: ReceiverError) -> int:
    """Returns the HTTP status of an error that a page raises."""
    statuses = {NotFound: 404, InvalidInput: 400, StoreError: 503}
    return next((status for kind, status in statuses.items() if isinstance(error, kind)), 409)


def refused(visit: Visit, status: int, why: str) -> Response:
    """Returns a page that says why there is no other."""
    return visit.page("error.html", status, why=why)


def render(template: str, status: int = 200, **values: Any) -> Response:
    """Renders a template."""
    text = _templates.get_template(template).render(version=__version__, **values)
    return HTMLResponse(text, status)


def id_of(visit: Visit) -> int:
    """Returns the number in the path of a page about one record. Raises `NotFound`."""
    found = int(visit.request.path_params["id"])
    if not 0 < found < _HIGHEST:
        raise NotFound(f"{found}: no such record")
    return found


def path_of(*parts: str) -> str:
    """Returns a path of these parts, each quoted."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def _visible(value: Any) -> Any:
    """Shows invisible characters as escapes, and those that turn a text; times with their UTC."""
    if isinstance(value, ShownTime):
        utc = f"{value.moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(utc, str(value))
    return escape(value) if isinstance(value, str) and not isinstance(value, Markup) else value


_templates = Environment(
    loader=PackageLoader("receiver.console"),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=_visible,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals.update(path_of=path_of, Role=Role, MENU=MENU)
