"""`receiver doctor`."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlsplit

import typer

from receiver.cli import screen
from receiver.cli.options import ConfigFile, Json
from receiver.cli.preparing import prepare
from receiver.doctor import Case, Finding, Level, examine
from receiver.text.escape import visible

_COLOURS = {Level.GREEN: 32, Level.YELLOW: 33, Level.RED: 31}
_WIDTH = max(len(level) for level in Level)


def command(
    *,
    outside: Annotated[
        str | None,
        typer.Option("--from-outside", metavar="URL", help="Our URL as providers have it."),
    ] = None,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Reads the whole store; takes minutes if it is big.")
    ] = False,
    json: Json = False,
    config: ConfigFile = None,
) -> int:
    """Looks at the whole installation: what is well, and what to do.

    Changes nothing, with the service running or not. The exit status is 1 if anything is red.
    """
    if outside is not None and not _is_url(outside):
        expected = "an address such as https://sms.example.com"
        raise typer.BadParameter(f"--from-outside: expected {expected}, got {outside!r}")
    case = Case(prepare(config), thorough=thorough, outside=outside)
    show: Callable[[Finding], None] = _json_line if json else _line
    counts = asyncio.run(_examine(case, show))
    if not json:
        print(", ".join(f"{counts[level]} {level}" for level in Level))
    return 1 if counts[Level.RED] else 0


async def _examine(case: Case, show: Callable[[Finding], None]) -> Counter[Level]:
    counts: Counter[Level] = Counter()
    async for finding in examine(case):
        show(finding)
        counts[finding.level] += 1
    return counts


def _json_line(finding: Finding) -> None:
    screen.json_lines([finding])


def _line(finding: Finding) -> None:
    level = f"{finding.level:<{_WIDTH}}"
    if sys.stdout.isatty():
        level = f"\x1b[{_COLOURS[finding.level]}m{level}\x1b[0m"
    print(f"{level}  {visible(f'{finding.check}: {finding.found}')}", flush=True)
    if finding.do:
        print(f"{'':<{_WIDTH}}  → {visible(finding.do)}", flush=True)


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
