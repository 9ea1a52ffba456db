"""The suite for authors finds what a provider does wrong, and says which promise it breaks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, ClassVar

import msgspec
import pytest

from receiver.errors import CredentialMissing, Malformed, PushError
from receiver.outgoing import OutgoingMessage, Sent
from receiver.providers import Answer, Parsed, Provider, Push, PushUrl, Sample
from receiver.providers.contract import Operation, Request, Response
from receiver.providers.rayprotech import Rayprotech
from receiver.providers.tilil import Tilil
from receiver.providers.tilil.sending import TililApi
from receiver.providers.tilil.settings import TililSource
from receiver.testing.providers import PROMISES, Broken, check, keeps


class OfNoRegion(Tilil):
    """Its region is none."""

    default_region = "Kenya"


class OfOneLabel(Tilil):
    """Two URLs to hand out cannot be told apart."""

    push_urls = (PushUrl("callback"), PushUrl("callback", "secret"))


class Open(Rayprotech):
    """It says that it pushes nothing, and takes what comes."""

    def authenticate(self, push: Push) -> None:
        """Takes anything."""


class NotInUtc(Tilil):
    """Its times are in the zone of the provider."""

    def parse(self, push: Push) -> list[Parsed]:
        """Moves the time."""
        return [
            msgspec.structs.replace(each, time=each.time.astimezone(self.timezone))
            for each in super().parse(push)
        ]


class Restless(Tilil):
    """No push is like the one before."""

    count: ClassVar[Iterator[int]] = iter(range(10_000))

    def parse(self, push: Push) -> list[Parsed]:
        """Gives each a key of its own."""
        return [
            msgspec.structs.replace(each, key=f"{next(self.count)}") for each in super().parse(push)
        ]


class Trusting(Tilil):
    """Any credential is right."""

    def authenticate(self, push: Push) -> None:
        """Looks whether there is one."""
        if self.requires_credential and not (push.token or push.body):
            raise CredentialMissing


class Forgetful(Tilil):
    """Its samples are always the same."""

    @classmethod
    def fresh_values(cls, kind: str, now: datetime) -> dict[str, str]:
        """Returns nothing new."""
        return {}


class Welcoming(Tilil):
    """Nothing is a credential."""

    def authenticate(self, push: Push) -> None:
        """Takes what has nothing."""
        if push.body:
            super().authenticate(push)


class Stubborn(Tilil):
    """It asks for a credential where the configuration says that none is needed."""

    def __init__(self, source: TililSource) -> None:
        super().__init__(source)
        self.requires_credential = True


class Doubting(Tilil):
    """It refuses our own provider as a stranger where a body cannot be read."""

    def parse(self, push: Push) -> list[Parsed]:
        """Raises the wrong error."""
        try:
            return super().parse(push)
        except PushError:
            raise CredentialMissing from None


class Rereading(Tilil):
    """It reads each push twice."""

    def parse(self, push: Push) -> list[Parsed]:
        """Forgets what was read."""
        push.payload = None
        return super().parse(push)


class Mistyped(Tilil):
    """Its data are not of their types."""

    def parse(self, push: Push) -> list[Parsed]:
        """Puts a number into a text."""
        found = super().parse(push)
        data: Any = msgspec.structs.replace(found[0].data, network=7)
        return [msgspec.structs.replace(found[0], data=data)]


class Mute(Tilil):
    """Its answers do not carry the reply that it takes."""

    def acknowledge(self, push: Push, parsed: Parsed, reply: str) -> Answer:
        """Drops the reply."""
        return super().acknowledge(push, parsed, "")


class Fragile(Tilil):
    """Some bytes are too much for it."""

    def parse(self, push: Push) -> list[Parsed]:
        """Decodes what is no UTF-8."""
        push.body.decode()
        return super().parse(push)


class Empty(Tilil):
    """It finds no event in a push, and says nothing."""

    def parse(self, push: Push) -> list[Parsed]:
        """Returns none for what is malformed."""
        try:
            return super().parse(push)
        except Malformed:
            return []


class DemandingSource(TililSource, frozen=True, kw_only=True):
    """Has a key without a default."""

    account: str


class Careless(TililApi):
    """It sends whatever it is given."""

    def check(self, message: OutgoingMessage) -> None:
        """Checks nothing."""


class Elsewhere(TililApi):
    """It does not obey send.url."""

    def send(self, message: OutgoingMessage) -> Request[Sent]:
        """Sends to the documented address."""
        return msgspec.structs.replace(super().send(message), url="https://sms.example.com/")


class Believing(TililApi):
    """It takes any answer for a yes."""

    def send(self, message: OutgoingMessage) -> Request[Sent]:
        """Reads an id without a look at the answer."""
        return msgspec.structs.replace(super().send(message), read=_first_of)


class Nameless(TililApi):
    """Nobody knows what its call does."""

    def operations(self) -> dict[str, Operation]:
        """Returns a call without a summary."""
        [first, *_] = super().operations().items()
        return {first[0]: msgspec.structs.replace(first[1], summary="")}


def _first_of(response: Response) -> Sent:
    return Sent(message_id=response.body.decode().split(":")[1])


def with_(name: str, **attributes: Any) -> type[Provider[Any]]:
    """A provider with other attributes."""
    return type(name, (Tilil,), attributes)


WRONG: dict[str, type[Provider[Any]]] = {
    "says_what_it_is": OfNoRegion,
    "says_what_its_portal_needs": OfOneLabel,
    "pushes_nothing": Open,
    "samples_are_taken": NotInUtc,
    "samples_are_repeatable": Restless,
    "samples_know_their_secret": Trusting,
    "fresh_samples_are_new_events": Forgetful,
    "nothing_is_no_credential": Welcoming,
    "without_authentication_anybody_is_taken": Stubborn,
    "an_unreadable_body_is_answered_400": Doubting,
    "pushes_are_read_once": Rereading,
    "data_come_back_from_the_store": Mistyped,
    "replies_are_found_again": Mute,
    "any_request_is_taken_or_refused": Fragile,
    "settings_extend_those_of_every_source": with_("Demanding", settings=DemandingSource),
    "what_cannot_be_sent_is_refused_before": with_("Careless", api=Careless),
    "requests_have_an_address": with_("Elsewhere", api=Elsewhere),
    "any_answer_is_read_or_refused": with_("Believing", api=Believing),
    "operations_are_named": with_("Nameless", api=Nameless),
}


@pytest.mark.parametrize("promise", PROMISES)
def test_a_broken_promise_is_found(promise: str) -> None:
    """Each promise has a provider that breaks it, and the check names it."""
    assert [
        broken for broken in check(WRONG[promise]) if broken.startswith(f"{promise}: expected ")
    ]
    assert PROMISES[promise].__doc__


def test_an_empty_list_is_no_answer() -> None:
    """A push that tells nothing is refused, or it would be answered 200 and be gone."""
    with pytest.raises(Broken, match="expected one event at least, or a PushError"):
        keeps(Empty, "any_request_is_taken_or_refused")


def test_settings_of_a_source_are_given() -> None:
    """A provider is checked as a source would have it."""
    keeps(Tilil, "replies_are_found_again", ack_fields="both")


def test_a_sample_may_be_anything() -> None:
    """What the author's code raises is told, and ends no other check."""

    class Raising(Tilil):
        @classmethod
        def sample(cls, kind: str, secret: str, values: dict[str, str]) -> Sample:
            raise ZeroDivisionError("of mine")

    told = [broken.partition(": ") for broken in check(Raising)]
    said = "expected no exception but ReceiverError, got ZeroDivisionError: of mine"
    assert ("samples_are_taken", ": ", said) in told
    assert "says_what_it_is" not in {promise for promise, _, _ in told}
