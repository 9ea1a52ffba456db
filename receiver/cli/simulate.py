"""`receiver simulate`."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Annotated, Any

import httpx2
import typer

from receiver.cli import screen
from receiver.cli.exit_status import Failed
from receiver.cli.options import ConfigFile, load
from receiver.config import Config
from receiver.errors import ConfigError, Fault
from receiver.events import utc_now
from receiver.http.redact import address, masked
from receiver.providers import PROVIDERS, Provider, Sample, create

_PUSHING = {name: known for name, known in PROVIDERS.items() if known.pushes}
_KINDS = "; ".join(f"{name}: {', '.join(known.sample_kinds)}" for name, known in _PUSHING.items())


def command(
    provider: Annotated[str, typer.Argument(help=f"One of {', '.join(_PUSHING)}.")],
    kind: Annotated[str, typer.Argument(help=f"What to push. {_KINDS}")],
    *,
    url: Annotated[
        str | None, typer.Option(help="Where the service is; default: server.host and port.")
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="K=V", help="A field of the payload and its value."),
    ] = None,
    repeat: Annotated[int, typer.Option(min=1, help="So many pushes, each new.")] = 1,
    duplicate: Annotated[bool, typer.Option("--duplicate", help="Sends each push twice.")] = False,
    source: Annotated[
        str | None, typer.Option(help="As this source; default: the first of the provider.")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Sends a realistic push to a running service and shows the answer."""
    settings = load(config)
    _check(provider, kind)
    name, pushing = _source(settings, provider, source)
    fields = _fields(values or [])
    base = _base(url, settings)
    refused = 0
    with httpx2.Client(timeout=30, trust_env=False) as client:
        for n in range(repeat):
            sample = make(pushing, kind, fields, utc_now() + timedelta(microseconds=n))
            for _ in range(2 if duplicate else 1):
                refused += not _send(client, f"{base}/hooks/{name}{sample.path}", sample, pushing)
    if refused:
        raise Failed(f"{refused} of {repeat * (2 if duplicate else 1)} pushes were not taken")


def _base(url: str | None, settings: Config) -> str:
    if url is None:
        if not settings.server.port:
            raise typer.BadParameter("server.port is 0, any that is free: tell which with --url")
        return address(settings.server)
    if not url.startswith(("http://", "https://")):
        raise typer.BadParameter(f"expected --url http://HOST:PORT, got {url!r}")
    return url.rstrip("/")


def make(provider: Provider[Any], kind: str, fields: dict[str, str], now: datetime) -> Sample:
    """Makes a push that never was, with the credential of its source."""
    values = {**provider.fresh_values(kind, now.astimezone(provider.timezone)), **fields}
    tokens = provider.source.tokens
    secret = tokens[0].reveal() if tokens else ""
    return provider.sample(kind, secret, provider.with_credential(values))


def _check(name: str, kind: str) -> None:
    known = _PUSHING.get(name)
    if known is None:
        raise typer.BadParameter(f"expected one of {', '.join(_PUSHING)}; got {name!r}")
    if kind not in known.sample_kinds:
        raise typer.BadParameter(
            f"{name} pushes one of {', '.join(known.sample_kinds)}; got {kind!r}"
        )


def _source(settings: Config, provider: str, wanted: str | None) -> tuple[str, Provider[Any]]:
    for name, made in create(settings).items():
        if made.name == provider and wanted in (None, name):
            return name, made
    key = f"sources.{wanted}" if wanted else "sources"
    raise ConfigError([Fault(key, f"no such source of provider {provider}")], str(settings.file))


def _fields(pairs: list[str]) -> dict[str, str]:
    fields = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"expected --set NAME=VALUE, got {pair!r}")
        fields[name] = value
    return fields


def _send(client: httpx2.Client, url: str, sample: Sample, provider: Provider[Any]) -> bool:
    """Sends it and shows what went over the wire, without the credential."""
    secrets = [token.reveal() for token in provider.source.tokens]
    try:
        request = client.build_request(
            sample.method, url, headers=sample.headers, content=sample.body
        )
    except (httpx2.InvalidURL, ValueError) as error:
        raise typer.BadParameter(f"--url: {error}") from None
    screen.line(f"→ {sample.method} {masked(str(request.url), secrets)}")
    for name, value in sample.headers.items():
        screen.line(f"  {name}: {masked(value, secrets)}")
    if sample.body:
        screen.line(f"  {masked(sample.body.decode(), secrets)}")
    try:
        began = time.perf_counter()
        response = client.send(request)
    except httpx2.HTTPError as error:
        reason = str(error) or type(error).__name__
        base = url.partition("/hooks/")[0]
        raise Failed(f"{base}: {reason}; is the service running?") from None
    taken = (time.perf_counter() - began) * 1000
    screen.line(f"← {response.status_code} in {taken:.1f} ms")
    screen.line(f"  {response.text.strip()}")
    return response.is_success
