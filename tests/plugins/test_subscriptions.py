"""The subscription book follows what providers push, and the words that people send."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins import subscriptions
from plugins.opt_out.words import START_WORDS, STOP_WORDS
from receiver.events import EventType
from receiver.handlers import Reply, SourceInfo, Subscribe, Subscription, Unsubscribe
from receiver.people import Nobody
from receiver.plugin_host.loader import Plugin
from tests.harness import NOW, inbound, opened, settings, subscription, take
from tests.plugins.asking import PERSON, ask, change, explain, faults, load, message

ACTIVATED, DEACTIVATED = EventType.SUBSCRIPTION_ACTIVATED, EventType.SUBSCRIPTION_DEACTIVATED
FIELDS: dict[str, Any] = {
    "msisdn": PERSON,
    "short_code": "22915",
    "service_id": "44",
    "keyword": "GAME",
    "subscriber_ref": "12345",
    "network": "safaricom",
}


@pytest.mark.parametrize(("type_", "record"), [(ACTIVATED, Subscribe), (DEACTIVATED, Unsubscribe)])
def test_change_is_booked(type_: EventType, record: type[Subscribe | Unsubscribe]) -> None:
    """An activation subscribes, a deactivation unsubscribes, with all that is known."""
    assert ask(load("subscriptions"), change(type_, **FIELDS)) == (record(**FIELDS),)


def test_greetings() -> None:
    """Who joins is welcomed and who leaves is told goodbye, where there are texts for it."""
    plugin = load("subscriptions", welcome="Hello!", goodbye="Bye!")
    assert ask(plugin, change(ACTIVATED))[1:] == (greeting("Hello!"),)
    assert ask(plugin, change(DEACTIVATED))[1:] == (greeting("Bye!"),)


def test_one_greeting_only() -> None:
    """A welcome without a goodbye leaves the other silent."""
    plugin = load("subscriptions", welcome="Hello!")
    assert ask(plugin, change(DEACTIVATED)) == (Unsubscribe(msisdn=PERSON),)


# Services of the configuration

NEWS: dict[str, Any] = {
    "name": "News",
    "short_code": "22915",
    "service_id": "44",
    "join": ["NEWS", "Join news"],
    "leave": ["STOP NEWS", "LEAVE NEWS"],
    "welcome": "Welcome to {name}, {msisdn}. You sent {keyword}.",
    "goodbye": "You left {name}.",
    "already": "You have {name}.",
    "not_member": "You do not have {name}.",
}
JOINED = Subscribe(msisdn=PERSON, short_code="22915", service_id="44", keyword="NEWS")
LEFT = Unsubscribe(msisdn=PERSON, short_code="22915", service_id="44", keyword="STOP NEWS")


def greeting(text: str) -> Reply:
    """For who joined or left by what is booked with it."""
    return Reply(text, if_changed=True)


class Known(Nobody):
    """The book has one line."""

    def __init__(self, line: Subscription) -> None:
        self.line = line

    def subscriptions(self, msisdn: str) -> list[Subscription]:
        """Somebody's line is there for that person alone."""
        return [self.line] if msisdn == self.line.msisdn else []


def services(*each: dict[str, Any], **options: Any) -> Plugin:
    """The plugin with these services; what is None is left out, as TOML has none."""
    written = [{key: value for key, value in one.items() if value is not None} for one in each]
    return load("subscriptions", services=written, **options)


def knowing(plugin: Plugin, state: str, since: datetime = NOW - timedelta(hours=1)) -> Plugin:
    """The plugin, where the book says this of the person and NEWS."""
    fields: dict[str, Any] = {
        "state": state,
        "since": since,
        "source": "tilil",
        "short_code": "22915",
        "service_id": "44",
    }
    line = Subscription(msisdn=PERSON, keyword=None, subscriber_ref=None, network=None, **fields)
    context = msgspec.structs.replace(plugin.context, people=Known(line))
    return msgspec.structs.replace(plugin, context=context)


def managed(plugin: Plugin) -> Plugin:
    """The plugin, where the provider manages subscriptions."""
    info = SourceInfo(name="tilil", provider="tilil", manages_subscriptions=True)
    context = msgspec.structs.replace(plugin.context, sources={"tilil": info})
    return msgspec.structs.replace(plugin, context=context)


def test_without_services_messages_are_no_changes() -> None:
    """A message that says JOIN is not the provider's word for it."""
    assert ask(load("subscriptions"), message("JOIN")) == ()


@pytest.mark.parametrize(
    "text",
    [
        *("NEWS", "news", " News! ", '"news"', "NEWS .", "! NEWS", "\u200bnews\u00a0", "\uff2eEWS"),
        *("join news", "JOIN  NEWS", "Join\u00a0News 🙏", "join, news!"),
    ],
)
def test_a_word_joins(text: str) -> None:
    """As the whole message, in any spelling; the message's network and address are booked."""
    joined, reply = ask(services(NEWS), message(text, network="safaricom"))
    assert isinstance(joined, Subscribe)
    assert (joined.msisdn, joined.short_code, joined.service_id) == (PERSON, "22915", "44")
    assert joined.keyword in ("NEWS", "JOIN NEWS")
    assert joined.network == "safaricom"
    assert reply == greeting(f"Welcome to News, {PERSON}. You sent {joined.keyword}.")


@pytest.mark.parametrize(
    "text",
    [
        "news today",
        "newsletter",
        "the news",
        "join",
        "stop",
        "STOP",
        "join news now",
        "",
        "?",
        "🙏",
    ],
)
def test_a_sentence_is_no_word(text: str) -> None:
    """Nor is a part of a word, nor the bare STOP that is opt_out's."""
    assert ask(services(NEWS), message(text)) == ()


@given(st.text())
def test_any_text_may_come(text: str) -> None:
    """Whatever people send, the plugin neither fails nor says what the service does not."""
    for action in ask(_PLUGIN, message(text)):
        assert isinstance(action, Subscribe | Unsubscribe | Reply)


_PLUGIN = services(NEWS)


def test_words_are_those_of_an_address_and_a_source() -> None:
    """A word to another number, or through another source, is a message like any other."""
    assert ask(services(NEWS), message("NEWS", to="70700")) == ()
    assert ask(services(NEWS), message("NEWS", to=None)) == ()
    assert ask(services({**NEWS, "source": "other"}), message("NEWS")) == ()
    assert ask(services({**NEWS, "source": "tilil"}), message("NEWS"))
    number = services({**NEWS, "short_code": "+44 7786 200000"})
    assert ask(number, message("NEWS", to="+447786200000"))


def test_one_word_may_be_of_several_short_codes() -> None:
    """Each its own service."""
    plugin = services(NEWS, {**NEWS, "name": "Other", "short_code": "70700", "service_id": "45"})
    [joined, reply] = ask(plugin, message("NEWS", to="70700"))
    assert isinstance(joined, Subscribe)
    assert joined.service_id == "45"
    assert isinstance(reply, Reply)
    assert reply.text.startswith("Welcome to Other")


def test_only_people_join() -> None:
    """Short codes and names are no subscribers."""
    assert ask(services(NEWS), message("NEWS", sender="SAFARICOM")) == ()


def test_who_is_a_subscriber_is_told_so() -> None:
    """And booked again, so that an older deactivation that comes later does not win."""
    plugin = knowing(services(NEWS), "active")
    assert ask(plugin, message("NEWS")) == (JOINED, Reply("You have News."))
    silent = knowing(services({**NEWS, "already": None}), "active")
    assert ask(silent, message("NEWS")) == (JOINED,)


def test_a_word_leaves() -> None:
    """Who is a subscriber is told goodbye."""
    plugin = knowing(services(NEWS), "active")
    assert ask(plugin, message("stop news")) == (LEFT, greeting("You left News."))


def test_who_is_no_subscriber_cannot_leave() -> None:
    """They are told so, and it is booked all the same: an older join may still come."""
    told = (LEFT, Reply("You do not have News."))
    assert ask(services(NEWS), message("STOP NEWS")) == told
    assert ask(knowing(services(NEWS), "inactive"), message("STOP NEWS")) == told


@pytest.mark.parametrize(("state", "text"), [("active", "STOP NEWS"), ("inactive", "NEWS")])
def test_a_late_message_is_not_greeted(state: str, text: str) -> None:
    """Where the book has a newer change, the older one is history."""
    later = knowing(services(NEWS), state, NOW + timedelta(minutes=1))
    [booked] = ask(later, message(text))
    assert isinstance(booked, Subscribe | Unsubscribe)


def test_texts_of_the_plugin_are_those_of_services_without_their_own() -> None:
    """An empty text is silence that nobody else fills."""
    bare = {name: NEWS[name] for name in ("name", "short_code", "join", "leave", "service_id")}
    plugin = services(bare, welcome="Hi from {name}!")
    assert ask(plugin, message("NEWS"))[1] == greeting("Hi from News!")
    assert ask(services(bare), message("NEWS")) == (JOINED,)
    empty = services({**bare, "welcome": ""})
    assert ask(empty, message("NEWS")) == (JOINED, greeting(""))
    none = knowing(services({**bare, "already": ""}), "active")
    assert ask(none, message("NEWS")) == (JOINED, Reply(""))


def test_what_people_send_is_a_value_in_texts() -> None:
    """A number or keyword with braces in it is put in as it is."""
    plugin = load("subscriptions", welcome="{keyword}|{msisdn}|{name}|{{}}")
    pushed = change(ACTIVATED, keyword="{msisdn}")
    assert ask(plugin, pushed)[1] == greeting(f"{{msisdn}}|{PERSON}|{{msisdn}}|{{}}")


# Providers that manage subscriptions


def test_leaving_is_told_to_the_provider() -> None:
    """Where it manages the subscriptions of a service that has its id."""
    [left, _] = ask(managed(services(NEWS)), message("STOP NEWS"))
    assert left == msgspec.structs.replace(LEFT, at_provider=True)
    [left, _] = ask(managed(services({**NEWS, "service_id": None})), message("STOP NEWS"))
    assert isinstance(left, Unsubscribe)
    assert not left.at_provider


def test_joining_is_for_the_provider_to_decide() -> None:
    """Nothing is booked or said, and nobody else answers, until it pushes an activation."""
    plugin = managed(services(NEWS))
    assert ask(plugin, message("NEWS")) == (Reply(""),)
    assert ask(knowing(plugin, "active"), message("NEWS")) == (Reply("You have News."),)
    silent = managed(services({**NEWS, "already": None}))
    assert ask(knowing(silent, "active"), message("NEWS")) == (Reply(""),)
    own = managed(services({**NEWS, "service_id": None}))
    assert isinstance(ask(own, message("NEWS"))[0], Subscribe)


def test_pushes_get_the_texts_of_their_service() -> None:
    """Others those of the plugin, by the keyword or else the service's id for a name."""
    plugin = services(NEWS, welcome="Hi, {name}")
    assert ask(plugin, change(ACTIVATED, **FIELDS))[1] == greeting(
        f"Welcome to News, {PERSON}. You sent GAME."
    )
    other = {**FIELDS, "service_id": "9"}
    assert ask(plugin, change(ACTIVATED, **other))[1] == greeting("Hi, GAME")
    assert ask(plugin, change(ACTIVATED, **{**other, "keyword": None}))[1] == greeting("Hi, 9")
    assert ask(plugin, change(ACTIVATED))[1] == greeting("Hi, ")


@pytest.mark.parametrize(
    ("state", "type_", "age", "greeted"),
    [
        ("active", ACTIVATED, 1, False),
        ("active", DEACTIVATED, 1, True),
        ("active", DEACTIVATED, -1, False),
        ("active", DEACTIVATED, 0, True),
        ("inactive", ACTIVATED, 1, True),
        ("inactive", ACTIVATED, 0, False),
        ("inactive", ACTIVATED, -1, False),
        ("inactive", DEACTIVATED, 1, False),
    ],
)
def test_pushes_are_greeted_once(state: str, type_: EventType, age: int, *, greeted: bool) -> None:
    """Not who left by a word and whose deactivation comes for that, nor for old news."""
    plugin = knowing(services(NEWS), state, NOW - timedelta(minutes=age))
    actions = ask(plugin, change(type_, **FIELDS))
    assert len(actions) == (2 if greeted else 1)


@pytest.mark.anyio
async def test_a_word_and_an_older_push_meet_in_the_store(tmp_path: Path) -> None:
    """A join by a message stands against a deactivation of before it, whichever comes first."""
    raw = settings()
    raw["plugins"]["subscriptions"] = {"services": [NEWS]}
    person = "254726770792"
    async with opened(tmp_path, raw) as service:
        answer = await take(service, inbound(1, "join news", timestamp="20261120120000"))
        assert b"Welcome to News" in answer.body
        answer = await take(service, inbound(2, "news", timestamp="20261120120001"))
        assert b"You have News." in answer.body
        await take(service, subscription("deactivation", "20261120110000", mobile=person))
        find = service.store.reader.subscriptions.find
        assert [line.state async for line in find()] == ["active"]
        answer = await take(service, inbound(3, "leave news", timestamp="20261120130000"))
        assert b"You left News." in answer.body
        pushed = subscription("deactivation", "20261120130002", mobile=person)
        assert b"You left" not in (await take(service, pushed)).body
        [line] = [line async for line in find()]
        assert (line.state, line.short_code, line.service_id) == ("inactive", "22915", "44")


# What the plugin says of itself


def test_explanations() -> None:
    """Each service, what it makes of a message, and why."""
    plugin = services(NEWS, {**NEWS, "short_code": "70700", "name": "Far", "source": "tilil"})
    news, far = explain(plugin, message("join news"))
    assert (news.rule, news.verdict) == ("services[0] News", "answers")
    assert news.why == "the whole message is JOIN NEWS: the sender wants to join"
    assert (news.reply or "").startswith("Welcome to News")
    assert (far.verdict, far.why) == ("no", "only for messages to 70700 through tilil")
    [news, _] = explain(plugin, message("hello"))
    words = "NEWS, JOIN NEWS, STOP NEWS, LEAVE NEWS"
    assert (news.verdict, news.why) == ("no", f"the whole message is none of {words}")
    [news, _] = explain(plugin, message("news", sender="SAFARICOM"))
    assert (news.verdict, news.reply) == ("no", None)
    [news] = explain(managed(services(NEWS)), message("news"))
    assert (news.verdict, news.reply) == ("acts", None)
    assert news.why.endswith("which is for tilil to decide")
    [bare] = explain(services({"name": "N", "short_code": "22915"}), message("news"))
    assert bare.why == "no words join or leave it"
    assert explain(load("subscriptions"), message("news")) == []


def test_faults_are_named() -> None:
    """Texts that cannot be filled, words that are none or somebody's already, doubled services."""
    broken = {
        **NEWS,
        "name": "Broken",
        "short_code": " ",
        "join": ["", "!", "a", "A!"],
        "leave": ["a"],
        "welcome": "{nmae}",
        "goodbye": "{",
        "already": "{name.__class__}",
        "not_member": "{name!r}",
    }
    found = faults("subscriptions", services=[NEWS, {**NEWS, "leave": ["x"]}, broken], goodbye="{}")
    assert found["goodbye"].endswith("got {}")
    assert found["services[1].join[0]"] == "NEWS is a word to join News already, on 22915"
    assert found["services[1]"].startswith("the same service as services[0] News")
    assert found["services[2].short_code"].startswith("expected a short code")
    assert found["services[2].join[0]"] == "expected a word, got an empty text"
    assert found["services[2].join[3]"] == "A is a word to join Broken already, on  "
    assert found["services[2].leave[0]"].startswith("A is a word to join Broken already")
    for text in ("welcome", "goodbye", "already", "not_member"):
        assert "{name}, {keyword}, {msisdn}" in found[f"services[2].{text}"]
    assert "services[2].join[1]" not in found


def test_sources_keep_words_apart() -> None:
    """The same words on the same number through different sources are no clash."""
    one, two = {**NEWS, "source": "tilil"}, {**NEWS, "source": "other"}
    assert services(one, two)
    assert "services[1].join[0]" in faults("subscriptions", services=[one, NEWS])


def test_a_word_with_a_number_is_taken_by_opt_out() -> None:
    """`STOP1` reads as STOP; `STOP 1` is a word of its own."""
    plugin = services({**NEWS, "leave": ["stop1", "STOP 1", "STOP NEWS"]})
    assert plugin.lint is not None
    found = [finding for finding in plugin.lint(plugin.context) if "opt_out" in finding.message]
    assert [finding.key for finding in found] == ["services[0].leave[0]"]
    assert found[0].message.startswith("STOP1 is a word of opt_out")


def test_findings() -> None:
    """Words of opt_out, services without a way out, sources that there are not."""
    plugin = services({**NEWS, "join": ["Start"], "leave": [], "source": "tilil"})
    assert plugin.lint is not None
    found = {finding.key: finding.message for finding in plugin.lint(plugin.context)}
    assert found == {
        "services[0].join[0]": "START is a word of opt_out, which takes it for all services",
        "services[0].leave": "people can join News by a word and leave it by none",
        "services[0].source": "there is no source 'tilil', so nothing comes through it;"
        " the sources are none",
    }
    assert managed(plugin).context.sources
    assert "services[0].source" not in {f.key for f in plugin.lint(managed(plugin).context)}


@pytest.mark.parametrize(
    ("service", "source", "told"),
    [
        (NEWS, {"keeps_subscriptions": True}, True),
        ({**NEWS, "source": "tilil"}, {"keeps_subscriptions": True}, True),
        (NEWS, {"keeps_subscriptions": True, "manages_subscriptions": True}, False),
        (NEWS, {}, False),
        ({**NEWS, "service_id": None}, {"keeps_subscriptions": True}, False),
        ({**NEWS, "source": "other"}, {"keeps_subscriptions": True}, False),
    ],
)
def test_a_provider_that_is_not_told_of_an_end_is_a_finding(
    service: dict[str, Any], source: dict[str, bool], *, told: bool
) -> None:
    """Who left or opted out here may be charged there, until the source has a send."""
    plugin = services(service)
    info = msgspec.structs.replace(SourceInfo(name="tilil", provider="tilil"), **source)
    context = msgspec.structs.replace(plugin.context, sources={"tilil": info})
    assert plugin.lint is not None
    found = {finding.key: finding.message for finding in plugin.lint(context)}
    assert ("services[0].service_id" in found) is told
    if told:
        assert "add [sources.tilil.send]" in found["services[0].service_id"]


def test_reserved_words_are_those_of_opt_out() -> None:
    """Plugins do not import each other, so the list stands twice."""
    assert {*STOP_WORDS, *START_WORDS} <= subscriptions.RESERVED
