"""Plays the examples of `[send]`: what leaves, and what the gateway's answer means."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

import msgspec

from receiver.config import Send, Source
from receiver.config.convert import Secret
from receiver.errors import Fault, ProviderError
from receiver.events import utc_now
from receiver.outgoing import OutgoingMessage
from receiver.providers.contract import Api, Balance, Parsed, Request, Response
from receiver.providers.described.examples import compared, told_by
from receiver.providers.described.grammar import Response as ExampleResponse
from receiver.providers.described.grammar import SendExample, Sending, Wire
from receiver.providers.described.paths import present

if TYPE_CHECKING:
    from receiver.providers.described.provider import Described

#: The api_key of examples.
KEY = "KEY"
_REFUSED = ("code", "words", "retryable", "unknown", "tomorrow", "opted_out", "link_invalid")


def play(described: type[Described]) -> Iterator[Fault]:
    """Yields what is wrong with the examples of sending."""
    sending = described.description.send
    if sending is None:
        return
    names: set[str] = set()
    for number, example in enumerate(sending.example):
        key = f"send.example[{number}]"
        if example.name in names:
            yield Fault(f"{key}.name", f"{example.name} is the name of another example")
        names.add(example.name)
        for below, said in _played(described, sending, example):
            yield Fault(f"{key}{below}", said)
    yield from _missing(sending)
    yield from _unseen(described, sending)


def request_of(api: Api, example: SendExample) -> Request[Any] | None:
    """Returns the request that an example makes; None for a call that there is not."""
    if example.message is not None:
        message = OutgoingMessage(**msgspec.structs.asdict(example.message))
        api.check(message)
        return api.send(message)
    if example.status_of is not None:
        return api.look_up(example.status_of, None)
    return api.balance()


def response_of(response: ExampleResponse) -> Response:
    """Returns the answer of the gateway in an example."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    body = response.body if response.json is None else json.dumps(response.json)
    return Response(
        status=response.status, headers=headers, body=body.encode(), received_at=utc_now()
    )


def api_of(described: type[Described], settings: Mapping[str, str]) -> Api | None:
    """Returns the API with the key and settings of an example; None without `[send]`."""
    if described.api is None or described.description.send is None:
        return None
    source_type, send_type = described.settings, described.send_settings
    known = described.description.send.settings
    given: dict[str, Any] = {
        name: Secret(text) if known[name].secret else text
        for name, text in settings.items()
        if name in known
    }
    send: Send = send_type(api_key=Secret(KEY), **given)
    source: Source = source_type(provider=described.name, authentication="none", send=send)
    return described.api(described(source), send)


def _played(
    described: type[Described], sending: Sending, example: SendExample
) -> Iterator[tuple[str, str]]:
    """Yields what is wrong with an example, by the key below it."""
    for name in example.settings.keys() - sending.settings.keys():
        yield f".settings.{name}", "unknown setting; expected one of send.settings"
    if (example.result is None) == (example.refused is None):
        yield ".result", "expected either a result or refused"
        return
    api = api_of(described, example.settings)
    assert api is not None
    try:
        request = request_of(api, example)
    except ProviderError as error:
        yield ".message", str(error)
        return
    if request is None:
        yield ".name", "expected a message, status_of with [send.status], or [send.balance]"
        return
    yield from _left(request, example.request)
    try:
        result = request.read(response_of(example.response))
    except ProviderError as error:
        yield from _refused(example, error)
    else:
        yield from _meant(example, result)


def _left(request: Request[Any], wire: Wire) -> Iterator[tuple[str, str]]:
    """Yields the parts of a request that are not as the example says."""
    url = wire.url + (f"?{urlencode(wire.query)}" if wire.query else "")
    wanted: dict[str, Any] = {"method": wire.method, "url": url}
    made: dict[str, Any] = {"method": request.method, "url": request.url}
    if wire.json is not None or not wire.form:
        wanted["json"], made["json"] = wire.json, _json(request.body)
    else:
        wanted["form"] = wire.form
        made["form"] = dict(parse_qsl(request.body.decode(), keep_blank_values=True))
    for name, value in wire.headers.items():
        wanted[f"headers.{name}"], made[f"headers.{name}"] = (
            value,
            request.headers.get(name.lower()),
        )
    yield from compared(".request", wanted, made)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body.decode()


def _refused(example: SendExample, error: ProviderError) -> Iterator[tuple[str, str]]:
    if example.refused is None:
        yield ".response", f"it is a refusal: {error}"
        return
    yield from compared(".refused", example.refused, {n: getattr(error, n) for n in _REFUSED})


def _meant(example: SendExample, result: object) -> Iterator[tuple[str, str]]:
    if example.result is None:
        yield ".response", "it is no refusal"
        return
    if isinstance(result, Parsed):
        told = told_by(result)
    elif isinstance(result, Balance):
        told = {"amount": result.amount, "unit": result.unit}
    else:
        told = msgspec.json.decode(msgspec.json.encode(result))
    yield from compared(".result", example.result, told)


def _missing(sending: Sending) -> Iterator[Fault]:
    """Yields the calls that no example makes."""
    calls = {"send": True, "send.status": sending.status, "send.balance": sending.balance}
    made = {_call(example) for example in sending.example}
    for call, there in calls.items():
        if there and call not in made:
            yield Fault(call, "no example: expected a [[send.example]] of each call")


def _unseen(described: type[Described], sending: Sending) -> Iterator[Fault]:
    """Yields the paths that no answer of an example has a value for."""
    assert described.api is not None
    calls = described.api.calls
    found: set[str] = set()
    for example in sending.example:
        reader = calls.readers.get(_call(example))
        if reader is None:
            continue
        said = reader.open(response_of(example.response))
        found |= {
            named.key
            for named in calls.read
            if named.key.startswith(f"{_call(example)}.answer.")
            for item in ([said.push.payload.root] if named.above else said.items)
            if present(named.get(item, said.push))
        }
    for named in calls.read:
        if named.key not in found:
            expected = "expected a path that one of them has a value for"
            yield Fault(named.key, f"no example has {named.text} in its response; {expected}")


def _call(example: SendExample) -> str:
    if example.message is not None:
        return "send"
    return "send.balance" if example.status_of is None else "send.status"
