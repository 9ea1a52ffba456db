"""Reads the times, texts and networks of pushes, as a description says that they are written."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any

from receiver.providers.contract import Provider, Push
from receiver.providers.described.compilation import Compilation
from receiver.providers.described.grammar import Text, Time
from receiver.providers.payloads import as_network, as_text, as_word
from receiver.text.times import instant

#: Returns the time that a value is, in UTC: that of the arrival where it is none.
ReadTime = Callable[[Provider[Any], Any, datetime], datetime]
ReadText = Callable[[Any, Push], str | None]

#: Any time, to try a format with.
_ANY = datetime(2026, 11, 20, 9, tzinfo=UTC)
#: Characters of the longest text that is read as a time.
_LONGEST = 64
_UNIX = {"unix": 1, "unix-ms": 1000}
#: The note of an event whose text is not written as the description says.
UNDECODED = "its text is not encoded as the description says: it is kept as it came"


def compile_time(found: Compilation, key: str, time: str | Time | None) -> ReadTime:
    """Returns what reads the time at the path `path_of(time)`."""
    if not isinstance(time, Time):
        time = Time(path=time or "")
    if time.format not in ("iso", *_UNIX) and not _is_format(time.format):
        expected = "expected iso, unix, unix-ms or a format of strptime"
        found.fault(f"{key}.format", f"{expected}, got {time.format!r}")
    parse, zone = moment_reader(time.format), time.zone

    def read(provider: Provider[Any], value: Any, came: datetime) -> datetime:
        return parse(as_word(value), zone or provider.timezone, came) or came

    return read


def path_of(time: str | Time | None) -> str | None:
    """Returns the path of a time."""
    return time.path if isinstance(time, Time) else time


def moment_reader(format_: str) -> Callable[[str | None, tzinfo, datetime], datetime | None]:
    """Returns what reads a text in a format of `time`; None for one that is no time."""
    if format_ == "iso":
        return instant

    def read(text: str | None, zone: tzinfo, came: datetime) -> datetime | None:
        if text is None or len(text) > _LONGEST:
            return None
        if format_ in _UNIX:
            return _since_1970(text, _UNIX[format_])
        return _formatted(text, format_, zone, came)

    return read


def written(format_: str, moment: datetime) -> str:
    """Writes a time in a format of `time`; `moment` is in the zone that the format leaves out."""
    if format_ == "iso":
        return moment.isoformat("T", "seconds")
    if format_ in _UNIX:
        return str(int(moment.timestamp()) * _UNIX[format_])
    return moment.strftime(format_)


def compile_text(found: Compilation, key: str, text: str | Text | list[str | Text]) -> ReadText:
    """Returns what reads the text of an item: the first of several that is there."""
    if not isinstance(text, list):
        return _text(found, key, text)
    readers = [_text(found, f"{key}[{n}]", each) for n, each in enumerate(text)]

    def read(item: Any, push: Push) -> str | None:
        for reader in readers:
            if (value := reader(item, push)) is not None:
                return value
        return None

    return read


def compile_network(networks: Mapping[str, str]) -> Callable[[Any], str | None]:
    """Returns what reads the name of a network, or the name that stands for its code."""
    names = {code.casefold(): name.lower() for code, name in networks.items()}
    if not names:
        return as_network

    def read(value: Any) -> str | None:
        word = as_network(value)
        return names.get(word, word) if word is not None else None

    return read


def _text(found: Compilation, key: str, text: str | Text) -> ReadText:
    if isinstance(text, str):
        get = found.path(key, text)
        return lambda item, push: as_text(get(item, push))
    get = found.path(key, text.path)
    _, test = found.conditions(f"{key}.when", text.when)

    def read(item: Any, push: Push) -> str | None:
        if test is not None and not test(item, push):
            return None
        value = as_text(get(item, push))
        if value is None or text.encoding is None:
            return value
        try:
            return _bytes(value, text.encoding).decode(text.charset, "replace")
        except ValueError:
            push.notes.append(UNDECODED)
            return value

    return read


def _bytes(text: str, encoding: str) -> bytes:
    if encoding == "hex":
        return bytes.fromhex(text)
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def _is_format(format_: str) -> bool:
    try:
        datetime.strptime(_ANY.strftime(format_), format_)  # noqa: DTZ007 - only tried
    except ValueError:
        return False
    return "%" in format_


def _since_1970(text: str, unit: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(float(text) / unit, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _formatted(text: str, format_: str, zone: tzinfo, came: datetime) -> datetime | None:
    """Reads a time by strptime, then as every other: two hours in autumn have one name."""
    try:
        moment = datetime.strptime(text, format_)  # noqa: DTZ007 - the zone is added by `instant`
    except ValueError:
        return None
    return instant(moment.isoformat(), zone, came)
