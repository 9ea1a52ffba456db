"""Text-Connect, United Kingdom: messages to a virtual mobile number, and the API to send with.

Documentation: "Inbound message forwarding" and "API" in the portal at goto.text-connect.co.uk.
The account owner chooses GET or POST and the value of `auth`; parameters travel in the query
string or as a form. What the answer should say is not documented, any 2xx will do, and it carries
no reply. Nothing says that forwarding is retried, so what is not taken is lost.

The API is one address that takes a form with an Action and answers in plain text: a value, or a
negative code with its words on the next line, both with HTTP 200. It reports nothing by itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import msgspec

from receiver.errors import Malformed, ProviderError
from receiver.events import DeliveryReport, EventType, Message, Status
from receiver.outgoing import OutgoingMessage, Sent
from receiver.providers.api import (
    Api,
    Balance,
    Operation,
    Refusal,
    Request,
    Response,
    garbled,
    http_error,
    json_of,
    listed,
    refusal,
)
from receiver.providers.base import Entry, Parsed, Provider, Push, Sample
from receiver.providers.payloads import as_number, as_word, read_form
from receiver.text.keywords import keyword
from receiver.text.msisdn import is_e164
from receiver.text.times import instant

#: Supplemental data, which is there when the sender stands in a distribution list.
FIELDS = ("MMName", "MMEmail", "MM1", "MM2", "MM3", "MM4", "MM5")

#: Answers of CheckMessageStatus without case, spaces and signs. Only `Sent` is documented.
STATUSES = {
    "pending": Status.QUEUED,
    "queued": Status.QUEUED,
    "scheduled": Status.QUEUED,
    "sending": Status.QUEUED,
    "acknowledged": Status.SENT,  # by the network
    "buffered": Status.SENT,  # there, while the handset is off
    "sent": Status.SENT,
    "submitted": Status.SENT,
    "delivered": Status.DELIVERED,
    "notdelivered": Status.UNDELIVERED,
    "undeliverable": Status.UNDELIVERED,
    "undelivered": Status.UNDELIVERED,
    "failed": Status.FAILED,
    "rejected": Status.REJECTED,
    "expired": Status.EXPIRED,
    "canceled": Status.CANCELLED,
    "cancelled": Status.CANCELLED,
}

#: What it means. Credit, tokens, suspensions and licences can be mended.
REFUSALS = {
    "-100": Refusal(meaning="not enough credits", retryable=True),
    "-101": Refusal(meaning="invalid credit id"),
    "-200": Refusal(meaning="invalid contact"),
    "-300": Refusal(meaning="database error", retryable=True),
    "-301": Refusal(meaning="unknown error", retryable=True),
    "-302": Refusal(meaning="XML error"),
    "-303": Refusal(meaning="XML error"),
    "-400": Refusal(meaning="some numbers failed"),
    "-401": Refusal(meaning="invalid destination address"),
    "-402": Refusal(meaning="source address too long"),
    "-403": Refusal(meaning="source address is not a number"),
    "-404": Refusal(meaning="blank body"),
    "-405": Refusal(meaning="invalid validity period"),
    "-406": Refusal(meaning="no route"),
    "-407": Refusal(meaning="invalid schedule date"),
    "-408": Refusal(meaning="the list is empty"),
    "-409": Refusal(meaning="the group is empty"),
    "-410": Refusal(meaning="invalid list"),
    "-411": Refusal(meaning="the daily limit of this number is exceeded"),
    "-412": Refusal(meaning="the number is blacklisted", opted_out=True),
    "-414": Refusal(meaning="invalid group"),
    "-501": Refusal(meaning="unknown token or user", retryable=True),
    "-502": Refusal(meaning="unknown action"),
    "-503": Refusal(meaning="unknown message id"),
    "-504": Refusal(meaning="invalid From"),
    "-505": Refusal(meaning="invalid To"),
    "-506": Refusal(meaning="source address not allowed"),
    "-507": Refusal(meaning="details missing"),
    "-508": Refusal(meaning="error creating the user"),
    "-509": Refusal(meaning="unknown user"),
    "-510": Refusal(meaning="credits would fall below 0"),
    "-511": Refusal(meaning="maintenance", retryable=True),
    "-512": Refusal(meaning="the user is suspended", retryable=True),
    "-513": Refusal(meaning="licence error", retryable=True),
    "-514": Refusal(meaning="licence error", retryable=True),
    "-515": Refusal(meaning="licence error", retryable=True),
    "-516": Refusal(meaning="unknown list"),
    "-517": Refusal(meaning="cannot create the list"),
    "-518": Refusal(meaning="blank source address"),
    "-519": Refusal(meaning="blank body"),
    "-520": Refusal(meaning="unknown group"),
    "-521": Refusal(meaning="unknown background send"),
    "-522": Refusal(meaning="the background send has not finished", retryable=True),
    "-523": Refusal(meaning="no messages"),
    "-601": Refusal(meaning="unknown report"),
    "-701": Refusal(meaning="no user"),
    "-702": Refusal(meaning="invalid amount"),
    "-703": Refusal(meaning="invalid currency"),
}

#: Names that the documentation does not print; `send.names` replaces them.
NAMES = {
    "empty_group": "EmptyGroup",
    "delete_group": "DeleteGroup",
    "background_send": "BackgroundSend",
    "group_parameter": "GroupName",
}

#: Parameters that are read.
_NAMES = ("auth", "source", "dest", "msg", "id", "receivedts", *FIELDS)

_CODE = re.compile("-[0-9]{1,9}")
_AMOUNT = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")
#: Has a digit in it: `OK` or `Error` are no ids.
_ID = re.compile("(?=[^0-9]*[0-9])[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
_WORDS = re.compile("[A-Za-z][A-Za-z0-9 _./:()'-]{0,63}")
_LINE = re.compile(r"([0-9]{1,9})\s*:\s*(.*)")
_DONE = "1"

#: Of an alphanumeric sender, and of a number.
_LONGEST_NAME = 11
_LONGEST_NUMBER = 15
#: SourceTON.
_INTERNATIONAL = "1"
_ALPHANUMERIC = "5"

_SENDING = ("SourceAddress", "SourceTON", "ScheduleDate", "ValidityPeriod")
_USER = "ChildUsername ChildPassword AccessLevel FirstName LastName Email Credits"

T = TypeVar("T")


class Addressed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one number of several."""

    to: str
    message_ids: list[str] = []
    """Several for a long text, when GetAllMessageIDs asks for them; none when it is refused."""
    code: str | None = None
    words: str | None = None


class Imported(msgspec.Struct, kw_only=True):
    """What became of one line of contacts."""

    line: int
    result: str
    """Success, Partial, Failed, Duplicate Name or Duplicate Number."""
    reasons: list[str] = []


class _Payload(msgspec.Struct):
    """The parameters of the query string and the form together."""

    auth: list[str]
    source: str | None
    dest: str | None
    msg: str | None
    id: str | None
    receivedts: str | None
    fields: dict[str, str]


class TextConnectApi(Api):
    """Sending through Text-Connect."""

    base_url = "https://goto.text-connect.co.uk/api"
    max_text = 459
    needs_sender = True
    polls = True

    def check(self, message: OutgoingMessage) -> None:
        """Also what it comes from."""
        super().check(message)
        self._source(message)

    def send(self, message: OutgoingMessage) -> Request[Sent]:
        """Of a long text the id is that of its first part."""
        return self._send(message, {})

    def look_up(self, message_id: str, to: str | None) -> Request[Parsed]:
        """The only way to hear of a message again."""

        def read(response: Response) -> Parsed:
            word = _value(response)
            if not _WORDS.fullmatch(word):
                raise garbled(response, "a status")
            data = _report(message_id, to, word)
            return Parsed(
                type=EventType.DELIVERY_UPDATED,
                data=data,
                key=f"delivery:{message_id}:{word.casefold()}",
                time=response.received_at,
            )

        return self._request("CheckMessageStatus", {"MessageID": message_id}, read)

    def balance(self) -> Request[Balance]:
        """A message takes a credit for each of its parts."""

        def read(response: Response) -> Balance:
            amount = _value(response)
            if not _AMOUNT.fullmatch(amount):
                raise garbled(response, "a number of credits")
            return Balance(amount=amount, unit="credits")

        return self._request("CheckCredits", {}, read)

    def operations(self) -> dict[str, Operation]:
        """Parameters are called as in the documentation."""
        return {**self._sending(), **self._asking(), **self._managing()}

    def _sending(self) -> dict[str, Operation]:
        return {
            "send": Operation(
                summary="Sends a message to one number.",
                required=("DestinationAddress", "Body"),
                optional=_SENDING,
                make=self._send_one,
            ),
            "send_many": Operation(
                summary=(
                    "Sends a message to many; DestinationAddress: numbers with commas between"
                    " them; GetAllMessageIDs=1: the ids of all parts."
                ),
                required=("DestinationAddress", "Body"),
                optional=(*_SENDING, "GetAllMessageIDs"),
                make=self._send_many,
            ),
            "send_list": Operation(
                summary="Sends a message to a distribution list; GetBGSendID=1: for its ids.",
                required=("ListName", "Body"),
                optional=(*_SENDING, "GetBGSendID"),
                make=lambda given: self._send_to("List", given),
            ),
            "send_group": Operation(
                summary="Sends a message to a group of contacts; GetBGSendID=1: for its ids.",
                required=("GroupName", "Body"),
                optional=(*_SENDING, "GetBGSendID"),
                make=lambda given: self._send_to("Group", given),
            ),
        }

    def _asking(self) -> dict[str, Operation]:
        background = self._name("background_send")
        sends = "Asks what became of the messages to a list or group."
        report = (
            "A table in CSV. ReportType: Outbox, Messages, Usage, InboundMessages or"
            " FailedMessages; From and To: YYYYMMDDHHMMSS."
        )
        return {
            "background_send": self._operation(sends, background, self._background, "BGSendID"),
            "check_message_status": Operation(
                summary="Asks what became of a message.",
                required=("MessageID",),
                make=lambda given: self.look_up(given["MessageID"], None),
            ),
            "check_credits": Operation(
                summary="Asks for the credit.", make=lambda _: self.balance()
            ),
            "report": self._operation(report, "Report", _table, "ReportType From To"),
        }

    def _managing(self) -> dict[str, Operation]:
        user = "Adds a user below this account; AccessLevel: Normal or Admin."
        credit = "Gives credits to a user; a negative Quantity takes them back."
        contacts = (
            "Adds contacts, in lines of name,number,email,group1,group2,…; those that are there:"
            " IgnoreDupes=1 or OverwriteDupes=1."
        )
        dupes = "IgnoreDupes OverwriteDupes"
        more = "Telephone CreditReminder Alert"
        plain = self._operation
        return {
            "create_user": plain(user, "CreateUser", _done, _USER, more),
            "update_credits": plain(credit, "UpdateCredits", _done, "ChildUsername Quantity"),
            "import_contacts_csv": plain(
                contacts, "ImportContactsCSV", _imported, "ContactsCSV", dupes
            ),
            "delete_all_contacts": plain("Deletes all contacts.", "DeleteAllContacts", _done),
            "delete_all_groups": plain("Deletes all groups.", "DeleteAllGroups", _done),
            "empty_group": self._group("empty_group", "Takes all contacts out of a group."),
            "delete_group": self._group("delete_group", "Deletes a group."),
        }

    def _operation(
        self,
        summary: str,
        action: str,
        read: Callable[[Response], Any],
        required: str = "",
        optional: str = "",
    ) -> Operation:
        """One whose parameters are passed on as they stand."""
        return Operation(
            summary=summary,
            required=tuple(required.split()),
            optional=tuple(optional.split()),
            make=lambda given: self._request(action, given, read),
        )

    def _group(self, name: str, summary: str) -> Operation:
        action, parameter = self._name(name), self._name("group_parameter")
        return Operation(
            summary=summary,
            required=("GroupName",),
            make=lambda given: self._request(action, {parameter: given["GroupName"]}, _done),
        )

    def _send_one(self, given: Mapping[str, str]) -> Request[Sent]:
        message = OutgoingMessage(
            to=self.provider.person(given["DestinationAddress"]),
            text=given["Body"],
            sender=given.get("SourceAddress"),
        )
        self.check(message)
        return self._send(message, given)

    def _send(self, message: OutgoingMessage, options: Mapping[str, str]) -> Request[Sent]:
        def read(response: Response) -> Sent:
            ids = _ids(response)
            return Sent(message_id=ids[0], to=message.to, parts=len(ids) if ids[1:] else None)

        fields = self._fields(self.digits(message.to), message, options)
        return self._request("Send", fields, read)

    def _send_many(self, given: Mapping[str, str]) -> Request[list[Addressed]]:
        # Of a number that is named twice nobody knows how often it is answered.
        numbers = dict.fromkeys(map(self.digits, listed(given["DestinationAddress"])))
        if not numbers:
            raise ProviderError("DestinationAddress: expected numbers with commas between them")
        to = [f"+{number}" for number in numbers]
        fields = self._to_many(",".join(numbers), given)
        return self._request("Send", fields, lambda answer: _addressed(answer, to), bulk=True)

    def _send_to(self, whom: str, given: Mapping[str, str]) -> Request[list[str]]:
        return self._request("Send", self._to_many(whom, given), _background_ids, bulk=True)

    def _to_many(self, to: str, given: Mapping[str, str]) -> dict[str, str]:
        message = OutgoingMessage(to=to, text=given["Body"], sender=given.get("SourceAddress"))
        self.check_text(message)
        return self._fields(to, message, given)

    def _fields(
        self, to: str, message: OutgoingMessage, options: Mapping[str, str]
    ) -> dict[str, str]:
        source = self._source(message)
        return {
            **source,
            **options,
            "DestinationAddress": to,
            "SourceAddress": source["SourceAddress"],
            "Body": message.text,
        }

    def _source(self, message: OutgoingMessage) -> dict[str, str]:
        """Who a message comes from; of short codes there is no SourceTON."""
        address = self.sender(message) or ""
        source = address.removeprefix("+")
        is_number = source.isdecimal() and source.isascii()
        longest = _LONGEST_NUMBER if is_number else _LONGEST_NAME
        if len(source) > longest:
            kind = "digits" if is_number else "characters"
            raise ProviderError(
                f"the sender {source} has {len(source)} {kind}, and {self.provider.title} takes"
                f" {longest}"
            )
        if is_e164(address):
            return {"SourceAddress": source, "SourceTON": _INTERNATIONAL}
        return {"SourceAddress": source, **({} if is_number else {"SourceTON": _ALPHANUMERIC})}

    def _background(self, response: Response) -> list[DeliveryReport]:
        """The messages of a background send. Its own refusal is JSON, others are codes."""
        _value(response)
        answer = json_of(response)
        if isinstance(answer, dict):
            code = as_word(answer.get("error")) or ""
            if _CODE.fullmatch(code):
                raise refusal(REFUSALS, code, as_word(answer.get("message")))
        if not isinstance(answer, list):
            raise garbled(response, "a list of messages")
        return [self._listed(each, response) for each in answer]

    def _listed(self, message: object, response: Response) -> DeliveryReport:
        fields = message if isinstance(message, dict) else {}
        message_id, to = as_word(fields.get("MessageID")), as_word(fields.get("Destination"))
        if message_id is None:
            raise garbled(response, "messages with a MessageID")
        number = self.provider.person(to) if to is not None else None
        return _report(message_id, number, as_word(fields.get("Status")))

    def _name(self, name: str) -> str:
        return self.send_settings.names.get(name) or NAMES[name]

    def _request(
        self,
        action: str,
        fields: Mapping[str, str],
        read: Callable[[Response], T],
        *,
        bulk: bool = False,
    ) -> Request[T]:
        form = {**fields, "Token": self.key, "Action": action, "ShowErrorMessage": "1"}
        return Request(
            method="POST",
            url=self.url,
            headers={"content-type": "application/x-www-form-urlencoded"},
            body=urlencode(form).encode(),
            read=read,
            bulk=bulk,
        )


class TextConnect(Provider[_Payload]):
    """Pushes of Text-Connect."""

    name = "text-connect"
    title = "Text-Connect (United Kingdom)"
    methods = frozenset({"GET", "POST"})
    default_timezone = ZoneInfo("Europe/London")
    default_region = "GB"
    sample_kinds: ClassVar = ("inbound-get", "inbound-post")
    entries = (Entry("message forwarding, GET or POST", "auth"),)
    api: ClassVar = TextConnectApi

    def read(self, push: Push) -> _Payload:
        """The form in the body, and from the query string what the form does not give."""
        sources = (read_form(push.query, *_NAMES), read_form(push.body, *_NAMES))
        given: dict[str, str] = {}
        for parameters in sources:
            for name, values in parameters.items():
                for value in filter(None, values):
                    given[name] = value
        return _Payload(
            auth=[auth for parameters in sources for auth in parameters.get("auth", ()) if auth],
            source=as_word(given.get("source")),
            dest=as_word(given.get("dest")),
            msg=given.get("msg"),
            id=as_word(given.get("id")),
            receivedts=given.get("receivedts"),
            fields={name: given[name] for name in FIELDS if name in given},
        )

    def authenticate(self, push: Push) -> None:
        """`auth`, wherever it stands, or the token in the URL."""
        if not self.requires_credential:
            return
        presented = self.tokens.verify(push.url_tokens())
        presented |= self.tokens.verify(self.payload(push).auth)
        self.require(presented=presented)

    def parse(self, push: Push) -> Parsed:
        """An inbound message."""
        payload = self.payload(push)
        if payload.id is None:
            raise Malformed("expected id, the id of the message")
        source = as_number(payload.source)
        if source is None:
            raise Malformed("expected source, the sender's number")
        text = payload.msg or ""
        data = Message(
            external_id=payload.id,
            from_=self.person(source),
            to=self.address(as_number(payload.dest)),
            text=text,
            keyword=keyword(text),
            fields=payload.fields,
        )
        return Parsed(
            type=EventType.MESSAGE_RECEIVED,
            data=data,
            key=f"message:{payload.id}",
            time=instant(payload.receivedts, self.timezone, push.received_at) or push.received_at,
        )

    @classmethod
    def sample(cls, kind: str, secret: str, values: dict[str, str]) -> Sample:
        """A message of somebody who stands in no distribution list."""
        method = {"inbound-get": "GET", "inbound-post": "POST"}[kind]
        form = urlencode({**_SAMPLE, "auth": secret, **values})
        if method == "GET":
            return Sample(method=method, path=f"?{form}", headers={}, body=b"")
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return Sample(method=method, path="", headers=headers, body=form.encode())

    @classmethod
    def fresh(cls, kind: str, now: datetime) -> dict[str, str]:
        """The id of the message."""
        number = str(int(now.timestamp() * 1_000_000))
        return {"id": number, "receivedts": f"{now:%Y-%m-%d %H:%M:%S}"}


_SAMPLE = {
    "source": "447777777777",
    "dest": "447786200000",
    "msg": "Hello world",
    "id": "91532",
    "receivedts": "2026-07-01 13:05:09",
}


def _report(message_id: str, to: str | None, word: str | None) -> DeliveryReport:
    """What a word for a status says."""
    letters = re.sub("[^a-z]", "", (word or "").casefold())
    status = STATUSES.get(letters, Status.UNKNOWN)
    return DeliveryReport(
        message_id=message_id, to=to, status=status, raw_status=word, final=status.final
    )


def _lines(response: Response) -> list[str]:
    """The lines of an answer, of which there is at least one."""
    if not response.succeeded:
        raise http_error(response)
    lines = [line.strip() for line in response.text.splitlines()]
    if not lines or lines[0].startswith("<"):
        raise garbled(response, "a value or a code")
    return lines


def _value(response: Response) -> str:
    """The first line. Raises the error that it is the code of."""
    first, *others = _lines(response)
    if _CODE.fullmatch(first):
        raise refusal(REFUSALS, first, "; ".join(filter(None, others)))
    return first


def _done(response: Response) -> str:
    if _value(response) != _DONE:
        raise garbled(response, _DONE)
    return _DONE


def _table(response: Response) -> str:
    _value(response)
    return response.text


def _ids(response: Response) -> list[str]:
    """One id or several, and nothing else."""
    ids = listed(_value(response))
    if not ids or not all(map(_ID.fullmatch, ids)):
        raise garbled(response, "an id")
    return ids


def _background_ids(response: Response) -> list[str]:
    """None where they were not asked for."""
    ids = _ids(response)
    return ids if ids != [_DONE] else []


def _addressed(response: Response, to: Sequence[str]) -> list[Addressed]:
    """Which answers are whose: a code for each number that is refused, else its ids.

    All get the same text, so all that are not refused have the same number of ids.
    """
    answers = listed(_value(response))
    codes = [answer for answer in answers if _CODE.fullmatch(answer)]
    said = [line for line in _lines(response)[1:] if line]
    words = iter(said if len(said) == len(codes) else map(_meaning, codes))
    taken = len(to) - len(codes)
    each = max(1, (len(answers) - len(codes)) // max(1, taken))
    if len(answers) != len(codes) + each * taken:
        raise garbled(response, f"an answer for each of {len(to)} numbers")
    found, rest = [], iter(answers)
    for number in to:
        ids = [next(rest)]
        if _CODE.fullmatch(ids[0]):
            found.append(Addressed(to=number, code=ids[0], words=next(words)))
            continue
        ids += islice(rest, each - 1)
        if not all(map(_ID.fullmatch, ids)):
            raise garbled(response, "ids and codes")
        found.append(Addressed(to=number, message_ids=ids))
    return found


def _meaning(code: str) -> str | None:
    known = REFUSALS.get(code)
    return known.meaning if known else None


def _imported(response: Response) -> list[Imported]:
    """What is said of a line first is its result, what is said later a reason."""
    _value(response)
    found: dict[str, Imported] = {}
    for line in filter(None, _lines(response)):
        match = _LINE.fullmatch(line)
        if match is None:
            raise garbled(response, "a result for each line")
        number, words = match.groups()
        if number in found:
            found[number].reasons.append(words)
        else:
            found[number] = Imported(line=int(number), result=words)
    return list(found.values())
