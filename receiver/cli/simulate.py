"""`receiver simulate`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Annotated, Any

import httpx2
import typer

from receiver.cli import output
from receiver.cli.options import ConfigFile, load, named_values
from receiver.config import Config, StoreAddress
from receiver.errors import ConfigError, Failed, Fault, StoreError
from receiver.events import utc_now
from receiver.http.redact import address, masked
from receiver.providers import Provider, Registry, Sample, create, known
from receiver.store import open_reader
from receiver.text.urls import is_http_url


def command(
    provider: Annotated[
        str, typer.Argument(help="The provider to imitate; `receiver providers` lists them.")
    ],
    kind: Annotated[
        str, typer.Argument(help="The kind of push; `receiver providers show NAME` lists them.")
    ],
    *,
    url: Annotated[
        str | None,
        typer.Option(help="Address of the service. Default: server.host and server.port."),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Set a field of the payload; may be given several times.",
        ),
    ] = None,
    repeat: Annotated[int, typer.Option(min=1, help="Send this many pushes, each a new one.")] = 1,
    duplicate: Annotated[
        bool,
        typer.Option(
            "--duplicate", help="Send each push twice, as a provider does that missed the answer."
        ),
    ] = False,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The source to push to. Default: the first of the provider."
        ),
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Sends a realistic push to a running service, and shows the request and the answer.

    The push has the source's own credential, so the service stores it as an event and answers it.
    """
    settings = load(config)
    _check(known(settings), provider, kind)
    name, pushing = _source(settings, provider, source)
    fields = named_values(values, "--set FIELD=VALUE", may_be_empty=True)
    base = _base(url, settings)
    refused = 0
    # Proxies of the environment are not used, its certificates are.
    verify = httpx2.create_ssl_context() if base.startswith("https:") else True
    with httpx2.Client(timeout=30, trust_env=False, verify=verify) as client:
        for n in range(repeat):
            sample = make_push(pushing, kind, fields, utc_now() + timedelta(microseconds=n))
            for _ in range(2 if duplicate else 1):
                with _notes(settings, sample):
                    refused += not _send(
                        client, f"{base}/hooks/{name}{sample.path}", sample, pushing
                    )
    if refused:
        raise Failed(f"{refused} of {repeat * (2 if duplicate else 1)} pushes were not taken")


def _base(url: str | None, settings: Config) -> str:
    if url is None:
        if not settings.server.port:
            raise typer.BadParameter(
                "server.port is 0, which means any free port: name the one in use with --url"
            )
        return address(settings.server)
    if not is_http_url(url):
        raise typer.BadParameter(f"expected --url http://HOST:PORT, got {url!r}")
    return url.rstrip("/")


def make_push(provider: Provider[Any], kind: str, fields: dict[str, str], now: datetime) -> Sample:
    """Returns a push with the credential of its source."""
    values = {**provider.fresh_values(kind, now.astimezone(provider.timezone)), **fields}
    tokens = provider.source.tokens
    secret = tokens[0].reveal() if tokens else ""
    return provider.signed(provider.sample(kind, secret, provider.with_credential(values)), now)


def _check(providers: Registry, name: str, kind: str) -> None:
    provider = providers.get(name)
    if provider is None:
        raise typer.BadParameter(providers.unknown(name))
    if not provider.pushes:
        raise typer.BadParameter(f"{name} pushes nothing")
    if kind not in provider.sample_kinds:
        raise typer.BadParameter(
            f"{name} pushes one of {', '.join(provider.sample_kinds)}; got {kind!r}"
        )


def _source(settings: Config, provider: str, wanted: str | None) -> tuple[str, Provider[Any]]:
    for name, made in create(settings).items():
        if made.name == provider and wanted in (None, name):
            return name, made
    key = f"sources.{wanted}" if wanted else "sources"
    raise ConfigError([Fault(key, f"no such source of provider {provider}")], str(settings.file))


@contextmanager
def _notes(settings: Config, sample: Sample) -> Iterator[None]:
    """Shows the notes on the push that is sent in the block, such as why it got no reply.

    They are in the store, which a service on another machine has there.
    """
    store = settings.store_address
    before = asyncio.run(_last(store))
    yield
    if before is not None:
        for note in asyncio.run(_notes_after(store, before, sample)):
            output.line(f"  note: {note}")


async def _last(store: StoreAddress) -> int | None:
    """Returns the last sequence number in the store; None if it cannot be read."""
    try:
        async with open_reader(store) as reader:
            return await reader.last_seq()
    except StoreError:
        return None


async def _notes_after(store: StoreAddress, seq: int, sample: Sample) -> list[str]:
    """Returns the notes on the events after `seq` that were made of this push."""
    try:
        async with open_reader(store) as reader:
            sent = sample.path.partition("?")[2].encode(), sample.body
            found = reader.events(after=seq, noted=True, request=True)
            return [
                stored.note
                async for stored in found
                if stored.note and stored.request
                if (stored.request.query, stored.request.body) == sent
            ]
    except StoreError:
        return []


def _send(client: httpx2.Client, url: str, sample: Sample, provider: Provider[Any]) -> bool:
    """Sends a push and shows request and answer, without the credential."""
    secrets = [token.reveal() for token in provider.source.tokens]
    try:
        request = client.build_request(
            sample.method, url, headers=sample.headers, content=sample.body
        )
    except (httpx2.InvalidURL, ValueError) as error:
        raise typer.BadParameter(f"--url: {error}") from None
    output.line(f"→ {sample.method} {masked(str(request.url), secrets)}")
    for name, value in sample.headers.items():
        output.line(f"  {name}: {masked(value, secrets)}")
    if sample.body:
        output.line(f"  {masked(sample.body.decode(), secrets)}")
    try:
        began = time.perf_counter()
        response = client.send(request)
    except httpx2.HTTPError as error:
        reason = str(error) or type(error).__name__
        base = url.partition("/hooks/")[0]
        raise Failed(f"{base}: {reason}; is the service running?") from None
    taken = (time.perf_counter() - began) * 1000
    output.line(f"← {response.status_code} in {taken:.1f} ms")
    output.line(f"  {response.text.strip()}")
    return response.is_success
