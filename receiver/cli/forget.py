"""`receiver forget`."""

from __future__ import annotations

from typing import Annotated

import typer

from receiver.cli import screen
from receiver.cli.exit_status import Failed, say
from receiver.cli.options import ConfigFile, Json, person_or_fail
from receiver.cli.preparing import perform, prepare
from receiver.events import utc_now
from receiver.service.commands import Forget

_REST = (
    "backups that were made before, and what was forwarded or logged elsewhere, still have it",
    "the provider has its own records",
)


def command(
    msisdn: Annotated[
        str, typer.Argument(metavar="MSISDN", help="+254712345678, 254712345678 or 0712345678")
    ],
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Also somebody who is subscribed to something.")
    ] = False,
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Lets go of all that is about a person, and prints a receipt.

    Their opt-outs stay, without the number, so that they are not messaged again.
    """
    parts = prepare(config)
    number = person_or_fail(msisdn, parts.config)
    outcome = perform(parts, Forget(number, force))
    if outcome.failures and not outcome.changed and not force:
        hint = "end that first, or they may be charged unseen; --force forgets them all the same"
        raise Failed(*[f"{number}: {failure}" for failure in outcome.failures], hint)
    if json:
        receipt = {"msisdn": number, "time": utc_now(), "gone": outcome.counts}
        screen.json_lines([{**receipt, "left": outcome.failures, "not_reached": _REST}])
    else:
        screen.line(f"{number} is forgotten, {screen.time(utc_now())} UTC")
        screen.details((what, f"{count:,}") for what, count in outcome.counts.items())
        for line in _REST:
            screen.line(f"not reached: {line}")
    if outcome.failures:
        say(outcome.failures)
        raise Failed("not everything is gone yet")
