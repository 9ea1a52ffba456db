"""Compiles `[send]` into an API, and its settings into the keys of `[sources.NAME.send]`."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from receiver.config import Send, Source
from receiver.config.convert import Secret
from receiver.events import Status
from receiver.outgoing import Sent
from receiver.providers.calls import count, garbled
from receiver.providers.contract import Api, Balance, Parsed, Provider, Response
from receiver.providers.described.calling import compile_call
from receiver.providers.described.compilation import Compilation
from receiver.providers.described.fields import compile_time, path_of
from receiver.providers.described.grammar import Description, Refused, Report, Sending, Statuses
from receiver.providers.described.reports import Meaning
from receiver.providers.described.responses import compile_answer, compile_refusals
from receiver.providers.described.sending import MESSAGE_FIELDS, ApiCall, Calls, DescribedApi
from receiver.providers.payloads import as_id, as_word
from receiver.text.urls import is_http_url

_EVERY = frozenset(Send.__struct_encode_fields__)


def compile_api(pushes: Compilation, description: Description) -> type[DescribedApi] | None:
    """Returns the API of a description; None for one that does not send.

    A word means what it means in `pushes`, in the first `[report]`. Adds to their faults.
    """
    send = description.send
    if send is None:
        return None
    found = Compilation(pushes.faults)
    if not is_http_url(send.url):
        found.fault("send.url", f"expected https:// and an address, got {send.url!r}")
    refusals = compile_refusals(found, send.refusals)
    meaning = next(iter(pushes.meanings), None)
    if meaning is None:
        meaning = Meaning.of(Compilation(), "report", Report(message_id=""))
    calls = Calls(
        send=_send(found, send, refusals, meaning),
        status=_status(found, send, refusals, meaning),
        balance=_balance(found, send, refusals),
        settings={name: setting.default for name, setting in send.settings.items()},
        optional=tuple(_optional(send)),
        read=found.read,
    )
    attributes: dict[str, Any] = {
        "__doc__": f"Sends through {description.title}.",
        "__module__": DescribedApi.__module__,
        "base_url": send.url,
        "rate": send.rate,
        "bulk_rate": send.bulk_rate,
        "max_text": send.max_text,
        "needs_sender": send.needs_sender,
        "foreign_ids": send.foreign_ids,
        "polls": send.status is not None and not description.report,
        "calls": calls,
    }
    pushes.meanings += found.meanings
    # What an API does not do is as in the contract.
    if send.status is None:
        attributes["look_up"] = Api.look_up
    if send.balance is None:
        attributes["balance"] = Api.balance
    return type("Api", (DescribedApi,), attributes)


def settings_of(
    found: Compilation, description: Description, source: type[Source]
) -> tuple[type[Source], type[Send]]:
    """Returns the settings of a source and of its `send`, with those of the description's own."""
    if description.send is None or not description.send.settings:
        return source, Send
    fields: list[tuple[str, Any, Any]] = []
    for name, setting in description.send.settings.items():
        if name in _EVERY or not name.isidentifier():
            found.fault(f"send.settings.{name}", "expected the name of a key that no source has")
        else:
            fields.append((name, (Secret if setting.secret else str) | None, None))
    send = msgspec.defstruct("DescribedSend", fields, bases=(Send,), frozen=True, kw_only=True)
    own = [("send", send | None, None)]
    made = msgspec.defstruct("DescribedSource", own, bases=(source,), frozen=True, kw_only=True)
    return cast("type[Source]", made), cast("type[Send]", send)


def _send(
    found: Compilation, send: Sending, refusals: dict[str, Refused], meaning: Meaning
) -> ApiCall[Sent]:
    key, answer = "send.answer", send.answer
    names = [*MESSAGE_FIELDS, *_fields(send)]
    caller = compile_call(found, "send", send, names, basic=send.basic, unicode=send.unicode)
    id_ = found.path(f"{key}.id", answer.id)
    balance = found.path(f"{key}.balance", answer.balance)
    find = found.values(
        key, to=answer.to, status=answer.status, parts=answer.parts, cost=answer.cost
    )
    reader = compile_answer(found, key, answer, refusals, id_ if answer.id else None)

    def read(provider: Provider[Any], response: Response) -> Sent:
        said = reader.read(response)
        ids = [as_id(id_(item, said.push)) for item in said.items]
        to, word, parts, cost = find(said.first, said.push)
        person, status = as_word(to), meaning.status(as_word(word), None)
        told = count(parts)
        return Sent(
            message_id=ids[0],
            further_ids=tuple(filter(None, ids[1:])),
            to=provider.person(person) if person is not None else None,
            status=Status.QUEUED if status is Status.UNKNOWN else status,
            parts=len(ids) if told is None and answer.each is not None else told,
            cost=as_word(cost),
            balance=as_word(balance(said.items[-1], said.push)),
        )

    return ApiCall(caller, reader, read)


def _status(
    found: Compilation, send: Sending, refusals: dict[str, Refused], meaning: Meaning
) -> ApiCall[Parsed] | None:
    call, key = send.status, "send.status.answer"
    if call is None:
        return None
    answer = call.answer
    if answer.statuses != Statuses():
        meaning = Meaning.of(found, key, answer)
    names = ["id", "to", *_fields(send)]
    caller = compile_call(found, "send.status", call, names, basic=send.basic)
    status = found.path(f"{key}.status", answer.status)
    find = found.values(
        key,
        message_id=answer.message_id,
        to=answer.to,
        code=answer.code,
        reason=answer.reason,
        time=path_of(answer.time),
    )
    read_time = compile_time(found, f"{key}.time", answer.time)
    reader = compile_answer(found, key, answer, refusals, status)

    def read(
        provider: Provider[Any], response: Response, message_id: str, to: str | None
    ) -> Parsed:
        said = reader.read(response)
        id_, number, code, reason, time = find(said.first, said.push)
        told = as_word(id_) if answer.message_id is not None else message_id
        word = as_word(status(said.first, said.push))
        if told != message_id or word is None:
            raise garbled(response, f"the status of {message_id}")
        person = as_word(number) or to
        return meaning.event(
            message_id,
            word,
            as_word(code),
            read_time(provider, time, response.received_at),
            provider.person(person) if person is not None else None,
            reason=as_word(reason),
        )

    return ApiCall(caller, reader, read)


def _balance(
    found: Compilation, send: Sending, refusals: dict[str, Refused]
) -> ApiCall[Balance] | None:
    call, key = send.balance, "send.balance.answer"
    if call is None:
        return None
    answer = call.answer
    caller = compile_call(found, "send.balance", call, _fields(send), basic=send.basic)
    amount = found.path(f"{key}.amount", answer.amount)
    currency = found.path(f"{key}.currency", answer.currency)
    reader = compile_answer(found, key, answer, refusals, amount)

    def read(_: Provider[Any], response: Response) -> Balance:
        said = reader.read(response)
        credit = as_word(amount(said.first, said.push))
        if credit is None:
            raise garbled(response, "the credit")
        return Balance(amount=credit, unit=as_word(currency(said.first, said.push)) or answer.unit)

    return ApiCall(caller, reader, read)


def _fields(send: Sending) -> list[str]:
    """Returns the fields that every template of `[send]` may have."""
    return ["key", *(f"setting.{name}" for name in send.settings)]


def _optional(send: Sending) -> list[str]:
    """Returns the optional fields of a message that its templates name."""
    written = repr(msgspec.to_builtins((send.path, send.headers, send.query, send.form, send.json)))
    names = ("sender", "service_id", "link_id")
    return [name for name in names if f"{{{name}}}" in written or f"{{{name}:" in written]
