"""The tree of errors: what each means to the caller, and what it says by default."""

from __future__ import annotations

import inspect
import re

import pytest

from receiver import errors
from receiver.errors import ConfigError, Fault, PushError, ReceiverError, StoreError

CLASSES = [
    cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, ReceiverError)
]
REFUSALS = [cls for cls in CLASSES if issubclass(cls, PushError)]


def test_the_tree_is_drawn_as_it_is() -> None:
    """The picture at the top of the module names every class, in its place and with its status."""
    branches: list[str] = []
    drawn: dict[str, list[tuple[str, str]]] = {}
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"([│ ]*)[├└]── (\w+)(?: +(\d{3}))?", line):
            depth = len(match[1]) // 4
            branches[depth:] = [match[2]]
            parent = branches[depth - 1] if depth else "ReceiverError"
            drawn.setdefault(match[2], []).append((parent, match[3] or ""))
    assert set(drawn) == {cls.__name__ for cls in CLASSES} - {"ReceiverError"}
    for cls in CLASSES:
        for parent, status in drawn.get(cls.__name__, ()):
            assert parent in {base.__name__ for base in cls.__bases__}
            assert status in ("", str(getattr(cls, "status", "")))
    for cls in set(REFUSALS) - {PushError}:
        assert any(status for _, status in drawn[cls.__name__])


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if cls is not ConfigError])
def test_the_docstring_is_the_default_message(cls: type[ReceiverError]) -> None:
    """Without words of its own an error says what its class means; with them it says those."""
    assert str(cls()) == cls.__doc__
    assert str(cls("other")) == "other"


def test_refusals_have_the_statuses_of_the_documentation() -> None:
    """Each answer of the table in the documentation of URLs, and no 5xx but 503."""
    documented = {400, 401, 403, 404, 405, 408, 413, 414, 415, 429, 431, 503}
    assert {cls.status for cls in REFUSALS} == documented


def test_refusals_are_counted_under_names_of_their_own() -> None:
    """No two kinds of refusal share a name in the metrics."""
    outcomes = [cls.outcome for cls in REFUSALS]
    assert len(set(outcomes)) == len(outcomes)
    assert not {"stored", "repeat"} & set(outcomes)


def test_a_store_that_takes_nothing_is_both() -> None:
    """Whoever handles errors of the store or refusals of pushes sees it."""
    assert issubclass(errors.StoreUnavailable, StoreError)
    assert issubclass(errors.StoreUnavailable, PushError)


def test_faults_of_a_configuration_are_told_all() -> None:
    """One line each, with the file and the key."""
    faults = [Fault("server.port", "expected a number"), Fault("", "not TOML")]
    error = ConfigError(faults, "receiver.toml")
    assert str(error).splitlines() == [
        "receiver.toml: server.port: expected a number",
        "receiver.toml: not TOML",
    ]
    assert str(ConfigError(faults[:1])) == "server.port: expected a number"
