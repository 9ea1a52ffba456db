"""Rules for tests: the plugin made of some, and what it answers."""

from __future__ import annotations

from typing import Any

import msgspec

from receiver.handlers import Finding, People, Reply, SourceInfo
from receiver.people import Nobody
from receiver.plugin_host.loader import Plugin
from tests.plugins.asking import ask, faults, load, message

ECHO = "{{ keyword }}|{{ rest }}"


def rules(*given: dict[str, Any], **settings: Any) -> Plugin:
    """The plugin with these rules; one without a reply gets `ECHO`."""
    return load("keyword_reply", rules=[{"reply": ECHO, **rule} for rule in given], **settings)


def wrong(*given: dict[str, Any], **settings: Any) -> dict[str, str]:
    """What is wrong with these rules."""
    every = [{"reply": ECHO, **rule} for rule in given]
    return faults("keyword_reply", rules=every, **settings)


def reply(plugin: Plugin, text: str, **data: Any) -> str | None:
    """What a message is answered with."""
    return answer(plugin, message(text, **data))


def answer(plugin: Plugin, about: Any) -> str | None:
    """What an event is answered with."""
    asked = ask(plugin, about)
    if not asked:
        return None
    [action] = asked
    assert isinstance(action, Reply)
    return action.text


def render(template: str, text: str = "GAME one", **data: Any) -> str | None:
    """What a template makes of a message."""
    return reply(rules({"keyword": "GAME", "reply": template}), text, **data)


def findings(*given: dict[str, Any], limit: int | None = None, **settings: Any) -> dict[str, str]:
    """What lint says of these rules and a default one for any address, by key."""
    every = [{"reply": "fine", **rule} for rule in given]
    plugin = load("keyword_reply", rules=every, **settings)
    source = SourceInfo(name="uk", provider="text-connect", max_reply=limit)
    found = linted(plugin, {"uk": source})
    assert len({finding.key for finding in found}) == len(found), found
    return {finding.key: finding.message for finding in found}


def linted(plugin: Plugin, sources: dict[str, SourceInfo]) -> list[Finding]:
    """What a plugin warns of."""
    assert plugin.lint is not None
    return plugin.lint(msgspec.structs.replace(plugin.context, sources=sources))


class Subscribers(Nobody):
    """People of whom some are subscribers of the service 32."""

    def __init__(self, *numbers: str) -> None:
        self.numbers = numbers
        self.asked = 0

    def is_subscriber(
        self, msisdn: str, *, service_id: str | None = None, short_code: str | None = None
    ) -> bool:
        """Whether the number is one of those given."""
        self.asked += 1
        return service_id == "32" and msisdn in self.numbers


def among(plugin: Plugin, people: People) -> Plugin:
    """The plugin with these people in its context."""
    context = msgspec.structs.replace(plugin.context, people=people)
    return msgspec.structs.replace(plugin, context=context)
