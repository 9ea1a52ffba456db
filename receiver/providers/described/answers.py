"""Compiles `[answer]`: what the gateway hears when a push is taken, with or without a reply."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from receiver.providers.contract import Answer
from receiver.providers.described import grammar
from receiver.providers.described.compilation import Compilation
from receiver.providers.described.templates import FORMS, READERS, Field, Template
from receiver.providers.forms import read_form

#: The forms that a reply may be written in.
_FORMS = (None, FORMS["xml"], FORMS["json"])


class Answers(msgspec.Struct, frozen=True):
    """The answers to pushes."""

    plain: Answer
    refused: Answer | None
    """The answer to a push that is not taken; None: as everybody's."""
    reply: Template | None
    """None: an answer carries no reply."""
    challenge: str | None
    """The parameter of the URL with a text that the gateway wants back when it tries the URL."""

    def challenged(self, query: bytes) -> Answer | None:
        """Returns the text that a gateway wants back; None where it wants none."""
        if self.challenge is None:
            return None
        given = read_form(query, self.challenge).get(self.challenge)
        return Answer(given[-1].encode("utf-8", "replace")) if given else None

    def with_reply(self, text: str) -> Answer:
        """Returns the answer that carries a reply."""
        assert self.reply is not None
        body = self.reply({"reply": text}) or ""
        return Answer(body.encode("utf-8", "replace"), self.plain.content_type)

    def reply_in(self, answer: bytes) -> str:
        """Returns the reply in an answer; empty without one."""
        if self.reply is None or answer == self.plain.body:
            return ""
        before, form, after = _around(self.reply)
        if not (answer.startswith(before) and answer.endswith(after)):
            return ""
        said = answer[len(before) : len(answer) - len(after)].decode("utf-8", "replace")
        return READERS[form](said)


def compile_answer(found: Compilation, answer: grammar.Answer) -> Answers:
    """Returns the answers of a description."""
    if not (answer.type.isascii() and answer.type.isprintable()):
        found.fault("answer.type", "expected a content type such as text/xml")
    content_type = answer.type.encode("ascii", "replace")
    return Answers(
        plain=Answer(answer.body.encode(), content_type),
        refused=Answer(answer.refused.encode(), content_type) if answer.refused else None,
        reply=_reply(found, answer.reply) if answer.reply is not None else None,
        challenge=answer.challenge,
    )


def _reply(found: Compilation, text: str) -> Template | None:
    template = found.template("answer.reply", text, ("reply",))
    if template is None:
        return None
    if len(template.fields) != 1 or template.fields[0].write not in _FORMS:
        found.fault("answer.reply", "expected {reply}, {reply:xml} or {reply:json} in it, once")
    return template


def _around(template: Template) -> tuple[bytes, Callable[[str], str] | None, bytes]:
    """Returns what stands before the reply, what wrote it, and what stands after it."""
    [place] = [n for n, part in enumerate(template.parts) if isinstance(part, Field)]
    before, after = template.parts[:place], template.parts[place + 1 :]
    [field] = template.fields
    return "".join(map(str, before)).encode(), field.write, "".join(map(str, after)).encode()
