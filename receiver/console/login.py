"""Logs people in and out. Tries are limited by name and by address, and noted in the audit."""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import ip_network

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from receiver.console.access import is_own_form, own_path, set_session, visitor_of_session
from receiver.console.forms import form_of
from receiver.console.web import Console, render
from receiver.events import utc_now
from receiver.limits import Allowance

#: Wrong tries at once, and a minute. A name has more of them than an address: nobody locks
#: somebody else out from one address.
_OF_ADDRESS, _OF_NAME = 5, 20
#: Names and addresses that are remembered.
_MOST = 10_000
#: Passwords that are checked at the same time: each takes 64 MiB for as long.
_AT_ONCE = 2
_WRONG = "The name or the password is wrong."
_TOO_MANY = "Too many tries. Wait a minute, then try again."
_FORGED = "The form came from another page. Load this page again."


class Login:
    """The pages /login and /logout."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._addresses = Tries(_OF_ADDRESS)
        self._names = Tries(_OF_NAME)
        self._checking = CapacityLimiter(_AT_ONCE)

    async def show(self, request: Request) -> Response:
        """Shows the form."""
        return self._form(request.query_params.get("next", "/"))

    async def enter(self, request: Request) -> Response:
        """Begins a session, under a new secret whatever cookie came with the request."""
        form = await form_of(request)
        name, password, after = (str(form.get(key, "")) for key in ("name", "password", "next"))
        if not is_own_form(request, form, None):
            return self._form(after, _FORGED, 403)
        address = request.client.host if request.client else ""
        network = _network(address)
        if not (self._addresses.take(network) and self._names.take(name)):
            return self._form(after, _TOO_MANY, 429)
        secret = await to_thread.run_sync(
            self._console.accounts.log_in, name, password, address, limiter=self._checking
        )
        if secret is None:
            return self._form(after, _WRONG, 401)
        self._addresses.forget(network)
        self._names.forget(name)
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
        if not is_own_form(request, await form_of(request), visitor):
            return self._form("/", _FORGED, 403)
        await to_thread.run_sync(accounts.log_out, visitor.secret)
        set_session(answer, request, "")
        return answer

    def _form(self, after: str, why: str = "", status: int = 200) -> Response:
        return render("login.html", status, after=own_path(after), why=why)


class Tries:
    """Counts the wrong tries of names or of addresses."""

    def __init__(self, most: int) -> None:
        """`most`: tries at once, and a minute."""
        self._most = most
        self._tries: OrderedDict[str, Allowance] = OrderedDict()

    def take(self, who: str) -> bool:
        """Counts a try. False if there were too many."""
        tries = self._tries.setdefault(who, Allowance(self._most, self._most / 60))
        self._tries.move_to_end(who)
        if len(self._tries) > _MOST:
            self._tries.popitem(last=False)
        return tries.take(utc_now())

    def forget(self, who: str) -> None:
        """Forgets the tries of somebody who knew the password."""
        self._tries.pop(who, None)


def _network(address: str) -> str:
    """Returns the address, or the network that a single customer has of IPv6."""
    return str(ip_network(f"{address}/64", strict=False)) if ":" in address else address
