"""`receiver fake`."""

from __future__ import annotations

import asyncio
import gc
import signal
from typing import Annotated

import msgspec
import typer
import uvloop

from receiver.cli import screen
from receiver.cli.options import UnusedConfigFile
from receiver.errors import ReceiverError
from receiver.fake import NAMES, Fake, Options, running
from receiver.fake.faults import ANSWERS, CALLBACKS

_DEFAULT = Options()
_KINDS = ", ".join(ANSWERS + CALLBACKS)


def command(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = _DEFAULT.host,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8090,
    key: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="A key that is right; default: all but `wrong`."),
    ] = None,
    callback: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=URL",
            help="Where a provider reports to that has the address in its portal.",
        ),
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SECRET", help="What a provider signs its reports with."),
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME:]KIND=SHARE",
            help=f"How often requests to send meet a fault, as tilil:timeout=0.1. {_KINDS}.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Makes faults repeat from run to run.")] = None,
    sent_after: Annotated[
        float, typer.Option(min=0, help="Seconds from queued to sent.")
    ] = _DEFAULT.sent_after,
    delivered_after: Annotated[
        float, typer.Option(min=0, help="Seconds from sent to delivered.")
    ] = _DEFAULT.delivered_after,
    jitter: Annotated[
        float, typer.Option(min=0, help="At most so many seconds more, each time.")
    ] = _DEFAULT.jitter,
    hang: Annotated[
        float, typer.Option(min=0, help="Seconds that a timeout holds a connection.")
    ] = _DEFAULT.hang,
    slow: Annotated[
        float, typer.Option(min=0, help="Seconds that a slow answer takes.")
    ] = _DEFAULT.slow,
    retry_after: Annotated[
        int, typer.Option(min=0, help="Seconds that a fault 429 asks to wait.")
    ] = _DEFAULT.retry_after,
    limits: Annotated[
        bool, typer.Option("--limits", help="Keeps documented limits of requests a minute.")
    ] = False,
    balance: Annotated[
        int, typer.Option(min=0, help="Credit at each provider, in parts of messages.")
    ] = _DEFAULT.balance,
    config: UnusedConfigFile = None,
) -> None:
    """Runs fake providers on one port, to try sending with.

    Prints what to set as send.url, and answers as the providers document until Ctrl-C. GET
    /control/sent has the accepted messages, /control/counts the counts; PUT /control/faults
    replaces the faults. Numbers that end in 0001 are invalid, in 0002 there is no credit, in
    0003 the person has opted out, in 0004 is not reached; of 0005 no more than sent is told.
    """
    options = Options(
        host=host,
        port=port,
        keys=tuple(key or ()),
        callbacks=_pairs("--callback", "NAME=URL", callback),
        secrets=_pairs("--secret", "NAME=SECRET", secret),
        faults=_faults(fault),
        seed=seed,
        sent_after=sent_after,
        delivered_after=delivered_after,
        jitter=jitter,
        hang=hang,
        slow=slow,
        retry_after=retry_after,
        limits=limits,
        balance=balance,
    )
    try:
        Fake(options)
    except ReceiverError as error:
        raise typer.BadParameter(str(error)) from None
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(options))


async def _serve(options: Options) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with running(options) as fake:
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)  # messages are no cycles: looking for these can wait
        width = max(map(len, NAMES))
        for name, url in fake.urls.items():
            screen.line(f"{name:<{width}}  {url}")
        await stopped.wait()


def _pairs(option: str, expected: str, given: list[str] | None) -> dict[str, str]:
    pairs = {}
    for pair in given or ():
        name, equals, value = pair.partition("=")
        if not (name and equals and value):
            raise typer.BadParameter(f"expected {option} {expected}, got {pair!r}")
        pairs[name] = value
    return pairs


def _faults(given: list[str] | None) -> dict[str, float]:
    pairs = _pairs("--fault", "[NAME:]KIND=SHARE", given)
    try:
        return msgspec.convert(pairs, dict[str, float], strict=False)
    except msgspec.ValidationError:
        raise typer.BadParameter("expected a share from 0 to 1, such as timeout=0.1") from None
