"""`receiver explain`."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
import typer

from receiver.cli import output
from receiver.cli.options import ConfigFile, Json
from receiver.cli.parts import prepare
from receiver.service.explain import Explained, explain
from receiver.views.explain import RULE_TITLES, outcome_pairs, rule_row


def command(
    text: Annotated[str, typer.Argument(help="The message, exactly as a person would type it.")],
    *,
    to: Annotated[
        str, typer.Option(metavar="ADDRESS", help="The short code or number of ours it is sent to.")
    ],
    from_: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="NUMBER", help="The sender. With it, opt-outs are looked up as well."
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The source it comes through. Default: the first configured one."
        ),
    ] = None,
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Shows which rule answers a message, and why the others do not.

    Changes nothing and sends nothing.
    """
    explained = asyncio.run(explain(prepare(config), text, to, from_, source))
    if json:
        output.json_lines(
            {"plugin": name, **msgspec.structs.asdict(rule)} for name, rule in explained.rules
        )
        output.json_lines([explained.outcome()])
        return
    _show(explained)


def _show(explained: Explained) -> None:
    rows = [rule_row(name, rule) for name, rule in explained.rules]
    output.table(RULE_TITLES, rows, if_empty="no plugin explains its rules")
    print()
    output.details(outcome_pairs(explained))
