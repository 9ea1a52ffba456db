"""Compiles `[answer]`: what the gateway hears when a push is taken, with or without a reply."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from xml.sax.saxutils import escape as escape_xml

import msgspec

from receiver.providers.contract import Answer
from receiver.providers.described import grammar
from receiver.providers.described.compilation import Compilation

_REPLY = re.compile(r"\{([a-z_]+)(?::([a-z]+))?\}")
#: What XML cannot say at all.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

#: By the form in a template: writes a reply, and reads it again.
_FORMS: dict[str, tuple[Callable[[str], str], Callable[[str], str]]] = {
    "": (str, str),
    "xml": (lambda text: _NOT_XML.sub("\ufffd", escape_xml(text, {"\r": "&#13;"})), unescape),
    "json": (lambda text: json.dumps(text)[1:-1], lambda text: str(json.loads(f'"{text}"'))),
}


class Answers(msgspec.Struct, frozen=True):
    """The answers to pushes."""

    plain: Answer
    content_type: bytes
    refused: Answer | None
    """The answer to a push that is not taken; None: as everybody's."""
    around: tuple[bytes, bytes] | None
    """What stands before and after a reply; None: an answer carries none."""
    form: str

    def with_reply(self, reply: str) -> Answer:
        """Returns the answer that carries a reply."""
        assert self.around is not None
        before, after = self.around
        said = _FORMS[self.form][0](reply).encode("utf-8", "replace")
        return Answer(before + said + after, self.content_type)

    def reply_in(self, answer: bytes) -> str:
        """Returns the reply in an answer; empty without one."""
        if self.around is None or answer == self.plain.body:
            return ""
        before, after = self.around
        if not (answer.startswith(before) and answer.endswith(after)):
            return ""
        said = answer[len(before) : len(answer) - len(after)].decode("utf-8", "replace")
        return _FORMS[self.form][1](said)


def compile_answer(found: Compilation, answer: grammar.Answer) -> Answers:
    """Returns the answers of a description."""
    content_type = answer.type.encode("latin-1", "replace")
    if not answer.type.isascii() or not answer.type.isprintable():
        found.fault("answer.type", "expected a content type such as text/xml")
    around, form = None, ""
    if answer.reply is not None:
        around, form = _template(found, answer.reply)
    return Answers(
        plain=Answer(answer.body.encode(), content_type),
        content_type=content_type,
        refused=Answer(answer.refused.encode(), content_type) if answer.refused else None,
        around=around,
        form=form,
    )


def _template(found: Compilation, text: str) -> tuple[tuple[bytes, bytes] | None, str]:
    places = list(_REPLY.finditer(text))
    [place] = places if len(places) == 1 else [None]
    if place is None or place[1] != "reply" or (place[2] or "") not in _FORMS:
        found.fault(
            "answer.reply", "expected {reply}, {reply:xml} or {reply:json} in it, exactly once"
        )
        return None, ""
    return (text[: place.start()].encode(), text[place.end() :].encode()), place[2] or ""
