"""`receiver doctor`."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from typing import Annotated

import typer

from receiver.cli import output
from receiver.cli.options import ConfigFile, Json
from receiver.cli.parts import prepare
from receiver.doctor import Finding, Installation, Level, examine
from receiver.text.escape import escape
from receiver.text.urls import is_http_url

_COLOURS = {Level.GREEN: 32, Level.YELLOW: 33, Level.RED: 31}
_WIDTH = max(len(level) for level in Level)


def command(
    *,
    outside: Annotated[
        str | None,
        typer.Option(
            "--from-outside",
            metavar="URL",
            help="Check also this public URL of the service, as providers have it.",
        ),
    ] = None,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Read the whole store; takes minutes if it is large.")
    ] = False,
    json: Json = False,
    config: ConfigFile = None,
) -> int:
    """Checks the whole installation, and says what to do about each problem.

    Changes nothing; the service may run or not. A line is green, yellow (works, but should be
    looked at) or red (does not work, or is not safe). The exit status is 1 if any line is red.
    """
    if outside is not None and not is_http_url(outside):
        expected = "an address such as https://sms.example.com"
        raise typer.BadParameter(f"--from-outside: expected {expected}, got {outside!r}")
    installation = Installation(prepare(config), thorough=thorough, outside=outside)
    counts = asyncio.run(_examine(installation, json=json))
    if not json:
        print(", ".join(f"{counts[level]} {level}" for level in Level))
    return 1 if counts[Level.RED] else 0


async def _examine(installation: Installation, *, json: bool) -> Counter[Level]:
    counts: Counter[Level] = Counter()
    async for finding in examine(installation):
        if json:
            output.json_lines([finding])
        else:
            _show(finding)
        counts[finding.level] += 1
    return counts


def _show(finding: Finding) -> None:
    level = f"{finding.level:<{_WIDTH}}"
    if sys.stdout.isatty():
        level = f"\x1b[{_COLOURS[finding.level]}m{level}\x1b[0m"
    print(f"{level}  {escape(f'{finding.check}: {finding.found}')}", flush=True)
    if finding.do:
        print(f"{'':<{_WIDTH}}  → {escape(finding.do)}", flush=True)
