"""The settings in `[plugins.keyword_reply]`."""

from __future__ import annotations

from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from receiver.handlers import Address

#: Characters of a name that are shown; patterns may be long.
_MOST_LABEL = 60

Match = Literal["first", "exact", "prefix", "regex", "default"]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """`[[plugins.keyword_reply.rules]]`."""

    keyword: str | None = None
    """One or several words that begin a message, or are the whole of it."""
    aliases: list[str] = []
    match: Match = "first"
    """`default`: answers messages that no other rule answers."""
    pattern: str | None = None
    """The pattern of a `regex` rule, in RE2's syntax."""
    to: Address | list[Address] | None = None
    """Only messages to this short code or number, or to one of these."""
    from_: Any = msgspec.field(default=None, name="from")
    """A date or datetime of TOML: only messages that come then or later."""
    until: Any = None
    """A date of TOML, which is the last day, or a datetime, which is the first moment after."""
    hours: str | None = None
    """`08:00-17:00`; may pass midnight."""
    days: list[Day] = []
    """Days of the week; hours that pass midnight belong to the day on which they begin."""
    networks: list[str] = []
    subscribers_of: str | None = None
    """A service_id: only its subscribers."""
    non_subscribers_of: str | None = None
    """A service_id: only people who are not its subscribers."""
    reply: str
    """Empty: nothing is answered, and nothing else may answer."""

    @property
    def label(self) -> str:
        """The name of the rule for people."""
        return self.keyword or self.pattern or self.match

    def place(self, n: int) -> str:
        """Returns the rule's place in the file and its name: `rules[3] GAME`."""
        return f"rules[{n}] {self.label[:_MOST_LABEL]}"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`[plugins.keyword_reply]`."""

    timezone: ZoneInfo | None = None
    """The time zone of dates, hours, days, and times in replies."""
    fold_quotes: bool = False
    """Writes replies' smart quotes, dashes and the like as GSM-7 has them."""
    rules: list[Rule] = []
