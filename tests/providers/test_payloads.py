"""Reading leniently, and totally."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlencode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import Unreadable
from receiver.providers.charsets import BROKEN, GUESSED
from receiver.providers.forms import MOST_PARAMETERS, read_form
from receiver.providers.payloads import (
    _mended,
    as_network,
    as_text,
    as_word,
    decoder,
    read_json,
    repeated,
    without_prefix,
)


class Payload(msgspec.Struct):
    """A payload of two fields."""

    a: Any = None
    data: Any = None


DECODER = decoder(Payload)

READ = {
    "string": (b'{"a":"x"}', "x"),
    "integer": (b'{"a":4448236}', "4448236"),
    "negative": (b'{"a":-1}', "-1"),
    "more than 64 bits": (
        b'{"a":123456789012345678901234567890}',
        "123456789012345678901234567890",
    ),
    "a fraction keeps its digits": (b'{"a":1.50}', "1.50"),
    "an exponent stays": (b'{"a":1E400}', "1E400"),
    "leading zeros": (b'{"a":"007"}', "007"),
    "escapes": (b'{"a":"J\\u0061mbo \\ud83d\\ude00"}', "Jambo \U0001f600"),
    "UTF-8": ('{"a":"Habari ñ ك 😀"}'.encode(), "Habari ñ ك 😀"),
    "white space is typed": (b'{"a":"  x \\n"}', "  x \n"),
    "NUL": (b'{"a":"x\\u0000y"}', "x\x00y"),
    "byte order mark": (b'\xef\xbb\xbf{"a":"x"}', "x"),
    "white space around": (b' \r\n{"a" : "x"}\n', "x"),
    "unknown fields": (b'{"b":[{"a":"y"}],"a":"x","c":null}', "x"),
    "raw control characters": (b'{"a":"x\n\r\ty\x00\x1f"}', "x\n\r\ty\x00\x1f"),
    "raw line breaks inside and outside": (b'{\n"a":\r\n"x\ny"\n}', "x\ny"),
    "an escaped backslash before a raw line break": (b'{"a":"x\\\\\ny"}', "x\\\ny"),
    "NULs after the end": (b'{"a":"x"}\r\n\x00\x00', "x"),
    "half a character": (b'{"a":"\\ud800"}', "\ufffd"),
    "the other half": (b'{"a":"\\uDE00x"}', "\ufffdx"),
    "halves in the wrong order": (b'{"a":"\\ude00\\ud83d"}', "\ufffd\ufffd"),
    "half beside a whole": (b'{"a":"\\ud83d\\ud83d\\ude00"}', "\ufffd\U0001f600"),
    "no half: its backslash is escaped": (b'{"a":"\n\\\\ud83d"}', "\n\\ud83d"),
    "half in an unknown field": (b'{"b":"\\udc00","a":"x"}', "x"),
    "half in UTF-8": (b'{"a":"\xed\xa0\x80"}', "\ufffd"),
    "an emoji as two halves in UTF-8": (b'{"a":"\xed\xa0\xbd\xed\xb8\x80"}', "\U0001f600"),
    "windows-1252": ('{"a":"£5 € Caffè"}'.encode("cp1252"), "£5 € Caffè"),
    "windows-1252 with a line break": ('{"a":"£5\n"}'.encode("cp1252"), "£5\n"),
    "UTF-8 cut within a character": ('{"a":"Caffè £'.encode()[:-1] + b'"}', "Caffè \ufffd"),
    "empty": (b'{"a":""}', None),
    "null": (b'{"a":null}', None),
    "missing": (b"{}", None),
    "true": (b'{"a":true}', None),
    "list": (b'{"a":["x"]}', None),
    "object": (b'{"a":{"a":"x"}}', None),
}


@pytest.mark.parametrize(("body", "expected"), READ.values(), ids=READ)
def test_fields_are_read_leniently(body: bytes, expected: str | None) -> None:
    """Numbers are texts with the same digits; what is no text is absent."""
    assert as_text(read_json(body, DECODER).a) == expected


UNREADABLE = {
    "nothing": b"",
    "white space": b" ",
    "cut off": b'{"a":"x',
    "two objects": b'{"a":"x"}{"a":"x"}',
    "a list": b'[{"a":"x"}]',
    "a text": b'"a"',
    "null": b"null",
    "a form": b"a=x",
    "XML": b"<a>x</a>",
    "single quotes": b"{'a':'x'}",
    "trailing comma": b'{"a":"x",}',
    "leading zero": b'{"a":007}',
    "NaN": b'{"a":NaN}',
    "UTF-16": '{"a":"x"}'.encode("utf-16"),
    "a bare backslash before a raw line break": b'{"a":"x\\\ny"}',
    "half an escape": b'{"a":"x\n\\ud8"}',
    "byte order mark twice": b'\xef\xbb\xbf\xef\xbb\xbf{"a":"x"}',
    "too many digits": b'{"a":' + b"9" * 5000 + b"}",
    "deep list": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep object": b'{"b":' * 100_000,
    "NUL": b"\x00",
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_no_json_object_is_unreadable(body: bytes) -> None:
    """Everything else raises `Unreadable`, with a message that is one short line."""
    with pytest.raises(Unreadable) as caught:
        read_json(body, DECODER)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


#: Texts with control characters and halves of characters, which a gateway forgets to escape.
CARELESS = st.text(
    st.sampled_from('\\"{}[]:,u\n\r\t\0\x1f\x7f\ud83d\ude00\udfffé\U0001f600a0'), max_size=20
)


def written(text: str, *, raw: bool) -> str:
    """A text in JSON, with control characters as they are or escaped."""
    escaped = json.dumps(text)
    for code in range(0x20) if raw else ():
        escaped = escaped.replace(json.dumps(chr(code))[1:-1], chr(code))
    return escaped


def whole(text: str) -> str:
    """A text with U+FFFD in place of halves of characters."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@given(CARELESS, CARELESS)
def test_careless_json_is_read_exactly(first: str, second: str) -> None:
    """Raw control characters are kept, halves of characters are replaced, nothing else changes."""
    for raw in (False, True):
        # A backslash before n or t of the text itself would look like an escape of ours.
        texts = [text.replace("\\", "/") if raw else text for text in (first, second)]
        fields = [written(text, raw=raw) for text in texts]
        body = f'{{"b":[{fields[1]}],\n"a":{fields[0]},"data":{fields[1]}}}'.encode()
        read = read_json(body, DECODER)
        assert [read.a, read.data] == [whole(text) for text in texts]


@given(st.text('{}[]":,\\u d83e\n\r\0t'))
def test_right_json_is_never_mended(text: str) -> None:
    """What the strict decoder takes is read by it alone, and gives the same mended."""
    body = f'{{"a":{text}}}'.encode()
    with suppress(msgspec.DecodeError):
        expected = DECODER.decode(body)
        assert read_json(body, DECODER) == expected
        assert DECODER.decode(_mended(body.decode())) == expected


HOSTILE = {
    "texts": b'"",' * 20_000,
    "a text without end": b'"' + b'\\"' * 30_000,
    "backslashes": b'"' + b"\\" * 60_000 + b"\n\\u",
    "control characters": b'"' + b"\n" * 60_000,
    "halves": b'"' + b"\\ud800" * 10_000 + b"\n",
    "beginnings of halves": b'"' + b"\\ud8" * 15_000 + b"\n",
    "backslashes and line breaks": b'"' + b"\\\n" * 30_000,
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_mending_takes_linear_time(body: bytes) -> None:
    """Bodies made to take long are refused; a quadratic reader would not end within the run."""
    for _ in range(3):
        with pytest.raises(Unreadable):
            read_json(body, DECODER)


def test_a_guess_is_noted() -> None:
    """A text that is no UTF-8 is noted, once; a mended one says all that was typed."""
    for body, expected in (
        ('{"a":"£"}'.encode("cp1252"), [GUESSED]),
        ('{"a":"Caffè £'.encode()[:-1] + b'"}', [BROKEN]),
        (b'{"a":"\n\\ud800"}', []),
        (b'{"a":"\xed\xa0\x80"}', []),
    ):
        notes: list[str] = []
        read_json(body, DECODER, notes)
        assert notes == expected


@given(st.binary() | st.text('{}[]":,\\ab01.eu-d8 ').map(str.encode))
def test_any_bytes_are_read_or_unreadable(body: bytes) -> None:
    """No bytes raise anything but `Unreadable`."""
    try:
        payload = read_json(body, DECODER)
    except Unreadable:
        return
    repeated(body, "a")
    as_network(payload.a)


REPEATED = {
    "once": (b'{"key":"x"}', []),
    "twice": (b'{"key":"x","key":"y"}', ["x", "y"]),
    "three times": (b'{"key":"x","key":"y","key":"x"}', ["x", "y", "x"]),
    "escaped": (b'{"key":"x","\\u006bey":"y"}', ["x", "y"]),
    "escaped in upper case": (b'{"\\u006B\\u0065\\u0079":"y"}', ["y"]),
    "in another object": (b'{"key":"x","a":{"key":"y"}}', ["x"]),
    "in another object that comes first": (b'{"a":{"key":"y"},"key":"x"}', ["x"]),
    "in a text": (b'{"key":"x","a":"key key"}', ["x"]),
    "numbers": (b'{"key":12345678901234567890123,"key":1.50}', ["12345678901234567890123", "1.50"]),
    "other types": (b'{"key":null,"key":[true],"key":{"a":1}}', [None, [True], {}]),
    "byte order mark": (b'\xef\xbb\xbf{"key":"x","key":"y"}', ["x", "y"]),
    "with a raw line break": (b'{"key":"x","a":"\n","key":"y"}', ["x", "y"]),
    "in windows-1252": (b'{"key":"x","a":"\xa3","key":"y"}', ["x", "y"]),
    "huge number": (b'{"key":' + b"9" * 5000 + b',"key":1}', ["9" * 5000, "1"]),
}


@pytest.mark.parametrize(("body", "expected"), REPEATED.values(), ids=REPEATED)
def test_repeated_keys_are_found(body: bytes, expected: list[object]) -> None:
    """Every value of a key that may stand twice is found, in the object itself only."""
    assert repeated(body, "key") == expected


def test_what_is_too_deep_to_read_again_is_unreadable() -> None:
    """Keys that cannot be counted are not taken for one."""
    with pytest.raises(Unreadable):
        repeated(b'{"key":1,"key":' + b"[" * 100_000, "key")


FORMS = {
    "as documented": (
        b"msg=Caff%C3%A8+%C2%A35+%26+more&MM5=",
        {"msg": ["Caffè £5 & more"], "MM5": [""]},
    ),
    "raw UTF-8": ("msg=Caffè".encode(), {"msg": ["Caffè"]}),
    "windows-1252": (b"msg=Caff%E8+%A35", {"msg": ["Caffè £5"]}),
    "raw windows-1252": (b"msg=Caff\xe8", {"msg": ["Caffè"]}),
    "windows-1252 in one parameter": (b"msg=%A3&id=5", {"msg": ["£"], "id": ["5"]}),
    "no character of windows-1252": (b"msg=%81", {"msg": ["\ufffd"]}),
    "UTF-8 cut within a character": (b"msg=Caff%C3%A8+%E2%82", {"msg": ["Caffè \ufffd"]}),
    "raw and escaped in one character": (b"msg=\xc3%A8", {"msg": ["è"]}),
    "broken percent-encoding": (b"msg=100%&id=%4", {"msg": ["100%"], "id": ["%4"]}),
    "no hexadecimal": (b"msg=%zz%u0041", {"msg": ["%zz%u0041"]}),
    "NUL": (b"msg=%00", {"msg": ["\x00"]}),
    "half a character": (b"msg=%ED%A0%80", {"msg": ["\ufffd"]}),
    "an emoji as two halves": (b"msg=%ED%A0%BD%ED%B8%80", {"msg": ["\U0001f600"]}),
    "white space at the end": (b"msg=a+&auth=x \r\n\0", {"msg": ["a "], "auth": ["x"]}),
    "white space at the beginning": (b"\r\n msg=a", {"msg": ["a"]}),
    "white space alone": (b" \r\n", {}),
    "repeated": (b"auth=x&auth=y&auth=", {"auth": ["x", "y", ""]}),
    "name alone": (b"auth&&=&x", {"auth": [""], "": [""], "x": [""]}),
    "semicolons are text": (b"msg=a;b=c", {"msg": ["a;b=c"]}),
    "plus": (b"msg=1%2B1+2&a+b=c", {"msg": ["1+1 2"], "a b": ["c"]}),
    "byte order mark": (b"\xef\xbb\xbfmsg=x", {"msg": ["x"]}),
    "nothing": (b"", {}),
    "halves of a character": (b"\xe1=\x80\x80", {"á": ["€€"]}),
}


@pytest.mark.parametrize(("body", "expected"), FORMS.values(), ids=FORMS)
def test_forms_are_read(body: bytes, expected: dict[str, list[str]]) -> None:
    """Forms are read as browsers write them; what is broken is replaced or stays."""
    assert read_form(body) == expected


@given(st.binary() | st.text("%+&=;aEF0 8").map(str.encode))
def test_any_bytes_are_a_form(body: bytes) -> None:
    """Every body is a form, and its texts are writable as JSON."""
    json.dumps(read_form(body)).encode()
    msgspec.json.encode(read_form(body))


@given(st.text("%+&=;aEF0 8é\n"))
def test_forms_are_read_as_the_standard_library_does(text: str) -> None:
    """The own reader is quicker, and reads what is UTF-8 the same."""
    with suppress(UnicodeDecodeError):
        expected = parse_qs(text.strip(), keep_blank_values=True, errors="strict")
        assert read_form(text.encode()) == expected


@given(st.dictionaries(st.text(), st.text()))
def test_forms_come_back_exactly(parameters: dict[str, str]) -> None:
    """The parameters that a form encodes are read from it."""
    body = urlencode(parameters).encode()
    assert read_form(body) == {name: [value] for name, value in parameters.items()}


@given(
    st.lists(
        st.builds(
            "{}{}{}".format,
            st.sampled_from(
                ["auth", "a%75th", "%61uth", "auth\n", "xauth", "auths", "", "id", "%"]
            ),
            st.sampled_from(["=", "", "=="]),
            st.text("%+=;aEF0 8\n", max_size=4),
        ),
        max_size=8,
    ).map("&".join)
)
def test_known_names_are_found_as_among_all(form: str) -> None:
    """Looking for some parameters finds the same as reading all, also in escapes."""
    every = read_form(form.encode())
    found = read_form(form.encode(), "auth", "id")
    for name in ("auth", "id"):
        assert found.get(name) == every.get(name)


@pytest.mark.parametrize("piece", [b"auth=&", b"%61uth=x&", b"%=&"])
def test_too_many_of_known_names_are_unreadable(piece: bytes) -> None:
    """A form that takes long to read is refused; other parameters cost next to nothing."""
    read_form(piece * MOST_PARAMETERS, "auth")
    with pytest.raises(Unreadable):
        read_form(piece * (MOST_PARAMETERS + 1), "auth")
    assert read_form(b"x=%41&" * 10_000 + b"auth=y", "auth") == {"auth": ["y"]}


def test_five_thousand_parameters_are_read() -> None:
    """There is no limit of parameters below that of the body."""
    body = "&".join(f"p{n}={n}" for n in range(5000)).encode()
    assert read_form(body)["p4999"] == ["4999"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (" 00A7 ", "00A7"),
        ("\t\n", None),
        ("", None),
        (7, "7"),
        (0, "0"),
        (False, None),
        (None, None),
    ],
)
def test_words_have_no_white_space_around(value: object, expected: str | None) -> None:
    """Ids and codes keep case and leading zeros, not white space; blank is absent."""
    assert as_word(value) == expected


def test_networks_are_in_lower_case() -> None:
    """One network has one spelling."""
    assert as_network(" Safaricom") == "safaricom"
    assert as_network("") is None
    assert as_network(["Safaricom"]) is None


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("sms.delivered", "delivered"),
        ("SMS.Delivered", "Delivered"),
        ("delivered", "delivered"),
        ("call.delivered", "call.delivered"),
        ("sms.", None),
        (None, None),
    ],
)
def test_events_name_a_status(word: str | None, expected: str | None) -> None:
    """The status is what follows the prefix; a word without it stays whole."""
    assert without_prefix("sms.", word) == expected
