"""`receiver call`, and what commands share that call a provider themselves."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, TypeVar

import msgspec
import typer

from receiver.cli import screen
from receiver.cli.exit_status import Failed
from receiver.cli.options import ConfigFile, load
from receiver.config import Config
from receiver.errors import ConfigError, Fault, ProviderError
from receiver.events import utc_now
from receiver.http.redact import masked
from receiver.jobs.channel import apis
from receiver.providers import Provider, create
from receiver.providers.contract import Api, Operation, Request
from receiver.text.escape import visible_json

T = TypeVar("T")


def command(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="The source whose account it is.")
    ],
    operation: Annotated[
        str | None, typer.Argument(metavar="OPERATION", help="What to call; see --list.")
    ] = None,
    values: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Its parameters.")
    ] = None,
    *,
    list_: Annotated[
        bool, typer.Option("--list", help="The operations, their parameters, what they do.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="JSON in one line.")] = False,
    config: ConfigFile = None,
) -> None:
    """Calls a provider's API directly.

    What it answers is printed as JSON. Operations that send do so at once, outside the outbox:
    opt-outs are not looked at, the service's rate is not kept, and the messages are not in
    `receiver messages`. To send a message, there is `receiver send`.
    """
    settings = load(config)
    api = sending(settings, create(settings), source)[source]
    known = api.operations()
    if list_:
        _list(known, json=json)
        return
    if operation not in known:
        got = f"; got {operation!r}" if operation is not None else ""
        raise typer.BadParameter(f"expected one of {', '.join(known)}, or --list{got}")
    request = _request(operation, known[operation], values or [])
    try:
        answer = asyncio.run(ask(api, request))
    except ProviderError as error:
        raise Failed(f"{told(source, api, error)}; {_then(error)}") from None
    _show(msgspec.json.encode(answer), json=json)


def sending(
    settings: Config, providers: dict[str, Provider[Any]], wanted: str | None = None
) -> dict[str, Api]:
    """The APIs of the sources that send, or of the one that is wanted; at least one.

    Raises `ConfigError`.
    """
    found = apis(settings, providers)
    if wanted in found:
        return {wanted: found[wanted]}
    if wanted is None and found:
        return found
    raise ConfigError([_missing(settings, wanted, list(found))], str(settings.file))


async def ask(api: Api, request: Request[T]) -> T:
    """Makes a request, over a connection of its own. Raises `ProviderError`."""
    from receiver.jobs.calling import open_caller  # loading HTTP takes a while

    async with open_caller(utc_now, api.send_settings) as caller:
        return await caller.perform(request)


def told(source: str, api: Api, error: ProviderError) -> str:
    """A provider's refusal in a line, without our key."""
    return f"{source}: {masked(str(error), [api.key])}"


def _missing(settings: Config, wanted: str | None, found: list[str]) -> Fault:
    """What stands in the way of sending."""
    if wanted is None:
        return Fault("sources", "none of them sends; add [sources.NAME.send] with its api_key")
    source = settings.sources.get(wanted)
    if source is None:
        others = f"those that send: {', '.join(found)}" if found else "none of the others sends"
        return Fault(f"sources.{wanted}", f"no such source; {others}")
    if source.send is None:
        return Fault(f"sources.{wanted}.send", "missing; add it with its api_key to send through")
    return Fault(f"sources.{wanted}.send", f"provider {source.provider} has no API to send through")


def _list(known: dict[str, Operation], *, json: bool) -> None:
    if json:
        screen.json_lines(
            {
                "operation": name,
                "required": operation.required,
                "optional": operation.optional,
                "summary": operation.summary,
            }
            for name, operation in known.items()
        )
        return
    rows = [(name, _expected(operation), operation.summary) for name, operation in known.items()]
    screen.table(("OPERATION", "PARAMETERS", "WHAT IT DOES"), rows, nothing="no operations")


def _expected(operation: Operation) -> str:
    return " ".join([*operation.required, *(f"[{name}]" for name in operation.optional)])


def _request(name: str, operation: Operation, pairs: list[str]) -> Request[Any]:
    parameters = _parameters(name, operation, pairs)
    try:
        return operation.make(parameters)
    except ProviderError as error:  # nothing has left yet
        raise typer.BadParameter(f"{name}: {error}") from None


def _parameters(name: str, operation: Operation, pairs: list[str]) -> dict[str, str]:
    takes = f"{name} takes {_expected(operation) or 'no parameters'}"
    given: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"expected KEY=VALUE, got {pair!r}; {takes}")
        if key not in operation.required + operation.optional:
            raise typer.BadParameter(f"{takes}; got {key!r}")
        if key in given:
            raise typer.BadParameter(f"{key} came twice; {takes}")
        given[key] = value
    missing = [key for key in operation.required if key not in given]
    if missing:
        raise typer.BadParameter(f"{takes}; missing {', '.join(missing)}")
    return given


def _then(error: ProviderError) -> str:
    """What somebody may do after an error."""
    if error.unknown:
        return "nobody knows whether it was done: look before you call again"
    if not error.retryable:
        return "nothing was done, and the same call will not work later"
    wait = f" after {error.retry_after:g} s" if error.retry_after else " later"
    return f"nothing was done, and the same call may work{wait}"


def _show(encoded: bytes, *, json: bool) -> None:
    if json:
        screen.json_line(encoded)
        return
    for line in msgspec.json.format(encoded).split(b"\n"):
        print(visible_json(line))
