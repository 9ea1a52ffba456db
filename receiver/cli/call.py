"""`receiver call`."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
import typer

from receiver.cli import output
from receiver.cli.options import ConfigFile, load
from receiver.errors import Failed, ProviderError
from receiver.providers import create
from receiver.providers.contract import Operation, Request
from receiver.service.provider_calls import call_once, error_text, sending_apis
from receiver.text.escape import escape_json


def command(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="The source whose account is used.")
    ],
    operation: Annotated[
        str | None, typer.Argument(metavar="OPERATION", help="The operation to call; see --list.")
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="The parameters of the operation."),
    ] = None,
    *,
    list_: Annotated[
        bool, typer.Option("--list", help="List the operations with their parameters.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print the answer as one line of JSON.")
    ] = False,
    config: ConfigFile = None,
) -> None:
    """Calls a provider's API directly.

    Prints the answer as JSON. An operation that sends does so at once, outside the outbox: opt-outs
    and the source's rate are not respected, and the message is not in `receiver messages`. To send
    a message, use `receiver send`.
    """
    settings = load(config)
    api = sending_apis(settings, create(settings), source)[source]
    known = api.operations()
    if list_:
        _list(known, json=json)
        return
    if operation not in known:
        got = f"; got {operation!r}" if operation is not None else ""
        raise typer.BadParameter(f"expected one of {', '.join(known)}, or --list{got}")
    request = _request(operation, known[operation], values or [])
    try:
        answer = asyncio.run(call_once(api, request))
    except ProviderError as error:
        raise Failed(f"{source}: {error_text(api, error)}; {_advice(error)}") from None
    _show(msgspec.json.encode(answer), json=json)


def _list(known: dict[str, Operation], *, json: bool) -> None:
    if json:
        output.json_lines(
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
    output.table(("OPERATION", "PARAMETERS", "WHAT IT DOES"), rows, if_empty="no operations")


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


def _advice(error: ProviderError) -> str:
    """Returns what happened, and whether to call again."""
    if error.unknown:
        return "it is not known whether it was done: check that before you call again"
    if not error.retryable:
        return "nothing was done, and the same call will not work later"
    wait = f" after {error.retry_after:g} s" if error.retry_after else " later"
    return f"nothing was done, and the same call may work{wait}"


def _show(encoded: bytes, *, json: bool) -> None:
    if json:
        output.json_line(encoded)
        return
    for line in msgspec.json.format(encoded).split(b"\n"):
        print(escape_json(line))
