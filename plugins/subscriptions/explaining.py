"""The lines of `receiver explain` and the warnings of `receiver check`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from receiver.handlers import (
    Action,
    Context,
    Event,
    Explanation,
    Finding,
    Message,
    Reply,
    phrase,
)

from .services import RESERVED, Service, Services, is_managed


def explain_words(
    event: Event[Message], context: Context[Services], asked: Sequence[Action] | None
) -> list[Explanation]:
    """Says of each service if the message is its word, and the effect: the actions `asked` for."""
    services = context.state
    found = services.find(event)
    explanations = []
    for n, service in enumerate(services.listed):
        rule = f"services[{n}] {service.name}"
        if found is None or service is not found.service:
            why = _mismatch(service, event, services)
            explanations.append(Explanation(rule=rule, verdict="no", why=why))
            continue
        if asked is None:
            why = "the sender is no person's number, so there is nobody to join or leave"
            explanations.append(Explanation(rule=rule, verdict="no", why=why))
            continue
        texts = [action.text for action in asked if isinstance(action, Reply)]
        reply = next(filter(None, texts), None)
        why = f"the whole message is {found.text}: the sender wants to {found.kind}"
        if found.kind == "join" and is_managed(service, event, context):
            why += f", which is for {event.provider} to decide"
        verdict: Literal["answers", "acts"] = "answers" if reply else "acts"
        explanations.append(Explanation(rule=rule, verdict=verdict, why=why, reply=reply))
    return explanations


def _mismatch(service: Service, event: Event[Message], services: Services) -> str:
    if not services.is_at(service, event.source_name, event.data.to):
        through = f" through {service.source}" if service.source else ""
        return f"only for messages to {service.short_code}{through}"
    words = ", ".join(map(phrase, [*service.join, *service.leave]))
    return f"the whole message is none of {words}" if words else "no words join or leave it"


def lint(context: Context[Services]) -> list[Finding]:
    """Warns of words that opt_out takes, services that nobody can leave, unknown sources.

    And of providers that are not told when a subscription ends, since their source has no send.
    """
    findings = []
    for n, service in enumerate(context.state.listed):
        key = f"services[{n}]"
        for kind, texts in (("join", service.join), ("leave", service.leave)):
            for m, text in enumerate(texts):
                if phrase(text).strip("0123456789") in RESERVED:
                    why = f"{phrase(text)} is a word of opt_out, which takes it for all services"
                    findings.append(Finding(f"{key}.{kind}[{m}]", why))
        if service.join and not service.leave:
            why = f"people can join {service.name} by a word and leave it by none"
            findings.append(Finding(f"{key}.leave", why))
        if service.source is not None and service.source not in context.sources:
            known = ", ".join(sorted(context.sources)) or "none"
            why = f"there is no source {service.source!r}, so nothing comes through it; the sources"
            findings.append(Finding(f"{key}.source", f"{why} are {known}"))
        if service.service_id is not None:
            findings += _untold(key, service, context)
    return findings


def _untold(key: str, service: Service, context: Context[Services]) -> list[Finding]:
    """Warns of sources whose provider goes on charging people who left a service here."""
    return [
        Finding(
            f"{key}.service_id",
            f"the provider of {source.name} is not told when somebody leaves {service.name} or"
            f" opts out, and may charge them on: add [sources.{source.name}.send] with its api_key",
        )
        for source in context.sources.values()
        if service.source in (None, source.name)
        and source.keeps_subscriptions
        and not source.manages_subscriptions
    ]
