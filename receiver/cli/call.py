"""`receiver call`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import closing
from typing import Annotated, Any

import msgspec
import typer

from receiver.cli import output
from receiver.cli.exit_status import print_errors
from receiver.cli.options import ConfigFile, confirm, load
from receiver.cli.values import STDIN, named, read_value
from receiver.config import Config
from receiver.errors import Failed, ProviderError
from receiver.http.redact import masked
from receiver.providers import create
from receiver.providers.contract import Api, Operation, Partly, Request, Response
from receiver.service.provider_calls import call_once, error_text, sending_apis
from receiver.store.people import StoredPeople
from receiver.text.escape import escape_json

#: Answers that say no more than yes: they are shown in words.
_YES: tuple[object, ...] = ("1", "", [])
#: Parameters that name the sender.
_SENDERS = ("sender_name", "sender_id", "sender", "SourceAddress")
#: Numbers of people that are shown.
_SHOWN = 20
_NOT_AGAIN = "check what was done before you call again: whoever has the message would get it twice"


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
    raw: Annotated[
        bool, typer.Option("--raw", help="Print the answer as it came, such as a report in CSV.")
    ] = False,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes",
            help="Do not ask before an operation that deletes, or sends to people who opted out.",
        ),
    ] = False,
    config: ConfigFile = None,
) -> None:
    """Calls a provider's API directly.

    Prints the answer as JSON. KEY=@FILE reads a value from a file and KEY=- from stdin, such as a
    password; KEY=@@TEXT is a text that begins with @. Operations and parameters may be written as
    in the provider's documentation.

    An operation that sends does so at once, outside the outbox: the source's rate is not respected,
    and the message is not in `receiver messages`. Before it sends to people who have opted out it
    asks; whom a list or group at the gateway has is not known. To send a message, use `receiver
    send`. If the call was done for some numbers only, the exit status is 1.
    """
    if json and raw:
        raise typer.BadParameter("expected --json or --raw, got both")
    settings = load(config)
    api = sending_apis(settings, create(settings), source)[source]
    known = api.operations()
    if list_:
        _list(known, json=json)
        return
    name = named(operation or "", known)
    if name is None:
        got = f"; got {operation!r}" if operation is not None else ""
        raise typer.BadParameter(f"expected one of {', '.join(known)}, or --list{got}")
    chosen = known[name]
    parameters = _parameters(name, chosen, values or [])
    request = _request(name, chosen, parameters)
    _confirm_if_needed(settings, api, chosen, parameters, yes=yes)
    came: list[Response] = []
    try:
        answer = asyncio.run(call_once(api, _kept(request, came)))
    except ProviderError as error:
        advice = _advice(error, reads=chosen.reads)
        raise Failed(f"{source}: {error_text(api, error)}; {advice}") from None
    finally:
        if raw and came:
            output.as_it_came(came[0].body, [api.key])
    partly = answer if isinstance(answer, Partly) else None
    if not raw:
        _show(chosen, answer if partly is None else partly.answer, json=json)
    if partly is not None:
        words = masked(partly.words, [api.key])
        raise Failed(f"{source}: done in part at most: {words}; {_NOT_AGAIN}")


def _confirm_if_needed(
    settings: Config, api: Api, chosen: Operation, given: Mapping[str, str], *, yes: bool
) -> None:
    """Asks before a call that deletes, or that sends to people who have opted out."""
    source = api.provider.source.provider
    if chosen.deletes and not yes:
        confirm(f"{source}: {chosen.summary} Go on?", "the operation deletes for good")
    if out := _opted_out(settings, api, chosen, given):
        shown = ", ".join(out[:_SHOWN]) + (" …" if len(out) > _SHOWN else "")
        warning = f"{len(out)} of its people have opted out: {shown}"
        if not yes:
            confirm(f"{source}: {warning}. Go on?", warning)
        print_errors([f"{source}: {warning}"])


def _opted_out(
    settings: Config, api: Api, operation: Operation, given: Mapping[str, str]
) -> list[str]:
    """Returns those people of a call that sends who must not be messaged."""
    if operation.recipients is None:
        return []
    sender = next((given[name] for name in _SENDERS if name in given), None)
    code = api.provider.address(sender) or api.own_sender
    about = {"short_code": code, "service_id": given.get("service_id")}
    numbers = dict.fromkeys(map(api.provider.person, operation.recipients(given)))
    with closing(StoredPeople(settings.store_address)) as people:
        return [number for number in numbers if people.has_opted_out(number, **about)]


def _kept(request: Request[Any], came: list[Response]) -> Request[Any]:
    """Returns the same request, which puts its answer into `came`."""

    def read(response: Response) -> Any:
        came.append(response)
        return request.read(response)

    return msgspec.structs.replace(request, read=read)


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


def _request(name: str, operation: Operation, parameters: Mapping[str, str]) -> Request[Any]:
    try:
        return operation.make(parameters)
    except ProviderError as error:  # nothing has left yet
        raise typer.BadParameter(f"{name}: {error}") from None


def _parameters(name: str, operation: Operation, pairs: list[str]) -> dict[str, str]:
    takes = f"{name} takes {_expected(operation) or 'no parameters'}"
    given: dict[str, str] = {}
    for pair in pairs:
        written, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"expected KEY=VALUE, got {pair!r}; {takes}")
        key = named(written, operation.required + operation.optional)
        if key is None:
            raise typer.BadParameter(f"{takes}; got {written!r}")
        if key in given:
            raise typer.BadParameter(f"{key} came twice; {takes}")
        given[key] = value
    if list(given.values()).count(STDIN) > 1:
        raise typer.BadParameter(f"expected one parameter from stdin (KEY={STDIN}) at most")
    missing = [key for key in operation.required if key not in given]
    if missing:
        raise typer.BadParameter(f"{takes}; missing {', '.join(missing)}")
    return {key: read_value(key, value) for key, value in given.items()}


def _advice(error: ProviderError, *, reads: bool) -> str:
    """Returns what happened, and whether to call again."""
    if error.unknown and reads:
        return "nothing was changed, and the same call can be made again"
    if error.unknown:
        return "it is not known whether it was done: check that before you call again"
    if not error.retryable:
        return "nothing was done, and the same call will not work later"
    wait = f"after {error.retry_after:g} s" if error.retry_after else "later"
    return f"nothing was done, and the same call may work {'tomorrow' if error.tomorrow else wait}"


def _show(operation: Operation, answer: object, *, json: bool) -> None:
    encoded = msgspec.json.encode(answer)
    if json:
        output.json_line(encoded)
    elif answer in _YES:
        output.line(operation.done)
    else:
        for line in msgspec.json.format(encoded).split(b"\n"):
            print(escape_json(line))
