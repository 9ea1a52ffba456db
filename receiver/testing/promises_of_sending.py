"""The promises of a provider about its settings and its API.

Each function is one promise: it raises `Broken` if the provider does not keep it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from msgspec import structs

from receiver.config import Send, Source
from receiver.config.convert import Secret
from receiver.errors import ProviderError
from receiver.outgoing import OutgoingMessage, Sent
from receiver.providers.contract import Api, Balance, Parsed, Request
from receiver.testing import junk
from receiver.testing.subject import ARRIVAL, Broken, Promise, Subject, expect
from receiver.text.urls import is_http_url

_PERSON = "+254712345678"


def settings_extend_those_of_every_source(subject: Subject) -> None:
    """Its keys stand beside the common ones, each with a default."""
    settings, send = subject.provider.settings, send_type(subject)
    expect(issubclass(settings, Source), f"settings that extend Source, got {settings!r}")
    for type_, given in ((settings, "provider"), (send, "api_key")):
        required = [field.name for field in structs.fields(type_) if field.required]
        expect(set(required) <= {given}, f"a default of each key of {type_.__name__}")
    unknown = set(subject.provider.credential_settings) - set(settings.__struct_fields__)
    expect(not unknown, f"credential_settings that are settings, got {sorted(unknown)}")


def what_cannot_be_sent_is_refused_before(subject: Subject) -> None:
    """`check` raises `ProviderError` for an empty text and for what is no number."""
    for api in _apis(subject):
        for message in (
            OutgoingMessage(to=_PERSON, text=" ", sender="22915"),
            OutgoingMessage(to="nobody", text="Hi", sender="22915"),
        ):
            try:
                api.check(message)
            except ProviderError:
                continue
            raise Broken(f"expected check to refuse {message!r}")


def requests_have_an_address(subject: Subject) -> None:
    """Sending makes a request to an address of the Web, of the source's own if it has one."""
    for api in _apis(subject):
        for request in requests(api):
            expect(is_http_url(request.url), f"an address, got {request.url!r}")
            expect(request.url.startswith(api.url), f"{api.url}… (self.url), got {request.url!r}")


def any_answer_is_read_or_refused(subject: Subject) -> None:
    """Whatever the API answers, it is read into what it should be, or into a `ProviderError`."""
    for api in _apis(subject):
        for request in requests(api):
            for response in junk.answers(ARRIVAL):
                try:
                    read = request.read(response)
                except ProviderError:
                    continue
                expect(isinstance(read, Sent | Parsed | Balance), f"a result, got {read!r}")


def operations_are_named(subject: Subject) -> None:
    """Each call of `receiver call` has a summary, and makes its request of its parameters."""
    for api in _apis(subject):
        for name, operation in api.operations().items():
            expect(name and operation.summary, f"a summary of {name!r}")


def requests(api: Api) -> Iterator[Request[Any]]:
    """Yields the requests that an API makes without being told more."""
    yield api.send(OutgoingMessage(to=_PERSON, text="Karibu €5", sender="22915"))
    if (asked := api.look_up("1", _PERSON)) is not None:
        yield asked
    if (credit := api.balance()) is not None:
        yield credit


def send_type(subject: Subject) -> type[Send]:
    """Returns the settings of `[sources.NAME.send]`."""
    fields = structs.fields(subject.provider.settings)
    [type_] = [field.type for field in fields if field.name == "send"]
    [send] = [each for each in get_args(type_) if isinstance(each, type) and issubclass(each, Send)]
    return send


def _apis(subject: Subject) -> Iterator[Api]:
    """Yields the API at its documented address, and at another; nothing if it does not send."""
    if subject.provider.api is None:
        return
    for url in (None, "https://192.0.2.1/other"):
        send = send_type(subject)(api_key=Secret("key"), sender="22915", url=url)  # type: ignore[arg-type] # a Url is a str
        yield subject.provider.api(subject.made(send=send), send)


ALL: tuple[Promise, ...] = (
    settings_extend_those_of_every_source,
    what_cannot_be_sent_is_refused_before,
    requests_have_an_address,
    any_answer_is_read_or_refused,
    operations_are_named,
)
