"""Commands with subcommands: `opt-outs add`, `quarantine retry`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from receiver.errors import Failed

if TYPE_CHECKING:
    from receiver.service.commands import Outcome


class ListByDefault(TyperGroup):
    """A group of subcommands that runs `list` when none is named."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Writes the help of the group, and that of `list`, whose options it takes as well."""
        super().format_help(ctx, formatter)
        default = self.commands["list"]
        default.format_help(type(ctx)(default, info_name="list", parent=ctx), formatter)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Inserts `list`, unless the first argument is a subcommand or --help."""
        if not args and ctx.resilient_parsing:  # a shell asks for the subcommands
            return super().parse_args(ctx, args)
        first = args[0] if args else ""
        if first not in self.commands and first not in ctx.help_option_names:
            args = ["list", *args]
        return super().parse_args(ctx, args)


def one_or_all(id_: int | None, *, every: bool) -> int | None:
    """Returns the id to retry, or None for all; exactly one of the two must be given."""
    if (id_ is None) != every:
        raise typer.BadParameter("expected an ID or --all")
    return id_


def report_outcome(outcome: Outcome, done: str) -> None:
    """Prints how much a command changed. Raises `Failed` with what it could not do."""
    if outcome.changed or not outcome.failures:
        print(f"{outcome.changed} {done}")
    if outcome.failures:
        raise Failed(*outcome.failures)
