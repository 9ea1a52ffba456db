"""Makes delivery reports of the items of pushes, and of answers about a message."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from receiver.errors import Malformed
from receiver.events import DeliveryReport, EventType, Status
from receiver.providers.contract import Parsed, Provider, Push
from receiver.providers.described.compilation import Compilation, words
from receiver.providers.described.fields import compile_network, compile_time, path_of
from receiver.providers.described.grammar import Report, StatusAnswer, Statuses
from receiver.providers.payloads import as_number, as_word
from receiver.providers.statuses import status_of, without_zeros

_RANGE = re.compile(r"(\d{1,9})-(\d{1,9})")


def report(
    found: Compilation, key: str, table: Report, networks: Mapping[str, str]
) -> Callable[[Provider[Any], Any, Push], Parsed]:
    """Returns what makes the event of a message that we sent."""
    find = found.values(
        key,
        message_id=table.message_id,
        to=table.to,
        sender=table.sender,
        status=table.status,
        code=table.code,
        reason=table.reason,
        network=table.network,
        time=path_of(table.time),
    )
    read_network = compile_network(networks)
    read_time = compile_time(found, f"{key}.time", table.time)
    meaning = Meaning.of(found, key, table)
    if table.status is None and table.code is None:
        found.fault(f"{key}.status", "missing: a report needs a status or a code")

    def make(provider: Provider[Any], item: Any, push: Push) -> Parsed:
        id_, to, sender, status, code, reason, network, time = find(item, push)
        message_id = as_word(id_)
        if message_id is None:
            raise Malformed(
                f"expected {table.message_id}, the id that sending returned; it is absent"
            )
        number = as_number(to) if to is not None else None
        return meaning.event(
            message_id,
            as_word(status),
            as_word(code) if code is not None else None,
            read_time(provider, time, push.received_at) if time is not None else push.received_at,
            provider.person(number) if number is not None else None,
            provider.address(as_number(sender)) if sender is not None else None,
            as_word(reason) if reason is not None else None,
            read_network(network) if network is not None else None,
        )

    return make


class Told(NamedTuple):
    """The meaning of a word and a code."""

    status: Status
    final: bool
    opted_out: bool
    link_invalid: bool
    folded: str
    """The word in lower case."""


class Meaning:
    """The meaning of a gateway's words and codes for a status."""

    def __init__(
        self,
        known: Mapping[str, Status],
        ranges: Sequence[tuple[int, int, Status]],
        opted_out: frozenset[str],
        link_invalid: frozenset[str],
    ) -> None:
        self._known = known
        self._ranges = ranges
        self._opted_out = opted_out
        self._link_invalid = link_invalid
        # A gateway has a few words and codes, and millions of reports.
        self._told = lru_cache(maxsize=64)(self._tell)

    @classmethod
    def of(cls, found: Compilation, key: str, table: Report | StatusAnswer) -> Meaning:
        """Returns the meanings of a table; notes words that have two."""
        known: dict[str, Status] = {}
        ranges: list[tuple[int, int, Status]] = []
        for name in Statuses.__struct_fields__:
            status, where = Status(name), f"{key}.statuses.{name}"
            for word in words(getattr(table.statuses, name)):
                if match := _RANGE.fullmatch(word):
                    ranges.append((int(match[1]), int(match[2]), status))
                elif known.setdefault(word, status) is not status:
                    found.fault(where, f"{word} is {known[word]} as well: a word has one meaning")
        for first, last, status in ranges:
            if any(a <= last and first <= b for a, b, other in ranges if other is not status):
                where = f"{key}.statuses.{status}"
                found.fault(where, f"{first}-{last} overlaps a range of another status")
        made = cls(known, ranges, words(table.opted_out), words(table.link_invalid))
        found.meanings.append(made)
        return made

    def has(self, said: str) -> bool:
        """True if the gateway's own words and codes include this one."""
        return self._own(said) is not None

    def status(self, word: str | None, code: str | None) -> Status:
        """Returns the status: by the gateway's own words and codes, else by the usual words."""
        status = self._own(word) if word is not None else None
        if status is None and code is not None:
            status = self._own(code)
        return status if status is not None else status_of(word, code)[1]

    def event(  # noqa: PLR0917 - the fields of a report; names cost each push a tenth more
        self,
        message_id: str,
        word: str | None,
        code: str | None,
        time: datetime,
        to: str | None,
        sender: str | None = None,
        reason: str | None = None,
        network: str | None = None,
    ) -> Parsed:
        """Makes a delivery report. The same news has the same key, pushed or asked for."""
        status, final, opted_out, link_invalid, folded = self._told(word, code)
        if reason is not None:
            why = reason.casefold()
            opted_out |= why in self._opted_out
            link_invalid |= why in self._link_invalid
        data = DeliveryReport(
            message_id=message_id,
            to=to,
            sender=sender,
            status=status,
            raw_status=word,
            raw_code=code,
            reason=reason,
            network=network,
            final=final,
            opted_out=opted_out,
        )
        # A code may be that of several statuses, such as 0 for no error.
        return Parsed(
            type=EventType.DELIVERY_UPDATED,
            data=data,
            key=f"delivery:{message_id}:{folded}:{code or ''}",
            time=time,
            link_invalid=link_invalid,
        )

    def _tell(self, word: str | None, code: str | None) -> Told:
        status = self.status(word, code)
        said = {each.casefold() for each in (word, code) if each is not None}
        return Told(
            status=status,
            final=status.final,
            opted_out=not said.isdisjoint(self._opted_out),
            link_invalid=not said.isdisjoint(self._link_invalid),
            folded=word.casefold() if word is not None else "",
        )

    def _own(self, said: str) -> Status | None:
        folded = said.casefold()
        status = self._known.get(folded)
        if status is not None or not said[:1].isdecimal():
            return status
        plain = without_zeros(folded) or folded
        if plain in self._known:
            return self._known[plain]
        if self._ranges and plain.isascii() and plain.isdecimal() and len(plain) < 10:
            number = int(plain)
            return next((s for first, last, s in self._ranges if first <= number <= last), None)
        return None
