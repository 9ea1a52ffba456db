"""Commands with words below them: `opt-outs add`, `quarantine retry`."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from receiver.cli.exit_status import Failed


class ListByDefault(TyperGroup):
    """Without one of its words, a group lists."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Puts `list` first, unless another word or --help stands there."""
        if not args and ctx.resilient_parsing:  # a shell asks which words there are
            return super().parse_args(ctx, args)
        first = args[0] if args else ""
        if first not in self.commands and first not in ctx.help_option_names:
            args = ["list", *args]
        return super().parse_args(ctx, args)


def one_or_all(id_: int | None, *, every: bool) -> int | None:
    """The id to retry, or None for all; exactly one of the two must be given."""
    if (id_ is None) != every:
        raise typer.BadParameter("expected an ID or --all")
    return id_


def report(changed: int, failures: list[str], done: str) -> None:
    """Says what a command did. Raises `Failed` with what it could not do."""
    if changed or not failures:
        print(f"{changed} {done}")
    if failures:
        raise Failed(*failures)
