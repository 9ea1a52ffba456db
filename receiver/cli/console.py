"""`receiver console`: runs the web console; adds and removes its users and tokens."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from receiver.cli import output
from receiver.cli.options import ConfigFile, load
from receiver.errors import Failed
from receiver.service import users
from receiver.views.times import format_time, time_title

if TYPE_CHECKING:
    from receiver.console.accounts import Account, Accounts

group = typer.Typer(
    invoke_without_command=True, help="Runs the web console and HTTP API; manages its users."
)

NEEDED = (
    "the console needs the package argon2-cffi for its passwords (the extra `console` of"
    " sms-receiver): pip install argon2-cffi"
)


_Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
_Role = Annotated[
    Literal["viewer", "care", "operator", "admin"],
    typer.Option(
        help="viewer: lists with masked numbers; care: numbers, texts, send, opt out;"
        " operator: retry, replay, forget, audit; admin: users and tokens."
    ),
]


@group.callback()
def run(context: typer.Context, *, config: ConfigFile = None) -> None:
    """Runs the web console and HTTP API at console.listen until SIGTERM or Ctrl-C."""
    if find_spec("argon2") is None:
        raise Failed(NEEDED)
    if context.invoked_subcommand is None:
        from receiver.console.app import serve

        serve(load(config))


@group.command("add-user")
def add_user(name: _Name, *, role: _Role = "viewer", config: ConfigFile = None) -> None:
    """Adds a user, or gives one another role and password; reads it from the terminal or stdin."""
    from receiver.console.roles import Role

    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    with _accounts(config) as accounts:
        accounts.add_user(name, Role[role.upper()], password, users.caller())
    output.line(f"{name} may log in as {role}.")


@group.command("remove-user")
def remove_user(name: _Name, *, config: ConfigFile = None) -> None:
    """Removes a user and ends their sessions."""
    with _accounts(config) as accounts:
        accounts.remove_user(name, users.caller())


@group.command("users")
def list_users(*, config: ConfigFile = None) -> None:
    """Lists the users and their roles."""
    with _accounts(config) as accounts:
        _table(accounts.users(), "nobody can log in yet; `receiver console add-user`")


@group.command("add-token")
def add_token(name: _Name, *, role: _Role = "viewer", config: ConfigFile = None) -> None:
    """Adds a bearer token for the HTTP API and prints it: it is shown only now."""
    from receiver.console.roles import Role

    with _accounts(config) as accounts:
        output.line(accounts.add_token(name, Role[role.upper()], users.caller()))


@group.command("remove-token")
def remove_token(name: _Name, *, config: ConfigFile = None) -> None:
    """Removes a token."""
    with _accounts(config) as accounts:
        accounts.remove_token(name, users.caller())


@group.command("tokens")
def list_tokens(*, config: ConfigFile = None) -> None:
    """Lists the tokens and their roles."""
    with _accounts(config) as accounts:
        _table(accounts.tokens(), "no tokens; `receiver console add-token`")


@contextmanager
def _accounts(config: Path | None) -> Iterator[Accounts]:
    from receiver.console.accounts import open_accounts

    accounts = open_accounts(load(config))
    try:
        yield accounts
    finally:
        accounts.close()


def _table(found: list[Account], if_empty: str) -> None:
    rows = [
        (
            each.name,
            each.role.word,
            format_time(each.created_at),
            format_time(each.seen_at) if each.seen_at else None,
        )
        for each in found
    ]
    titles = ("NAME", "ROLE", time_title("ADDED"), time_title("LAST USED"))
    output.table(titles, rows, if_empty=if_empty)
