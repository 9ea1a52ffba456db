"""Compiles `[send]` into an API, and its settings into the keys of `[sources.NAME.send]`."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from receiver.config import Send, Source
from receiver.config.convert import Secret
from receiver.errors import Fault
from receiver.providers.calls import Refusal
from receiver.providers.contract import Api
from receiver.providers.described import sending
from receiver.providers.described.calling import compile_call
from receiver.providers.described.compilation import Compilation
from receiver.providers.described.fields import compile_time, path_of
from receiver.providers.described.grammar import Description
from receiver.providers.described.push_grammar import Report
from receiver.providers.described.reports import Meaning
from receiver.providers.described.responses import compile_answer, compile_refusals
from receiver.providers.described.send_grammar import Sending, StatusAnswer
from receiver.providers.described.sending import MESSAGE_FIELDS, Calls, DescribedApi
from receiver.text.urls import is_http_url

_EVERY = frozenset(Send.__struct_encode_fields__)


def compile_api(faults: list[Fault], description: Description) -> type[DescribedApi] | None:
    """Returns the API of a description; None for one that does not send. Adds to `faults`."""
    send = description.send
    if send is None:
        return None
    found = Compilation(faults)
    if not is_http_url(send.url):
        found.fault("send.url", f"expected https:// and an address, got {send.url!r}")
    refusals = compile_refusals(found, send.refusals)
    meaning = _of_reports(description)
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
    found: Compilation, send: Sending, refusals: dict[str, Refusal], meaning: Meaning
) -> sending.SendCall:
    key, answer = "send.answer", send.answer
    id_ = found.path(f"{key}.id", answer.id)
    return sending.SendCall(
        caller=compile_call(
            found,
            "send",
            send,
            [*MESSAGE_FIELDS, *_fields(send)],
            basic=send.basic,
            unicode=send.unicode,
        ),
        reader=compile_answer(found, key, answer, refusals, id_ if answer.id else None),
        id=id_,
        to=found.path(f"{key}.to", answer.to),
        status=found.path(f"{key}.status", answer.status),
        parts=found.path(f"{key}.parts", answer.parts),
        cost=found.path(f"{key}.cost", answer.cost),
        balance=found.path(f"{key}.balance", answer.balance),
        meaning=meaning,
    )


def _status(
    found: Compilation, send: Sending, refusals: dict[str, Refusal], meaning: Meaning
) -> sending.StatusCall | None:
    call, key = send.status, "send.status.answer"
    if call is None:
        return None
    answer = call.answer
    own = answer.statuses != StatusAnswer(status="").statuses
    id_, status = answer.message_id, found.path(f"{key}.status", answer.status)
    return sending.StatusCall(
        caller=compile_call(
            found, "send.status", call, ["id", "to", *_fields(send)], basic=send.basic
        ),
        reader=compile_answer(found, key, answer, refusals, status),
        message_id=found.path(f"{key}.message_id", id_) if id_ is not None else None,
        to=found.path(f"{key}.to", answer.to),
        status=status,
        code=found.path(f"{key}.code", answer.code),
        reason=found.path(f"{key}.reason", answer.reason),
        time=found.path(f"{key}.time", path_of(answer.time)),
        read_time=compile_time(found, f"{key}.time", answer.time),
        meaning=Meaning.of(found, key, answer) if own else meaning,
    )


def _balance(
    found: Compilation, send: Sending, refusals: dict[str, Refusal]
) -> sending.BalanceCall | None:
    call, key = send.balance, "send.balance.answer"
    if call is None:
        return None
    amount = found.path(f"{key}.amount", call.answer.amount)
    return sending.BalanceCall(
        caller=compile_call(found, "send.balance", call, _fields(send), basic=send.basic),
        reader=compile_answer(found, key, call.answer, refusals, amount),
        amount=amount,
        currency=found.path(f"{key}.currency", call.answer.currency),
        unit=call.answer.unit,
    )


def _fields(send: Sending) -> list[str]:
    """Returns the fields that every template of `[send]` may have."""
    return ["key", *(f"setting.{name}" for name in send.settings)]


def _optional(send: Sending) -> list[str]:
    """Returns the optional fields of a message that its templates name."""
    written = repr(msgspec.to_builtins((send.path, send.headers, send.query, send.form, send.json)))
    names = ("sender", "service_id", "link_id")
    return [name for name in names if f"{{{name}}}" in written or f"{{{name}:" in written]


def _of_reports(description: Description) -> Meaning:
    """Returns the meaning that pushes give to words: that of the first `[report]`."""
    reports = description.report if isinstance(description.report, list) else [description.report]
    table = reports[0] if reports else Report(message_id="")
    return Meaning.of(Compilation(), "report", table)
