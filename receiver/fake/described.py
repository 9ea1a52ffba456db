"""The API of a gateway that is described: requests and answers are those of its examples.

A request is compared with the templates of `[send]`; one that is not as they say is answered 400
and told what was expected. A message gets the answer of the first example of sending, with an id of
its own; a number that is refused the example of that refusal. Reports are the examples of pushes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from receiver.config.convert import Secret, Url
from receiver.errors import Malformed
from receiver.events import DeliveryReport, utc_now
from receiver.fake.book import Message, RefusalReason, Refused
from receiver.fake.callbacks import Callback
from receiver.fake.matching import Incoming, Mismatch, values_in
from receiver.fake.provider import Call, FakeProvider, SharedState
from receiver.providers.described import Described
from receiver.providers.described.grammar import SendExample, Sending
from receiver.providers.described.samples import report_values

#: Words in the name of an example, or in the meaning of its code, by the reason of a refusal.
_WORDS = {
    "credit": ("credit", "balance", "fund"),
    "key": ("key", "credential", "password", "auth"),
    "number": ("number", "recipient", "msisdn"),
}
_METHODS = ("GET", "POST", "PUT", "DELETE")
#: The credential in samples, which is cut out of their URL.
_NONE = ""


class DescribedFake(FakeProvider):
    """The fake of a description."""

    numbers = re.compile(r"(?:\+|00)?[1-9][0-9]{7,14}")
    portal = True

    def __init__(self, described: type[Described], world: SharedState) -> None:
        super().__init__(world)
        assert described.api is not None
        assert described.description.send is not None
        self.name = described.name  # type: ignore[misc] # of one class for many providers
        self._described = described
        self._calls = described.api.calls
        self._success = _success(described.description.send)
        self._refusals = _refusals(described.description.send)
        self._reports = _reports(described)

    def routes(self) -> list[Route]:
        """Returns its address and every path below it."""
        return [
            self.route(path, self._answer_to, _METHODS, sends=self._sends)
            for path in ("", "/{rest:path}")
        ]

    def callback(self, message: Message) -> Callback | None:
        """Makes the push of the example that reports this status; None without one."""
        url = message.callback_url or self.options.callbacks.get(self.name)
        name = self._reports.get(message.status)
        if url is None or name is None:
            return None
        now, secret = utc_now(), self.options.secrets.get(self.name, "")
        local = now.astimezone(self._described.default_timezone)
        values = {
            **self._described.fresh_values(name, local),
            **report_values(self._described, name, message.id, message.to),
        }
        in_url = self._described.credentials.secret is None
        sample = self._described.sample(name, _NONE if in_url else secret, values)
        made = self._described(self._settings(url, secret))
        sample = made.signed(sample, now)
        return Callback(
            url=f"{url.rstrip('/')}{sample.path}",
            body=sample.body,
            headers={name.lower(): value for name, value in sample.headers.items()},
            method=sample.method,
        )

    def _settings(self, url: str, secret: str) -> Any:
        """Returns the settings of a source that this gateway pushes to."""
        type_ = self._described.settings
        given: dict[str, Any] = {}
        if secret and "signing_secrets" in type_.__struct_fields__:
            given = {"signing_secrets": [Secret(secret)], "public_url": Url(url)}
        return type_(provider=self.name, authentication="required", **given)

    def _sends(self, call: Call) -> bool:
        try:
            return "to" in values_in(self._calls.send.caller, self._incoming(call))
        except Mismatch:
            return False

    def _answer_to(self, call: Call) -> Response:
        request = self._incoming(call)
        mismatches = []
        for answer, known in (
            (self._status, self._calls.status),
            (self._balance, self._calls.balance),
            (self._send_one, self._calls.send),
        ):
            if known is None:
                continue
            try:
                values = values_in(known.caller, request)
            except Mismatch as mismatch:
                mismatches.append(str(mismatch))
                continue
            if not self.world.knows(values.get("key", "none")):  # the description sends none
                return self.refuse(self._refused("key", 401))
            return answer(call, values)
        return self.refuse(Response(f"{mismatches[-1]}\n", 400, media_type="text/plain"))

    def _send_one(self, call: Call, values: dict[str, str]) -> Response:
        try:
            message = self.accept(
                call,
                to=values.get("to", ""),
                text=values.get("text", ""),
                sender=values.get("sender"),
                service_id=values.get("service_id"),
                link_id=values.get("link_id"),
                callback_url=values.get("setting.callback_url"),
                blocks="blocked" in self._refusals,
            )
        except Refused as refused:
            return self._refused(_WHY[refused.why], 400)
        return self._with(self._success, message)

    def _status(self, call: Call, values: dict[str, str]) -> Response:
        message = self.book.find(self.name, values.get("id", ""))
        if message is None:
            return self.refuse(Response("no such message\n", 404, media_type="text/plain"))
        asked = [e for e in self._examples() if e.status_of is not None and e.result is not None]
        fitting = [e for e in asked if (e.result or {}).get("status") == message.status]
        return self._with((fitting or asked)[0], message)

    def _balance(self, call: Call, values: dict[str, str]) -> Response:
        for example in self._examples():
            if example.message is None and example.status_of is None and example.result:
                return _replaced(example, {})
        raise AssertionError("each call has an example")

    def _with(self, example: Any, message: Message) -> Response:
        """Returns the answer of an example, about another message."""
        told = (example.result or {}).get("message_id") or example.status_of
        new = {told: message.id} if told else {}
        if example.message is not None:
            old, to = example.message.to, f"+{message.to.removeprefix('+')}"
            new |= {old: to, old.removeprefix("+"): to.removeprefix("+")}
        return _replaced(example, new)

    def _refused(self, why: str, status: int) -> Response:
        example = self._refusals.get(why)
        if example is None:
            return Response(f"{why}\n", status, media_type="text/plain")
        return _replaced(example, {})

    def _examples(self) -> list[Any]:
        send = self._described.description.send
        assert send is not None
        return send.example

    def _incoming(self, call: Call) -> Incoming:
        scope = call.request.scope
        path = scope["raw_path"].decode("latin-1").removeprefix(f"/{self.name}")
        headers = dict(call.request.headers)
        return Incoming(call.request.method, path, scope["query_string"], headers, call.body)


_WHY = {
    RefusalReason.INVALID: "number",
    RefusalReason.CREDIT: "credit",
    RefusalReason.BLOCKED: "blocked",
}


def _reports(described: type[Described]) -> dict[str, str]:
    """Returns the example that reports each status; one report alone before several."""
    made = described(described.settings(provider=described.name, authentication="none"))
    alone: dict[str, str] = {}
    among: dict[str, str] = {}
    for name in described.sample_kinds:
        push = described.sample(name, "", {}).push(datetime(2100, 1, 1, tzinfo=UTC))
        [first, *others] = made.parse(push)
        if not isinstance(first, Malformed) and isinstance(first.data, DeliveryReport):
            (among if others else alone).setdefault(first.data.status, name)
    return among | alone


def _success(send: Sending) -> SendExample:
    """Returns the first example of a message that is taken."""
    return next(each for each in send.example if each.message and each.result is not None)


def _refusals(send: Sending) -> dict[str, SendExample]:
    """Returns an example of each refusal: `blocked`, `credit`, `key`, `number`."""
    found: dict[str, SendExample] = {}
    for each in send.example:
        if each.refused is None:
            continue
        meaning = send.refusals.get(str(each.refused.get("code")))
        said = f"{each.name} {meaning.meaning if meaning else ''}".lower()
        if each.refused.get("opted_out"):
            found.setdefault("blocked", each)
        for why, words in _WORDS.items():
            if any(word in said for word in words):
                found.setdefault(why, each)
    return found


def _replaced(example: SendExample, new: Mapping[str, str]) -> Response:
    """Returns the answer of an example, with other values for some texts in it."""
    answer = example.response
    if answer.json is not None:
        body = json.dumps(_tree(answer.json, new))
    elif new:
        every = "|".join(re.escape(text) for text in sorted(new, key=len, reverse=True))
        body = re.sub(rf"(?<!\w)(?:{every})(?!\w)", lambda found: new[found[0]], answer.body)
    else:
        body = answer.body
    kind = "application/json" if answer.json is not None else "text/plain"
    return Response(body, answer.status, dict(answer.headers), media_type=kind)


def _tree(value: Any, new: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _tree(each, new) for name, each in value.items()}
    if isinstance(value, list):
        return [_tree(each, new) for each in value]
    if isinstance(value, str):
        return new.get(value, value)
    return int(new[str(value)]) if type(value) is int and str(value) in new else value
