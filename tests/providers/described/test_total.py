"""Whatever bytes come, a described gateway takes or refuses them: no other error leaves it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC
from itertools import product
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.config.convert import Secret
from receiver.errors import Malformed, PushError
from receiver.events import decode_data, encode_data
from receiver.providers import known
from receiver.providers.contract import Answer, Push
from receiver.providers.described import Described
from receiver.providers.described.kinds import Kind
from tests.examples import examples
from tests.providers import pushes
from tests.providers.described import gateways
from tests.providers.described.gateways import SECRET

#: The gateways of these tests, and those of the catalogue.
DESCRIBED: dict[str, type[Described]] = {
    **{name: gateways.gateway(name) for name in gateways.NAMES},
    **{
        name: provider
        for name, provider in known().items()
        if issubclass(provider, Described) and provider.pushes
    },
}


def source(name: str, **settings: Any) -> Described:
    """A source of a gateway, with a token."""
    made = DESCRIBED[name]
    return made(made.settings(**{"provider": name, "tokens": [Secret(SECRET)], **settings}))


#: Every way in which a source looks at a push.
SET_UP = {
    **{name: source(name) for name in DESCRIBED},
    "signed": source("batches", signing_secrets=[Secret("s")]),
}


def names_in(value: Any) -> set[str]:
    """The names of all fields in JSON."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = set(value) if isinstance(value, dict) else set()
    return own.union(*map(names_in, inner))


EXAMPLES = [
    example.request for provider in DESCRIBED.values() for example in provider.description.example
]
FIELDS = sorted(
    {"token", "key", ""}.union(
        *(names_in([request.json, request.form, request.query]) for request in EXAMPLES)
    )
)
SCALARS = [
    *("null", "true", "false", "0", "-0", "1.50", "1E400", "-1e-400", '""', '" "', '"a"', "NaN"),
    *('"\\ud800"', '"\\ud83d\\ude00"', '"\\u0000"', '"\\n\\u001b[31m"', "9" * 19, "9" * 4301),
    *('"20180230065028"', '"00010101000000"', '"9999-12-31T23:59:59-12:00"', '"7"', '"8"', "1e309"),
    *(
        '"254726770792"',
        "254726770792.5",
        '"99/99/9999 99:99"',
        "[" * 2000 + "]" * 2000,
        "[" * 9000,
    ),
    json.dumps(SECRET),
]
names = st.sampled_from(FIELDS).map(json.dumps)


def json_object(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """JSON objects with known names, some of them more than once."""
    pairs = st.lists(st.builds("{}:{}".format, names, values), max_size=10)
    return pairs.map(lambda pairs: "{" + ",".join(pairs) + "}")


def json_list(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """JSON lists."""
    return st.lists(values, max_size=4).map(lambda items: f"[{','.join(items)}]")


values = st.recursive(
    st.sampled_from(SCALARS) | st.text().map(json.dumps),
    lambda inner: json_list(inner) | json_object(inner),
    max_leaves=10,
)
fragments = st.sampled_from(
    [
        *("", "%", "%zz", "%E8", "%00", "%ED%A0%80", "+", "=", ";", "%F0%9F%98%80", "\xff", "8"),
        *(quote_plus(SECRET), "254726770792", "2026-07-01+13%3A05%3A09", "Success", "addition"),
    ]
)
forms = st.lists(
    st.builds("{}={}{}".format, st.sampled_from(FIELDS), fragments, fragments), max_size=12
).map(lambda pairs: "&".join(pairs).encode("latin-1"))
headers = st.lists(
    st.tuples(
        st.sampled_from([b"x-kind", b"authorization", b"x-signature", b"x-time", b"x-key"]),
        st.binary() | st.sampled_from([b"in", b"Basic ", b"Basic \xff", b"bearer x", b"0" * 128]),
    ),
    max_size=3,
)
requests = st.builds(
    Push,
    method=st.sampled_from(["GET", "POST"]),
    token=st.none() | st.sampled_from([SECRET, f"{SECRET}/dlr", "dlr", "/"]) | st.text(),
    query=forms | st.binary(),
    headers=headers,
    body=(json_object(values) | json_list(values)).map(str.encode) | forms | st.binary(),
    received_at=st.just(pushes.ARRIVAL),
)


def refused(step: Callable[[Push], object], push: Push) -> PushError | None:
    """The `PushError` of one step; None if it returned."""
    try:
        step(push)
    except PushError as error:
        return error
    return None


def kinds(provider: Described, push: Push) -> list[Kind]:
    """The kinds whose own conditions a push fulfils."""
    return [kind for kind in provider.kinds.all if kind.of(push)]


def judge(provider: Described, push: Push) -> None:
    """Everything that the intake does with a push; only `PushError` may leave a step."""
    if error := refused(provider.authenticate, push):
        assert 400 <= error.status < 500
        assert isinstance(provider.refuse(error), Answer)
    if error := refused(provider.parse, push):
        assert error.status == 400
        assert str(error).encode()
        assert ("it is none of them" in str(error)) is (
            push.payload is not None and not kinds(provider, push)
        )
        return
    parsed = provider.parse(push)
    if all(kind.items is None for kind in provider.kinds.all):
        [kind] = kinds(provider, push)
        assert parsed == [kind.make(provider, push.payload.root, push)]
    assert not all(isinstance(each, Malformed) for each in parsed)
    for each in parsed:
        if isinstance(each, Malformed):
            assert str(each).encode()
            continue
        assert each.time.tzinfo is UTC
        assert decode_data(each.type, encode_data(each.data)) == each.data
        assert each.key.encode()
        assert isinstance(provider.acknowledge(push, each, "karibu \U0001f600"), Answer)


@pytest.mark.parametrize("set_up", SET_UP)
@examples(50)
@given(push=requests)
def test_any_request_is_taken_or_refused(set_up: str, push: Push) -> None:
    """Whatever bytes a request holds, it becomes events or a `PushError`."""
    judge(SET_UP[set_up], push)


@pytest.mark.parametrize("name", DESCRIBED)
@examples(50)
@given(data=st.data())
def test_any_value_of_a_field_is_taken_or_refused(name: str, data: st.DataObject) -> None:
    """An example with another value of one field becomes events or a `PushError`."""
    kind = data.draw(st.sampled_from(DESCRIBED[name].sample_kinds))
    push = pushes.of_sample(DESCRIBED[name].sample(kind, SECRET, {}))
    if push.body[:1] in (b"{", b"["):
        tree = json.loads(push.body)
        place = data.draw(st.sampled_from(sorted(leaves(tree), key=repr)))
        put(tree, place, "MARK")
        push.body = json.dumps(tree).replace('"MARK"', data.draw(values)).encode()
    else:
        field = data.draw(st.sampled_from(FIELDS))
        extra = f"&{field}={data.draw(fragments)}".encode("latin-1")
        push.body, push.query = push.body + extra, push.query + extra
    judge(SET_UP[name], push)


@pytest.mark.parametrize("name", DESCRIBED)
def test_the_kind_of_a_push_is_told_by_its_conditions(name: str) -> None:
    """Whatever stands in the fields that they name: blank values are as absent ones."""
    provider = DESCRIBED[name]
    fields = {path for kind in provider.kinds.all for path in kind.expected}
    values: tuple[Any, ...] = (None, "", " ", [], {}, 0, False, "x")
    for request in (each.request for each in provider.description.example):
        if isinstance(request.json, dict):
            for field, value in product(fields, values):
                body = json.dumps({**request.json, field: value}).encode()
                judge(SET_UP[name], pushes.push(body=body))


def leaves(tree: Any, above: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The places of all values in JSON."""
    inner = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    )
    return [
        place for step, value in inner for place in ((*above, step), *leaves(value, (*above, step)))
    ]


def put(tree: Any, place: tuple[str | int, ...], value: str) -> None:
    """Puts a value into a place."""
    for step in place[:-1]:
        tree = tree[step]
    tree[place[-1]] = value
