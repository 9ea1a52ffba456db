"""`receiver fake`."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
import typer
import uvloop

from receiver.cli import output
from receiver.cli.options import ConfigFile, known_providers, named_values
from receiver.errors import ReceiverError
from receiver.fake import Fake, Options, running
from receiver.fake.faults import ANSWERS, CALLBACKS
from receiver.providers import ProviderType

_DEFAULT = Options()
_KINDS = ", ".join(ANSWERS + CALLBACKS)


def command(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = _DEFAULT.host,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 means any free port.")
    ] = 8090,
    key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY", help="An api_key that is accepted. Default: every key but `wrong`."
        ),
    ] = None,
    callback: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=URL",
            help="URL to which a provider sends reports that has the URL in its portal.",
        ),
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SECRET", help="Secret with which a provider signs its reports."),
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME:]KIND=SHARE",
            help=f"Share of send requests with a fault, as tilil:timeout=0.1. Kinds: {_KINDS}.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Make the faults the same in each run.")] = None,
    sent_after: Annotated[
        float, typer.Option(min=0, help="Seconds from queued to sent.")
    ] = _DEFAULT.sent_after,
    delivered_after: Annotated[
        float, typer.Option(min=0, help="Seconds from sent to delivered.")
    ] = _DEFAULT.delivered_after,
    jitter: Annotated[
        float, typer.Option(min=0, help="Add up to this many seconds to each of these times.")
    ] = _DEFAULT.jitter,
    hang: Annotated[
        float,
        typer.Option(min=0, help="Seconds for which the fault timeout keeps a connection open."),
    ] = _DEFAULT.hang,
    slow: Annotated[
        float, typer.Option(min=0, help="Seconds that an answer with the fault slow takes.")
    ] = _DEFAULT.slow,
    retry_after: Annotated[
        int, typer.Option(min=0, help="Seconds to wait that an answer 429 asks for.")
    ] = _DEFAULT.retry_after,
    limits: Annotated[
        bool,
        typer.Option("--limits", help="Refuse more requests a minute than a provider documents."),
    ] = False,
    balance: Annotated[
        int, typer.Option(min=0, help="Credit at each provider; each part of a message costs 1.")
    ] = _DEFAULT.balance,
    provider: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A provider to serve; may be given several times. Default: every one that sends.",
        ),
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Runs fake providers on one port, to try sending without a provider.

    Prints the URL of each provider for send.url, and answers until Ctrl-C as the providers'
    documentation says. GET /control/sent returns the accepted messages, GET /control/counts the
    counts; PUT /control/faults replaces the faults. The last digits of a number choose the result:
    99901 invalid number, 99902 no credit, 99903 the person has opted out, 99904 not delivered,
    99905 sent and no further report.
    """
    options = Options(
        host=host,
        port=port,
        keys=tuple(key or ()),
        callbacks=named_values(callback, "--callback NAME=URL"),
        secrets=named_values(secret, "--secret NAME=SECRET"),
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
    providers = _providers(provider, config)
    try:
        Fake(options, providers)
    except ReceiverError as error:
        raise typer.BadParameter(str(error)) from None
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(options, providers))


def _providers(names: list[str] | None, config: Path | None) -> dict[str, ProviderType]:
    """Returns the providers to serve, by name; without names those that have no faults."""
    every = known_providers(config)
    if names is None:
        return {name: found for name in every if (found := every.find(name)) is not None}
    for name in names:
        if name not in every:
            raise typer.BadParameter(every.unknown(name), param_hint="--provider")
    return {name: every[name] for name in names}


async def _serve(options: Options, providers: Mapping[str, ProviderType]) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with running(options, providers) as fake:
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)  # messages are no cycles: looking for these can wait
        width = max(map(len, fake.urls))
        for name, url in fake.urls.items():
            output.line(f"{name:<{width}}  {url}")
        await stopped.wait()


def _faults(given: list[str] | None) -> dict[str, float]:
    pairs = named_values(given, "--fault [NAME:]KIND=SHARE")
    try:
        return msgspec.convert(pairs, dict[str, float], strict=False)
    except msgspec.ValidationError:
        raise typer.BadParameter("expected a share from 0 to 1, such as timeout=0.1") from None
