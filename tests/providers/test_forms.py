"""Multipart forms and character sets, from any bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import Unreadable
from receiver.providers.charsets import GUESSED, reader
from receiver.providers.forms import MOST_PARAMETERS, read_body
from tests.providers import pushes

BOUNDARY = b"----x7f"


def multipart(fields: list[tuple[str, bytes]]) -> bytes:
    """A form as browsers and curl write it."""
    head = "Content-Disposition: form-data; name="
    parts = [
        b'--%b\r\n%b"%b"\r\n\r\n%b\r\n' % (BOUNDARY, head.encode(), name.encode(), value)
        for name, value in fields
    ]
    return b"".join([*parts, b"--%b--\r\n" % BOUNDARY])


FIELDS = st.lists(
    st.tuples(st.sampled_from(["auth", "msg", "id"]), st.text("a-\r\n 7x£\U0001f600%+&=")),
    min_size=1,
    max_size=6,
)


@given(FIELDS)
def test_multipart_forms_come_back_exactly(fields: list[tuple[str, str]]) -> None:
    """Names and values are read as they were written; other names are skipped."""
    body = multipart([(name, value.encode()) for name, value in fields])
    read = read_body(pushes.push(body=body), "auth", "msg")
    for name in ("auth", "msg"):
        assert read.get(name, []) == [value for known, value in fields if known == name]
    assert "id" not in read


@given(FIELDS, st.integers(0, 400), st.integers(0, 40), st.binary(max_size=12))
def test_damaged_multipart_forms_are_read_or_unreadable(
    fields: list[tuple[str, str]], start: int, length: int, matter: bytes
) -> None:
    """No bytes in a form raise anything but `Unreadable`."""
    body = bytearray(multipart([(name, value.encode()) for name, value in fields]))
    body[start : start + length] = matter
    try:
        read = read_body(pushes.push(body=bytes(body)), "auth", "msg")
    except Unreadable:
        return
    json.dumps(read).encode()


def test_too_many_fields_are_unreadable() -> None:
    """A form that takes long to read is refused; its text may have the boundary's letters."""
    read_body(pushes.push(body=multipart([("a", b"x7f" * 9000)] * (MOST_PARAMETERS - 1))), "a")
    with pytest.raises(Unreadable, match="fields"):
        read_body(pushes.push(body=multipart([("a", b"")] * (MOST_PARAMETERS + 1))), "a")


@given(st.binary(), st.text() | st.sampled_from(["utf-8", "ISO-8859-1", "ascii", "gb18030"]))
def test_any_bytes_have_a_character_set(data: bytes, declared: str) -> None:
    """Whatever is declared, what comes can be written as JSON."""
    decode, _ = reader(data, declared)
    json.dumps(decode(data), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "declared", ["", "x", "punycode", "idna", "utf-16", "utf-7", "zlib", "unicode_escape", "a\0b"]
)
def test_what_is_no_character_set_of_texts_is_none(declared: str) -> None:
    """Python knows more codecs than gateways may choose; some take very long."""
    decode, note = reader(b"\xa3", declared)
    assert (decode(b"\xa3"), note) == ("£", GUESSED)


@given(st.lists(st.sampled_from("é£ñ€è"), min_size=1).map(" ".join))
def test_windows_1252_is_told_from_utf_8(text: str) -> None:
    """Each is read as what it is: only letters beside each other may look like UTF-8 by chance."""
    for charset in ("utf-8", "cp1252"):
        decode, _ = reader(text.encode(charset), None)
        assert decode(text.encode(charset)) == text
