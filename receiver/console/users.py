"""The pages about users and tokens. Accounts are the console's own: no command changes them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import nullcontext
from functools import partial

from anyio import to_thread
from starlette.responses import Response

from receiver.console.accounts import Account, Accounts, Act
from receiver.console.filters import following
from receiver.console.lists import ListPage, Paging
from receiver.console.roles import Role, role_of
from receiver.console.web import Endpoint, Page, Visit
from receiver.errors import InvalidInput
from receiver.views.listing import Listing, json_fields
from receiver.views.times import format_time, time_title

_ROLES = [role.word for role in Role]


async def users(visit: Visit) -> Response:
    """Lists the users, each with what can be changed."""
    return await _page(visit, "users.html", visit.console.accounts.users)


async def tokens(visit: Visit) -> Response:
    """Lists the tokens of the HTTP API."""
    return await _page(visit, "tokens.html", visit.console.accounts.tokens)


async def _page(
    visit: Visit, template: str, find: Callable[[], list[Account]], secret: str = ""
) -> Response:
    found = await to_thread.run_sync(find)
    return visit.page(
        template,
        accounts=[(each, format_time(each.created_at), _used(each)) for each in found],
        titles=(time_title("ADDED"), time_title("LAST USED")),
        roles=_ROLES,
        secret=secret,
    )


def _used(account: Account) -> str:
    return format_time(account.seen_at) if account.seen_at else "never"


async def add_user(visit: Visit) -> Response:
    """Adds a user, or gives one another role and password."""
    password = visit.form.get("password") if visit.form else None  # with its spaces
    if not isinstance(password, str):
        raise InvalidInput("expected a password", "password")
    add, name = visit.console.accounts.add_user, visit.field("name")
    await to_thread.run_sync(add, name, _role(visit), password, visit.visitor.name)
    return visit.back("/users", "user")


async def set_role(visit: Visit) -> Response:
    """Gives a user another role."""
    change = visit.console.accounts.set_role
    await to_thread.run_sync(change, _name(visit), _role(visit), visit.visitor.name)
    return visit.back("/users", "role")


def changing(change: Callable[[Accounts, str, str], None], after: str, done: str) -> Endpoint:
    """Returns what changes the account in the path: takes its name, and who changes it."""

    async def endpoint(visit: Visit) -> Response:
        by = visit.visitor.name
        await to_thread.run_sync(change, visit.console.accounts, _name(visit), by)
        return visit.back(after, done)

    return endpoint


async def add_token(visit: Visit) -> Response:
    """Adds a token and shows its secret, this once."""
    accounts = visit.console.accounts
    name = visit.field("name")
    if not (name and name.isprintable() and len(name) <= 64):
        raise InvalidInput(f"expected a name of 1 to 64 visible characters, got {name!r}", "name")
    add = partial(accounts.add_token, name, _role(visit), visit.visitor.name)
    secret = await to_thread.run_sync(add)
    return await _page(visit, "tokens.html", accounts.tokens, secret)


def _name(visit: Visit) -> str:
    name: str = visit.request.path_params["name"]
    return name


def _role(visit: Visit) -> Role:
    role = role_of(visit.field("role"))
    if role is None:
        raise InvalidInput(f"expected one of {', '.join(_ROLES)}", "role")
    return role


async def _acts(
    accounts: Accounts, *, limit: int, before: int | None = None
) -> AsyncGenerator[Act]:
    for act in await to_thread.run_sync(accounts.acts, limit, before):
        yield act


def _details(act: Act) -> str:
    return ", ".join(f"{name} {value}" for name, value in act.details.items())


LOG = ListPage[Act](
    path="/users/log",
    title="Log",
    about="Logins, refused ones too, and changes of users and tokens. What people did to data is"
    " in the audit.",
    role=Role.ADMIN,
    filters=(following("before"),),
    times=(),
    listing=lambda _: Listing[Act](
        columns=("time", "who", "act", ("DETAILS", _details)),
        fields=json_fields,
        names=Act.__struct_fields__,
        if_empty="nobody has logged in",
    ),
    find=_acts,
    lend=lambda visit: nullcontext(visit.console.accounts),
    paging=Paging(key=lambda act: act.id, parameter="before", begin=lambda id_: str(id_ + 1)),
)
_REMOVE_USER = changing(Accounts.remove_user, "/users", "user-removed")
_END_SESSIONS = changing(Accounts.end_sessions, "/users", "sessions-ended")
_REMOVE_TOKEN = changing(Accounts.remove_token, "/tokens", "token-removed")
PAGES = (
    *LOG.pages(),
    Page("/users", Role.ADMIN, users),
    Page("/users", Role.ADMIN, add_user, "POST"),
    Page("/users/{name}/role", Role.ADMIN, set_role, "POST"),
    Page("/users/{name}/remove", Role.ADMIN, _REMOVE_USER, "POST"),
    Page("/users/{name}/end-sessions", Role.ADMIN, _END_SESSIONS, "POST"),
    Page("/tokens", Role.ADMIN, tokens),
    Page("/tokens", Role.ADMIN, add_token, "POST"),
    Page("/tokens/{name}/remove", Role.ADMIN, _REMOVE_TOKEN, "POST"),
)
