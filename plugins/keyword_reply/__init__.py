"""Answers messages by rules: a keyword, perhaps the number written to, and a reply.

The first rule in file order that fits a message answers it; where none does, and no other plugin
replies either, the first `default` rule. However many rules there are, finding one is a look into
tables. Replies are Jinja2 templates in a sandbox. What people send is only ever a value in them.

`settings` reads the configuration, `tables` makes `Rules` of it, `matching` finds the rule for a
message, `conditions` decides if it may answer, and `templates` makes the text, with
`engine` where that needs one; `linting` and `explaining` are for people.
"""

from __future__ import annotations

from receiver.handlers import Context, Event, Message, Reply, on_message

from .explaining import explain
from .linting import lint
from .matching import Found, Rules
from .settings import Rule, Settings
from .tables import setup
from .templates import MAX_REPLY, VARIABLES, ReplyFailed

__all__ = [
    "MAX_REPLY",
    "VARIABLES",
    "Found",
    "ReplyFailed",
    "Rule",
    "Rules",
    "Settings",
    "answer",
    "answer_default",
    "explain",
    "lint",
    "setup",
]


@on_message(inline=True)
def answer(event: Event[Message], context: Context[Rules]) -> Reply | None:
    """Answers with the reply of the first rule that fits."""
    found = context.state.find(event, context.people)
    return None if found is None else context.state.reply(found, event)


@on_message(inline=True, last=True)
def answer_default(event: Event[Message], context: Context[Rules]) -> Reply | None:
    """Answers what no rule fits, and no other plugin answers, with the reply of a default rule."""
    found = context.state.default(event, context.people)
    return None if found is None else context.state.reply(found, event)
