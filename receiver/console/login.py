"""Logs people in and out. Tries are limited by name and by address, and noted in the audit."""

from __future__ import annotations

from collections import OrderedDict

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from receiver.console.access import is_own_form, own_path, set_session, visitor_of_session
from receiver.console.web import Console, render
from receiver.events import utc_now
from receiver.limits import Allowance

#: Wrong tries at once, and a minute, of a name and of an address.
_BURST = 5
_PER_MINUTE = 5
#: Names and addresses that are remembered.
_MOST = 10_000
_WRONG = "The name or the password is wrong."
_TOO_MANY = "Too many tries. Wait a minute, then try again."
_FORGED = "The form came from another page. Load this page again."


class Login:
    """The pages /login and /logout."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tries: OrderedDict[str, Allowance] = OrderedDict()

    async def show(self, request: Request) -> Response:
        """Shows the form."""
        return self._form(request.query_params.get("next", "/"))

    async def enter(self, request: Request) -> Response:
        """Begins a session, under a new secret whatever cookie came with the request."""
        form = await request.form(max_files=0)
        name, password, after = (str(form.get(key, "")) for key in ("name", "password", "next"))
        if not is_own_form(request, form, None):
            return self._form(after, _FORGED, 403)
        address = request.client.host if request.client else ""
        if not all([self._may_try(f"name {name}"), self._may_try(f"address {address}")]):
            return self._form(after, _TOO_MANY, 429)
        accounts = self._console.accounts
        secret = await to_thread.run_sync(accounts.log_in, name, password, address)
        if secret is None:
            return self._form(after, _WRONG, 401)
        answer = RedirectResponse(own_path(after), 303)
        set_session(answer, request, secret)
        return answer

    async def leave(self, request: Request) -> Response:
        """Ends the session."""
        accounts = self._console.accounts
        visitor = await visitor_of_session(accounts, request)
        answer = RedirectResponse("/login", 303)
        if visitor is None:
            return answer
        if not is_own_form(request, await request.form(max_files=0), visitor):
            return self._form("/", _FORGED, 403)
        await to_thread.run_sync(accounts.log_out, visitor.secret)
        set_session(answer, request, "")
        return answer

    def _form(self, after: str, why: str = "", status: int = 200) -> Response:
        return render("login.html", status, after=own_path(after), why=why)

    def _may_try(self, who: str) -> bool:
        tries = self._tries.setdefault(who, Allowance(_BURST, _PER_MINUTE / 60))
        self._tries.move_to_end(who)
        if len(self._tries) > _MOST:
            self._tries.popitem(last=False)
        return tries.take(utc_now())
