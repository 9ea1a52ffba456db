"""The calls of Text-Connect's API for `receiver call`, by names of our own.

Parameters are called as in the documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from receiver.errors import ProviderError
from receiver.events import Data
from receiver.outgoing import OutgoingMessage, Sent
from receiver.providers.calls import listed
from receiver.providers.contract import Operation, Partly, Request, Response
from receiver.providers.payloads import as_word
from receiver.providers.text_connect import answers
from receiver.providers.text_connect.answers import Addressed

if TYPE_CHECKING:
    from receiver.providers.text_connect.sending import TextConnectApi

_SENDING = ("SourceAddress", "SourceTON", "ScheduleDate", "ValidityPeriod")
_NO_IDS = "taken; there are no ids, which GetBGSendID=1 asks for"
_USER = "ChildUsername ChildPassword AccessLevel FirstName LastName Email Credits"


class Operations:
    """Makes the calls of one account."""

    def __init__(self, api: TextConnectApi) -> None:
        self._api = api
        self._names = api.send_settings.names

    def all(self) -> dict[str, Operation]:
        """Returns every call that the provider documents."""
        return {**self._sending(), **self._asking(), **self._managing()}

    def _sending(self) -> dict[str, Operation]:
        return {
            "send": Operation(
                summary="Sends a message to one number.",
                required=("DestinationAddress", "Body"),
                optional=_SENDING,
                make=self._send_one,
                recipients=lambda given: [given["DestinationAddress"]],
            ),
            "send_many": Operation(
                summary=(
                    "Sends a message to many; DestinationAddress: numbers with commas between"
                    " them; GetAllMessageIDs=1: the ids of all parts."
                ),
                required=("DestinationAddress", "Body"),
                optional=(*_SENDING, "GetAllMessageIDs"),
                make=self._send_many,
                recipients=lambda given: listed(given["DestinationAddress"]),
            ),
            "send_list": Operation(
                summary="Sends a message to a distribution list; GetBGSendID=1: for its ids.",
                required=("ListName", "Body"),
                optional=(*_SENDING, "GetBGSendID"),
                make=lambda given: self._send_to("List", given),
                done=_NO_IDS,
            ),
            "send_group": Operation(
                summary="Sends a message to a group of contacts; GetBGSendID=1: for its ids.",
                required=("GroupName", "Body"),
                optional=(*_SENDING, "GetBGSendID"),
                make=lambda given: self._send_to("Group", given),
                done=_NO_IDS,
            ),
        }

    def _asking(self) -> dict[str, Operation]:
        background = self._names.background_send
        sends = "Asks for the status of the messages to a list or group."
        report = (
            "A table in CSV. ReportType: Outbox, Messages, Usage, InboundMessages or"
            " FailedMessages; From and To: YYYYMMDDHHMMSS."
        )
        return {
            "background_send": self._operation(
                sends,
                background,
                self._background,
                "BGSendID",
                reads=True,
                done="it has no messages",
            ),
            "check_message_status": Operation(
                summary="Asks for the status of a message.",
                required=("MessageID",),
                make=lambda given: self._api.look_up(given["MessageID"], None),
                reads=True,
            ),
            "check_credits": Operation(
                summary="Asks for the credit.", make=lambda _: self._api.balance(), reads=True
            ),
            "report": self._operation(
                report,
                "Report",
                answers.table,
                "ReportType",
                "From To",
                reads=True,
                done="the report is empty",
            ),
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
            "create_user": plain(user, "CreateUser", answers.done, _USER, more),
            "update_credits": plain(
                credit, "UpdateCredits", answers.done, "ChildUsername Quantity"
            ),
            "import_contacts_csv": plain(
                contacts, "ImportContactsCSV", answers.imported, "ContactsCSV", dupes
            ),
            "delete_all_contacts": plain(
                "Deletes all contacts.", "DeleteAllContacts", answers.done, deletes=True
            ),
            "delete_all_groups": plain(
                "Deletes all groups.", "DeleteAllGroups", answers.done, deletes=True
            ),
            "empty_group": plain(
                "Takes all contacts out of a group.",
                self._names.empty_group,
                answers.done,
                "GroupName",
                deletes=True,
            ),
            "delete_group": plain(
                "Deletes a group.",
                self._names.delete_group,
                answers.done,
                "GroupName",
                deletes=True,
            ),
        }

    def _operation(
        self,
        summary: str,
        action: str,
        read: Callable[[Response], Any],
        required: str = "",
        optional: str = "",
        **more: Any,
    ) -> Operation:
        """Returns an operation whose parameters are passed on, under the names of the settings."""
        names = {
            "GroupName": self._names.group_parameter,
            "CreditReminder": self._names.credit_reminder,
        }

        def make(given: Mapping[str, str]) -> Request[Any]:
            fields = {names.get(name, name): value for name, value in given.items()}
            return self._api.request(action, fields, read)

        return Operation(
            summary=summary,
            required=tuple(required.split()),
            optional=tuple(optional.split()),
            make=make,
            **more,
        )

    def _send_one(self, given: Mapping[str, str]) -> Request[Sent]:
        message = OutgoingMessage(
            to=self._api.provider.person(given["DestinationAddress"]),
            text=given["Body"],
            sender=given.get("SourceAddress"),
        )
        self._api.check(message)
        return self._api.send(message, given)

    def _send_many(self, given: Mapping[str, str]) -> Request[list[Addressed] | Partly]:
        # The documentation does not say how often a number is answered that is named twice.
        numbers = dict.fromkeys(map(self._api.digits, listed(given["DestinationAddress"])))
        if not numbers:
            raise ProviderError("DestinationAddress: expected numbers with commas between them")
        to = [f"+{number}" for number in numbers]

        def read(response: Response) -> list[Addressed] | Partly:
            return answers.addressed(response, to)

        fields = self._to_many(",".join(numbers), given)
        return self._api.request("Send", fields, read, bulk=True)

    def _send_to(self, whom: str, given: Mapping[str, str]) -> Request[list[str] | Partly]:
        fields = self._to_many(whom, given)
        return self._api.request("Send", fields, answers.background_ids, bulk=True)

    def _to_many(self, to: str, given: Mapping[str, str]) -> dict[str, str]:
        message = OutgoingMessage(to=to, text=given["Body"], sender=given.get("SourceAddress"))
        self._api.check_text(message)
        return self._api.fields(to, message, given)

    def _background(self, response: Response) -> list[Data]:
        """Reads what became of each message of a background send."""
        return [
            self._api.provider.report(
                as_word(message.get("MessageID")) or "",
                as_word(message.get("Status")),
                to=as_word(message.get("Destination")),
                time=response.received_at,
            ).data
            for message in answers.background_messages(response)
        ]
