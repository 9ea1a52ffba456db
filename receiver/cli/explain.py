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
from receiver.views.times import full_time


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
    titles = ("PLUGIN", "RULE", "VERDICT", "WHY", "REPLY")
    rows = [(name, e.rule, e.verdict, e.why, e.reply) for name, e in explained.rules]
    output.table(titles, rows, if_empty="no plugin explains its rules")
    print()
    later = ", ".join(explained.later)
    reply = "none now, perhaps later" if later else "none"
    if explained.reply is not None:
        reply = f"{explained.reply!r} by {explained.replied_by}"
    if since := explained.withheld_since:
        reply = f"{reply}, but withheld: the sender opted out on {full_time(since)}"
    pairs = (("keyword", explained.keyword), ("reply", reply), ("called later", later or None))
    output.details(pairs)
