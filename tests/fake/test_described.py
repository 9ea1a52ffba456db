"""The fake of a described gateway takes what is sent, and answers as the examples do."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from receiver.config.convert import Secret, Url
from receiver.errors import ProviderError
from receiver.events import DeliveryReport, utc_now
from receiver.fake import Fake, Options, running
from receiver.outgoing import OutgoingMessage
from receiver.providers import Kind, Parsed, Push, known
from receiver.providers.contract import Api, Request, Response
from receiver.providers.described import Described
from tests.fake.trying import KEY, catching, until_count
from tests.harness import PATIENCE

pytestmark = pytest.mark.anyio

PROVIDERS = known()
SENDING: dict[str, type[Described]] = {
    name: provider
    for name in PROVIDERS
    if PROVIDERS.origins[name].kind is Kind.CATALOGUE
    and issubclass(provider := PROVIDERS[name], Described)
    and provider.api is not None
}
each_gateway = pytest.mark.parametrize("name", SENDING)
PERSON = "+254711000222"
AT_ONCE: dict[str, Any] = {"sent_after": 0.0, "delivered_after": 0.0, "jitter": 0.0}


def api_at(fake: Fake, name: str, key: str = KEY) -> Api:
    """The API of a source that sends to the fake, with the settings of the first example."""
    described = SENDING[name]
    send = described.description.send
    assert send is not None
    assert described.api is not None
    first = next(each for each in send.example if each.message is not None)
    given = {
        setting: Secret(text) if send.settings[setting].secret else text
        for setting, text in first.settings.items()
        if setting != "callback_url"
    }
    url = Url(f"{fake.url}/{name}")
    settings: Any = described.send_settings
    account = settings(api_key=Secret(key), sender="22384", url=url, **given)
    source = described.settings(provider=name, authentication="none", send=account)
    return described.api(described(source), account)


async def asked(client: httpx2.AsyncClient, request: Request[Any] | None) -> Any:
    """What the answer to a request says. Raises `ProviderError`."""
    assert request is not None
    answer = await client.request(
        request.method, request.url, headers=request.headers, content=request.body
    )
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return request.read(
        Response(
            status=answer.status_code, headers=headers, body=answer.content, received_at=utc_now()
        )
    )


def client() -> httpx2.AsyncClient:
    """A client without the certificates of anybody."""
    return httpx2.AsyncClient(trust_env=False, timeout=PATIENCE, verify=False)


@each_gateway
@pytest.mark.parametrize("text", ["Karibu", "Жыве & <b> {x} €"])
async def test_what_is_sent_is_taken(name: str, text: str) -> None:
    """Whatever the alphabet, text and person arrive; the id in the answer is the message's."""
    async with running(Options(), SENDING) as fake, client() as http:
        api = api_at(fake, name)
        one, two = [
            await asked(http, api.send(OutgoingMessage(to=PERSON, text=text))) for _ in range(2)
        ]
        sent = fake.sent
        assert [(message.to.removeprefix("+"), message.text) for message in sent] == [
            (PERSON.removeprefix("+"), text)
        ] * 2
        if one.message_id is not None:  # some name none
            assert [one.message_id, two.message_id] == [message.id for message in sent]
        if (status := api.look_up(sent[0].id, PERSON)) is not None:
            assert (await asked(http, status)).data.message_id == sent[0].id
        if (balance := api.balance()) is not None:
            assert (await asked(http, balance)).amount


@each_gateway
async def test_a_wrong_key_is_refused(name: str) -> None:
    """As the gateway refuses it, or with 401; nothing is accepted."""
    async with running(Options(), SENDING) as fake, client() as http:
        request = api_at(fake, name, key="wrong").send(OutgoingMessage(to=PERSON, text="Hi"))
        with pytest.raises(ProviderError):
            await asked(http, request)
        assert (fake.sent, fake.counts.refused) == ([], 1)


@pytest.mark.parametrize(
    ("end", "facts"), [("99902", {"code": "405"}), ("99903", {"code": "406", "opted_out": True})]
)
async def test_refusals_are_those_of_the_examples(end: str, facts: dict[str, object]) -> None:
    """The last digits of a number choose one."""
    async with running(Options(), SENDING) as fake, client() as http:
        api = api_at(fake, "africas-talking")
        with pytest.raises(ProviderError) as caught:
            await asked(http, api.send(OutgoingMessage(to=f"+2547110{end}", text="Hi")))
        assert {name: getattr(caught.value, name) for name in facts} == facts


async def test_what_no_description_sends_is_told() -> None:
    """With the place, and what was expected there."""
    async with running(Options(), SENDING) as fake, client() as http:
        url = f"{fake.url}/africas-talking/messaging"
        headers = {"accept": "application/json"}
        answer = await http.post(url, headers=headers, data={"username": "acme"})
        assert (answer.status_code, answer.text) == (400, "headers.apikey: missing\n")
        headers["apikey"] = KEY
        answer = await http.post(url, headers=headers, data={"username": "acme", "to": PERSON})
        assert (answer.status_code, answer.text) == (400, "form.message: missing\n")


@pytest.mark.parametrize("name", ["africas-talking", "infobip", "jasmin"])
async def test_reports_come_back(name: str) -> None:
    """The example of a report, about the message that was sent, as the description reads it."""
    async with catching() as catcher:
        options = Options(**AT_ONCE, callbacks={name: f"{catcher.url}/hooks/x/token"})
        async with running(options, SENDING) as fake, client() as http:
            api = api_at(fake, name)
            await asked(http, api.send(OutgoingMessage(to=PERSON, text="Karibu")))
            await until_count(fake, "callbacks_sent", 1)
            [message] = fake.sent
        last = catcher.caught[-1]
    assert last.path.endswith("/hooks/x/token")
    headers = [(key.encode(), value.encode()) for key, value in last.headers.items()]
    push = Push(method="POST", headers=headers, body=last.body, received_at=utc_now())
    report, *_ = api.provider.parse(push)
    assert isinstance(report, Parsed)
    assert isinstance(report.data, DeliveryReport)
    assert report.data.message_id == message.id
    assert report.data.to in (PERSON, None)


async def test_every_gateway_has_its_address() -> None:
    """Those that send; a callback address of another is refused."""
    async with running(Options(), SENDING) as fake:
        assert list(fake.urls) == list(SENDING)
