"""Makes delivery reports of the items of pushes, and of answers about a message."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from receiver.errors import Malformed
from receiver.events import DeliveryReport, EventType, Status
from receiver.providers.contract import Parsed, Provider, Push
from receiver.providers.described.compilation import Compilation, words
from receiver.providers.described.fields import compile_network, compile_time, path_of
from receiver.providers.described.push_grammar import Report, Statuses
from receiver.providers.described.send_grammar import StatusAnswer
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
        number = as_number(to)
        return meaning.event(
            message_id,
            (as_word(status), as_word(code)),
            to=provider.person(number) if number is not None else None,
            sender=provider.address(as_number(sender)) if sender is not None else None,
            reason=as_word(reason),
            network=read_network(network) if network is not None else None,
            time=read_time(provider, time, push.received_at),
        )

    return make


class Meaning(msgspec.Struct, frozen=True):
    """The meaning of a gateway's words and codes for a status."""

    known: dict[str, Status]
    ranges: list[tuple[int, int, Status]]
    opted_out: frozenset[str]
    link_invalid: frozenset[str]

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
        meaning = cls(known, ranges, words(table.opted_out), words(table.link_invalid))
        for first, last, status in ranges:
            if any(a <= last and first <= b for a, b, other in ranges if other is not status):
                where = f"{key}.statuses.{status}"
                found.fault(where, f"{first}-{last} overlaps a range of another status")
        return meaning

    def status(self, word: str | None, code: str | None) -> Status:
        """Returns the status: by the gateway's own words and codes, else by the usual words."""
        for said in (word, code):
            if said is not None and (status := self._own(said)) is not None:
                return status
        return status_of(word, code)[1]

    def event(
        self,
        message_id: str,
        said: tuple[str | None, str | None],
        *,
        to: str | None,
        sender: str | None = None,
        reason: str | None = None,
        network: str | None = None,
        time: datetime,
    ) -> Parsed:
        """Makes a delivery report. The same news has the same key, pushed or asked for."""
        word, code = said
        status = self.status(word, code)
        data = DeliveryReport(
            message_id=message_id,
            to=to,
            sender=sender,
            status=status,
            raw_status=word,
            raw_code=code,
            reason=reason,
            network=network,
            final=status.final,
            opted_out=bool(self.opted_out) and _any_of(self.opted_out, word, code, reason),
        )
        # A code may be that of several statuses, such as 0 for no error.
        return Parsed(
            type=EventType.DELIVERY_UPDATED,
            data=data,
            key=f"delivery:{message_id}:{(word or '').casefold()}:{code or ''}",
            time=time,
            link_invalid=bool(self.link_invalid) and _any_of(self.link_invalid, word, code, reason),
        )

    def _own(self, said: str) -> Status | None:
        folded = (without_zeros(said) or said).casefold()
        if (status := self.known.get(folded) or self.known.get(said.casefold())) is not None:
            return status
        if self.ranges and folded.isascii() and folded.isdecimal() and len(folded) < 10:
            number = int(folded)
            return next((s for first, last, s in self.ranges if first <= number <= last), None)
        return None


def _any_of(words: frozenset[str], *said: str | None) -> bool:
    return any(each is not None and each.casefold() in words for each in said)
