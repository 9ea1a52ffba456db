"""`receiver forget`."""

from __future__ import annotations

from typing import Annotated

import typer

from receiver.cli import output
from receiver.cli.exit_status import print_errors
from receiver.cli.options import ConfigFile, Json, MsisdnArgument
from receiver.cli.parts import perform, prepare
from receiver.errors import Failed
from receiver.events import utc_now
from receiver.service.commands import Forget
from receiver.service.forget import NOT_REACHED
from receiver.service.numbers import parse_msisdn
from receiver.views.times import full_time


def command(
    msisdn: MsisdnArgument,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Delete also a person with an active subscription.")
    ] = False,
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Deletes all data about a person, and prints a receipt.

    Opt-outs stay, without the number, so that the person is not messaged again.
    """
    parts = prepare(config)
    number = parse_msisdn(msisdn, parts.config)
    outcome = perform(parts, Forget(number, force))
    if outcome.failures and not outcome.changed and not force:
        hint = "end that first, or the person may be charged unseen; --force deletes all the same"
        raise Failed(*[f"{number}: {failure}" for failure in outcome.failures], hint)
    if json:
        receipt = {"msisdn": number, "time": utc_now(), "gone": outcome.counts}
        output.json_lines([{**receipt, "left": outcome.failures, "not_reached": NOT_REACHED}])
    elif not outcome.changed and not outcome.failures:
        output.line(f"{number}: nothing was stored about this number")
    else:
        output.line(f"{number} is forgotten, {full_time(utc_now())}")
        output.details((kind, f"{count:,}") for kind, count in outcome.counts.items())
        for line in NOT_REACHED:
            output.line(f"not reached: {line}")
    if outcome.failures:
        print_errors(outcome.failures)
        raise Failed("not everything is deleted yet")
