"""Text-Connect's API: one address, an Action, plain text as the answer; errors come with 200.

Its documentation does not print the columns of the reports, nor the names of some actions:
whatever asks with a BGSendID is answered about that background send.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from starlette.responses import Response
from starlette.routing import Route

from receiver.events import Status
from receiver.fake.book import Message, RefusalReason, Refused
from receiver.fake.provider import Call, FakeProvider, SharedState, answer_json, local
from receiver.fake.text_connect.address_book import AddressBook
from receiver.providers.text_connect.answers import REFUSALS

_LONDON = ZoneInfo("Europe/London")
_LONGEST = 459
_LONGEST_NAME = 11
_LONGEST_NUMBER = 15
_LONGEST_VALIDITY = 86400
_SENDS = 1000
_DETAILS = (
    *("ChildUsername", "ChildPassword", "AccessLevel"),
    *("FirstName", "LastName", "Email", "Credits"),
)
_COLUMNS = ("MessageID", "Destination", "Source", "Body", "Status", "Date")
#: ReportType: the statuses of the messages in it. There never are inbound ones.
_REPORTS = {
    "outbox": {Status.QUEUED},
    "messages": set(Status),
    "usage": set(Status),
    "inboundmessages": set[Status](),
    "failedmessages": {Status.FAILED, Status.UNDELIVERED, Status.REJECTED},
}

_WHY = {RefusalReason.INVALID: -401, RefusalReason.CREDIT: -100, RefusalReason.BLOCKED: -412}


class _Error(Exception):
    """One of the provider's codes, as the whole answer."""

    def __init__(self, code: int, *reasons: str) -> None:
        super().__init__(code)
        self.code = code
        self.reasons = reasons


class TextConnect(FakeProvider):
    """Text-Connect, of the United Kingdom."""

    name = "text-connect"
    numbers = re.compile(r"\+?[0-9]{9,15}")

    def __init__(self, world: SharedState) -> None:
        super().__init__(world)
        self._contacts = AddressBook()
        self._children: dict[str, int] = {}
        self._sends: OrderedDict[str, list[Message]] = OrderedDict()
        self._actions: dict[str, Callable[[Call], str]] = {
            "checkcredits": self._check_credits,
            "checkmessagestatus": self._check_status,
            "send": self._send_messages,
            "report": self._report,
            "createuser": self._create_user,
            "updatecredits": self._update_credits,
            "importcontactscsv": self._import,
            "deleteallcontacts": self._delete_contacts,
            "deleteallgroups": self._delete_groups,
            "emptygroup": self._empty_group,
            "deletegroup": self._delete_group,
        }

    def routes(self) -> list[Route]:
        """Returns the one path of all calls."""
        return [self.route("", self._act, ["GET", "POST"], sends=_is_send)]

    def _act(self, call: Call) -> Response:
        form = call.form
        try:
            if "bgsendid" in form and form.get("action", "").lower() not in self._actions:
                return self._background(form)
            return _text(self._action(form)(call))
        except _Error as error:
            shown = [_meaning(error.code)] if form.get("showerrormessage") else []
            answer = "\n".join([str(error.code), *error.reasons, *shown])
            return self.refuse(_text(answer))

    def _action(self, form: dict[str, str]) -> Callable[[Call], str]:
        """Carries out a request. Raises `_Error`."""
        self._check_token(form)
        action = self._actions.get(form.get("action", "").lower())
        if action is None:
            raise _Error(-502)
        return action

    def _check_token(self, form: dict[str, str]) -> None:
        if not self.world.knows(form.get("token")):
            raise _Error(-501)

    # Messages

    def _send_messages(self, call: Call) -> str:
        form = call.form
        sender, text = _checked(form)
        recipients, to_many = self._recipients(form)
        answers: list[str] = []
        errors: list[int] = []
        for to in recipients:
            try:
                message = self.accept(call, to=to, text=text, sender=sender, blocks=True)
            except Refused as refused:
                errors.append(_WHY[refused.why])
                answers.append(str(errors[-1]))
                continue
            count = message.parts if form.get("getallmessageids") == "1" else 1
            answers += map(str, range(message.number, message.number + count))
        if to_many and form.get("getbgsendid") == "1":
            return self._remembered(call.taken)
        if to_many:
            answers, errors = (["-400"], [-400]) if errors else (["1"], [])
        shown = [_meaning(code) for code in errors] if form.get("showerrormessage") else []
        return "\n".join([",".join(answers), *shown])

    def _recipients(self, form: dict[str, str]) -> tuple[list[str], bool]:
        """Returns the numbers, and True if they are a list or a group."""
        to = form.get("destinationaddress", "").strip()
        if to.lower() == "group" or "groupname" in form:
            numbers = self._contacts.of_group(form.get("groupname", ""))
            if numbers is None:
                raise _Error(-414)
            if not numbers:
                raise _Error(-409)
            return numbers, True
        if to.lower() == "list" or "listname" in form:
            if form.get("listname", "").lower() != "everybody":  # the one list there is
                raise _Error(-410)
            if not self._contacts.everybody:
                raise _Error(-408)
            return self._contacts.everybody, True
        return [number.strip() for number in to.split(",")], False

    def _remembered(self, messages: list[Message]) -> str:
        id_ = str(self.book.number())
        self._sends[id_] = messages
        if len(self._sends) > _SENDS:
            self._sends.popitem(last=False)
        return id_

    def _background(self, form: dict[str, str]) -> Response:
        self._check_token(form)
        messages = self._sends.get(form["bgsendid"])
        if messages is None:
            return self.refuse(answer_json({"error": "-521", "message": _meaning(-521)}))
        return answer_json(
            [
                {"MessageID": each.id, "Destination": each.to, "Status": _word(each)}
                for each in messages
            ]
        )

    def _check_credits(self, call: Call) -> str:
        return str(self.book.balances[self.name])

    def _check_status(self, call: Call) -> str:
        id_ = call.form.get("messageid", "").strip()
        message = self._message(int(id_)) if id_.isascii() and id_.isdecimal() else None
        if message is None:
            raise _Error(-503)
        return _word(message)

    def _message(self, number: int) -> Message | None:
        """Returns a message by the id of any of its parts."""
        for part in range(_LONGEST // 67 + 1):
            message = self.book.find(self.name, str(number - part))
            if message is not None and part < message.parts:
                return message
        return None

    def _report(self, call: Call) -> str:
        form = call.form
        kind = form.get("reporttype", "").lower()
        if kind not in _REPORTS:
            raise _Error(-601)
        since = _moment(form.get("from", "19700102000000"), -504)
        until = _moment(form.get("to", "99981231235959"), -505)
        messages = [
            message
            for message in self.book.messages()
            if message.provider == self.name
            and message.status in _REPORTS[kind]
            and since <= message.accepted_at <= until
        ]
        if not messages:
            raise _Error(-523)
        return _usage(messages) if kind == "usage" else _listed(messages)

    # Users

    def _create_user(self, call: Call) -> str:
        form = call.form
        missing = [f"{name} is missing" for name in _DETAILS if not form.get(name.lower())]
        if missing:
            raise _Error(-507, *missing)
        name, level = form["childusername"], form["accesslevel"].lower()
        if name in self._children or level not in ("normal", "admin"):
            reason = "ChildUsername is taken" if name in self._children else "Invalid AccessLevel"
            raise _Error(-508, reason)
        self._children[name] = _amount(form["credits"])
        return "1"

    def _update_credits(self, call: Call) -> str:
        name = call.form.get("childusername", "")
        if name not in self._children:
            raise _Error(-509)
        credit = self._children[name] + _amount(call.form.get("quantity", ""))
        if credit < 0:
            raise _Error(-510)
        self._children[name] = credit
        return "1"

    # Contacts

    def _import(self, call: Call) -> str:
        form = call.form
        rows = list(csv.reader(io.StringIO(form.get("contactscsv", ""))))
        if not rows:
            raise _Error(-507)
        overwrite = form.get("overwritedupes") == "1"
        ignore = form.get("ignoredupes") == "1"
        results, reasons = [], []
        for number, row in enumerate(rows, 1):
            result, reason = self._contacts.add(row, overwrite=overwrite, ignore=ignore)
            results.append(f"{number} : {result}")
            reasons += [f"{number} : {reason}"] if reason else []
        return "\n".join([*results, "", *reasons])

    def _delete_contacts(self, call: Call) -> str:
        self._contacts.clear()
        return "1"

    def _delete_groups(self, call: Call) -> str:
        self._contacts.clear_groups()
        return "1"

    def _empty_group(self, call: Call) -> str:
        if not self._contacts.empty(_group(call.form)):
            raise _Error(-520)
        return "1"

    def _delete_group(self, call: Call) -> str:
        if not self._contacts.delete(_group(call.form)):
            raise _Error(-520)
        return "1"


def _meaning(code: int) -> str:
    """Returns the words of a code in the documentation."""
    return REFUSALS[str(code)].meaning.capitalize()


def _is_send(call: Call) -> bool:
    return call.form.get("action", "").lower() == "send"


def _checked(form: dict[str, str]) -> tuple[str, str]:
    """Returns sender and text of a message. Raises `_Error`."""
    text, sender = form.get("body", ""), form.get("sourceaddress", "").strip()
    if not text.strip():
        raise _Error(-404)
    if len(text) > _LONGEST:
        raise _Error(-301)
    if not sender:
        raise _Error(-518)
    is_number = sender.removeprefix("+").isdecimal()
    if len(sender) > (_LONGEST_NUMBER + 1 if is_number else _LONGEST_NAME):
        raise _Error(-402)
    if form.get("sourceton") == "1" and not is_number:
        raise _Error(-403)
    validity = form.get("validityperiod", "1")
    if not (validity.isdecimal() and 0 < int(validity) <= _LONGEST_VALIDITY):
        raise _Error(-405)
    if form.get("scheduledate"):
        _moment(form["scheduledate"], -407)
    return sender, text


def _moment(text: str, error: int) -> datetime:
    """Reads `YYYYMMDDHHMMSS`, a time in London. Raises `_Error`."""
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=_LONDON).astimezone(UTC)
    except ValueError:
        raise _Error(error) from None


def _amount(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise _Error(-702) from None


def _group(form: dict[str, str]) -> str:
    """Returns the name of a group, from either parameter: which one is not documented."""
    return form.get("groupname") or form.get("group") or ""


def _listed(messages: Iterable[Message]) -> str:
    return _csv(
        _COLUMNS,
        (
            (each.id, each.to, each.sender, each.text, _word(each), _local(each))
            for each in messages
        ),
    )


def _usage(messages: Iterable[Message]) -> str:
    parts: Counter[str] = Counter()
    for each in messages:
        parts[_local(each)[:10]] += each.parts
    return _csv(("Date", "Credits"), parts.items())


def _csv(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def _local(message: Message) -> str:
    return local(message.accepted_at, _LONDON) or ""


def _word(message: Message) -> str:
    """Writes a status as the documentation's example does: `Sent`."""
    return message.status.title()


def _text(text: str) -> Response:
    return Response(text, media_type="text/plain")
