"""The promises of the contract, held against every provider that comes with the program.

`receiver.testing.providers` has most of them, for authors too; here are those about our own
modules, and those that Hypothesis looks for counterexamples of.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

import receiver
from receiver.events import EventType
from receiver.providers import Push, built_in, known
from receiver.testing.promises_of_pushes import judge
from receiver.testing.providers import check
from tests.examples import examples
from tests.providers import pushes

ORDER = [
    *("__init__", "read", "authenticate", "parse"),
    *("takes_reply", "acknowledge", "refuse", "sample", "fresh_values"),
]
KINDS = [(name, kind) for name, provider in built_in().items() for kind in provider.sample_kinds]
every_provider = pytest.mark.parametrize("name", built_in())
every_kind = pytest.mark.parametrize(("name", "kind"), KINDS)

#: Every way to set a provider up that changes how it looks at a push.
SET_UP = {
    **{name: pushes.provider(name) for name in built_in()},
    "tilil with a digest": pushes.provider("tilil", digest=pushes.digest("password")),
}


@pytest.mark.parametrize("name", known())
def test_every_provider_keeps_its_promises(name: str) -> None:
    """Those of the suite for authors: `receiver.testing.providers`."""
    assert check(known()[name]) == []


# How it is made


@every_provider
def test_provider_modules_read_alike(name: str) -> None:
    """Every module links its documentation and has the same methods in the same order."""
    provider = built_in()[name]
    assert "Documentation:" in (sys.modules[provider.__module__].__doc__ or "")
    public = [method for method in vars(provider) if method in ORDER]
    assert public == [method for method in ORDER if method in public]
    if provider.pushes:
        assert {"read", "authenticate", "parse", "sample", "fresh_values"} <= set(public)


#: Where providers are named: a play with a cast.
NAMING = ("testing/events.py",)


@pytest.mark.commit
def test_shared_code_knows_no_provider() -> None:
    """Behaviour that differs is an attribute or method of the contract."""
    names = {*built_in(), *(provider.__name__ for provider in built_in().values())}
    root = Path(receiver.__file__).parent
    own = {name.replace("-", "_") for name in built_in()}
    for file in root.rglob("*.py"):
        place = file.relative_to(root)
        if own & {*place.parts, place.stem} or place.as_posix() in NAMING:
            continue
        if place.name.startswith("demo"):
            continue
        found = {
            getattr(node, "id", getattr(node, "attr", getattr(node, "value", None)))
            for node in ast.walk(ast.parse(file.read_text("utf-8")))
            if isinstance(node, ast.Name | ast.Attribute | ast.Constant)
        }
        assert not {each for each in found if isinstance(each, str)} & names, place


@every_kind
@given(st.text())
def test_the_reply_in_an_answer_is_found_again(name: str, kind: str, text: str) -> None:
    """`reply_in` finds the text that `acknowledge` puts in, and none if it puts none in."""
    provider = pushes.provider(name)
    push = pushes.of_sample(provider.sample(kind, pushes.SECRET, {}))
    parsed = pushes.take(provider, push)
    answer = provider.acknowledge(push, parsed, text).body
    assert provider.reply_in(answer) == (text if provider.takes_reply(parsed) else "")


# Samples


@every_kind
def test_samples_are_taken(name: str, kind: str) -> None:
    """A sample authenticates and becomes an event with a time in UTC and a person or an id."""
    provider = pushes.provider(name)
    sample = provider.sample(kind, pushes.SECRET, {})
    assert sample.method in provider.methods
    parsed = pushes.take(provider, pushes.of_sample(sample))
    assert parsed.time.tzinfo is UTC
    assert parsed.time.year < 2026 or parsed.time < pushes.ARRIVAL  # its own, not the arrival's
    assert parsed.key
    if parsed.type is not EventType.DELIVERY_UPDATED:
        assert (parsed.subject or "").startswith("+")
    if parsed.type is EventType.MESSAGE_RECEIVED:
        assert provider.receives_messages


@every_kind
def test_samples_take_values(name: str, kind: str) -> None:
    """`simulate --set` replaces any field of the payload, and the sample stays authentic."""
    provider = pushes.provider(name)
    for field in sample_fields(name, kind):
        sample = provider.sample(kind, pushes.SECRET, {field: "x-changed-x"})
        if "api_token" != field != "auth":
            provider.authenticate(pushes.of_sample(sample))
        assert "x-changed-x" in (sample.path + sample.body.decode())


@every_kind
def test_fresh_samples_are_new_events(name: str, kind: str) -> None:
    """Samples of two instants are two events, at those instants; one's is a repeat of itself."""
    provider = pushes.provider(name)
    now = pushes.ARRIVAL.astimezone(provider.default_timezone)
    instants = (now, now + timedelta(microseconds=1), now + timedelta(days=200))
    parsed = []
    for instant in (*instants, now):
        values = provider.fresh_values(kind, instant)
        assert values.keys() <= set(sample_fields(name, kind))
        sample = provider.sample(kind, pushes.SECRET, values)
        parsed.append(pushes.take(provider, pushes.of_sample(sample)))
        assert parsed[-1].time == instant.replace(microsecond=0)
    assert len({one.key for one in parsed}) == len(instants)
    assert parsed[0] == parsed[-1]


# Credentials


@every_provider
def test_kinds_are_different_events(name: str) -> None:
    """Two kinds of delivery or subscription are not repeats of each other."""
    provider = pushes.provider(name)
    parsed = [
        pushes.parse(provider, pushes.of_sample(provider.sample(kind, pushes.SECRET, {})))
        for kind in provider.sample_kinds
    ]
    keys = [one.key for one in parsed if one.type is not EventType.MESSAGE_RECEIVED]
    assert len(set(keys)) == len(keys)


# Reading once, and what the store keeps


# Totality: junk of every form


def sample_fields(name: str, kind: str) -> list[str]:
    """The names of the fields in a sample, those of objects in it too."""
    sample = built_in()[name].sample(kind, pushes.SECRET, {})
    if sample.body[:1] == b"{":
        return list(names_in(json.loads(sample.body)))
    form = sample.body.decode() or sample.path.partition("?")[2]
    return [name for name, _ in parse_qsl(form)]


def names_in(value: dict[str, Any]) -> Iterator[str]:
    """The names of all fields in a JSON object that have a text or number."""
    for name, inner in value.items():
        if isinstance(inner, dict):
            yield from names_in(inner)
        else:
            yield name


FIELDS = sorted(
    {field for name, kind in KINDS for field in sample_fields(name, kind)}
    | {"api_token", "data", "MMName", "MM5", "token", "x"}
)
RIGHT = json.dumps(pushes.SECRET)
SCALARS = [
    *("null", "true", "false", "0", "-0", "1.50", "1E400", "-1e-400", '""', '" "', RIGHT),
    *('"\\ud800"', '"\\ud83d\\ude00"', '"\\u0000"', '"\\uFEFF"', '"\\n\\u001b[31m"', "NaN"),
    *("9" * 19, "9" * 30, '"20180230065028"', '"20180217065028"'),
    *('"00010101000000"', '"9999-12-31T23:59:59-12:00"', '"activation"', '"254726770792"', '"1"'),
]
HUGE = {
    "as many digits as there may be": "9" * 4300,
    "more digits than there may be": "-" + "9" * 4301,
    "deep lists": "[" * 2000 + "]" * 2000,
    "deep objects": '{"a":' * 980 + "1" + "}" * 980,
    "deep and open": "[" * 50_000,
}
huge = st.sampled_from(sorted(HUGE)).map(lambda name: HUGE[name])
scalars = st.sampled_from(SCALARS) | huge | st.integers().map(str) | st.text().map(json.dumps)
names = st.sampled_from(FIELDS).map(json.dumps) | st.sampled_from(
    ['"\\u0061pi_token"', '"m\\u0065ssageId"', '""', '"\\ud800"']
)


def json_object(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """JSON objects with known names, some of them more than once."""
    pairs = st.lists(st.builds("{}:{}".format, names, values), max_size=12)
    return pairs.map(lambda pairs: "{" + ",".join(pairs) + "}")


values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]") | json_object(inner)
    ),
    max_leaves=8,
)
json_bodies = st.builds(
    lambda mark, text, cut: (mark + text.encode())[:cut],
    st.sampled_from([b"", b"", b"", b"\xef\xbb\xbf"]),
    json_object(values),
    st.sampled_from([None, None, None, -1]),
)
fragments = st.sampled_from(
    [
        *("", "%", "%zz", "%E8", "%00", "%ED%A0%80", "+", "=", ";", "%F0%9F%98%80", "\xff", " "),
        *(quote_plus(pushes.SECRET), "254726770792", "2026-07-01+13%3A05%3A09", "1"),
    ]
)
forms = st.lists(
    st.builds("{}={}{}".format, st.sampled_from(FIELDS), fragments, fragments), max_size=12
).map(lambda pairs: "&".join(pairs).encode("latin-1"))
bodies = json_bodies | forms | st.binary()
headers = st.lists(
    st.tuples(
        st.sampled_from([b"x-talkntalk-signature", b"x-talkntalk-event", b"content-type"]),
        st.binary() | st.sampled_from([b"sha256=" + b"0" * 64, b",", b"a" * 70_000]),
    ),
    max_size=3,
)
requests = st.builds(
    Push,
    method=st.sampled_from(["GET", "POST"]),
    token=st.none() | st.just(pushes.SECRET) | st.text(st.characters()),
    query=forms | st.binary(),
    headers=headers,
    body=bodies,
    received_at=st.just(pushes.ARRIVAL),
)


@pytest.mark.parametrize("set_up", SET_UP)
@examples(120)
@given(push=requests)
def test_any_request_is_taken_or_refused(set_up: str, push: Push) -> None:
    """Whatever bytes a request holds, it becomes an event or a `PushError`."""
    judge(SET_UP[set_up], push)


@every_kind
@examples(50)
@given(data=st.data())
def test_any_value_of_a_field_is_taken_or_refused(
    name: str, kind: str, data: st.DataObject
) -> None:
    """A documented push with one field of another value becomes an event or a `PushError`."""
    sample = built_in()[name].sample(kind, pushes.SECRET, {})
    field = data.draw(st.sampled_from(sample_fields(name, kind)))
    push = pushes.of_sample(sample)
    if push.body[:1] == b"{":
        marked = json.loads(push.body)
        (marked["data"] if field not in marked else marked)[field] = "MARK"
        push.body = json.dumps(marked).replace('"MARK"', data.draw(values)).encode()
    else:
        extra = f"&{field}={data.draw(fragments)}".encode("latin-1")
        push.body, push.query = push.body + extra, push.query + extra
    judge(SET_UP[name], push)
