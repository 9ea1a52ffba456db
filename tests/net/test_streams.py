"""Settings of streams: subjects, and everything that could not work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from receiver.config.convert import Secret
from receiver.events import EventType
from receiver.handlers import Stream, target_cautions, target_faults
from receiver.net import streams
from receiver.testing import message


def stream(**fields: Any) -> Stream:
    """The settings of a stream."""
    return Stream(**{"name": "sms", "servers": ["nats://127.0.0.1"], "stream": "SMS", **fields})


def faults(**fields: Any) -> dict[str, str]:
    """What is wrong with settings: reasons by key."""
    return dict(target_faults([], [stream(**fields)]))


@pytest.mark.parametrize(
    ("source", "template", "subject"),
    [
        ("tilil", "{type}.{source}", "sms.message.received.tilil"),
        ("tilil", "in.{source}", "in.tilil"),
        ("tilil-2_B", "{source}.{source}-x", "tilil-2_B.tilil-2_B-x"),
        ("a.b", "{type}.{source}", "sms.message.received.a%2Eb"),
        ("*", "in.{source}", "in.%2A"),
        (">", "in.{source}", "in.%3E"),
        ("a%2Eb", "in.{source}", "in.a%252Eb"),
        ("a b\r\n", "in.{source}", "in.a%20b%0D%0A"),
        ("é{type}", "in.{source}", "in.%C3%A9%7Btype%7D"),
    ],
)
def test_a_subject_is_words_of_the_event(source: str, template: str, subject: str) -> None:
    """What NATS would read as a wildcard, or as several words, is written with its code."""
    event = message("x", source=source)
    assert stream(subject=template).subject_of(event) == subject


def test_all_subjects_are_known_before() -> None:
    """Of the types and sources that pass, or of all."""
    assert stream(types=["sms.message.received"], sources=["tilil"]).subjects() == [
        "sms.message.received.tilil"
    ]
    assert stream().subjects() == [f"{type_}.*" for type_ in EventType]
    assert stream(subject="sms.in").subjects() == ["sms.in"]


def test_the_least_that_can_be_said_has_no_faults() -> None:
    """Name, servers and stream."""
    assert faults() == {}


@pytest.mark.parametrize(
    ("fields", "key", "words"),
    [
        ({"name": "http://x"}, "name", "expected a word"),
        ({"servers": []}, "servers", "at least one"),
        ({"servers": ["127.0.0.1:4222"]}, "servers[0]", "nats:// or tls://"),
        ({"servers": ["nats://a", "http://b"]}, "servers[1]", "nats:// or tls://"),
        ({"servers": ["nats://sms:s3cr3t@a"]}, "servers[0]", "no user or password"),
        ({"servers": ["nats://a:x"]}, "servers[0]", "a host and a port"),
        ({"stream": "S.M"}, "stream", "the name of a stream"),
        ({"subject": "sms.*"}, "subject", "neither * nor >"),
        ({"subject": "sms.{sauce}"}, "subject", "{type} and {source}"),
        ({"subject": "sms..{source}"}, "subject", "words with dots between"),
        ({"subject": "$JS.API.x"}, "subject", "of NATS itself"),
        ({"timeout": 60.0}, "timeout", "at most 15 s"),
        ({"token": Secret("x"), "user": "a", "password": Secret("b")}, "credentials", "only one"),
        ({"user": "a"}, "user", "together"),
        ({"credentials": Secret("x")}, "credentials", "nsc generate creds"),
        ({"key": Path("/k")}, "key", "certificate beside it"),
        ({"ca": Path("/nowhere/ca.pem")}, "ca", "/nowhere/ca.pem: No such file"),
        ({"types": ["sms"]}, "types[0]", "sms.message.received"),
    ],
)
def test_what_cannot_work_is_told_with_its_key(
    fields: dict[str, Any], key: str, words: str
) -> None:
    """By `receiver check` and every start, without any secret."""
    found = faults(**fields)
    assert list(found) == [f"streams[0].{key}"]
    assert words in found[f"streams[0].{key}"]
    assert "s3cr3t" not in str(found)


def test_a_name_stands_for_one_target_or_stream() -> None:
    """What waits is found by it."""
    told = dict(target_faults([], [stream(), stream()]))
    assert told == {"streams[1].name": "sms is there already"}


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.setattr(streams, "find_spec", lambda name: None)
    assert "pip install 'sms-receiver[nats]'" in faults()["streams[0].stream"]


@pytest.mark.parametrize(
    ("fields", "keys"),
    [
        ({}, ["monitors"]),
        ({"servers": ["nats://10.0.0.5"]}, ["servers", "credentials", "monitors"]),
        ({"servers": ["tls://10.0.0.5"], "token": Secret("x"), "monitors": ["http://x"]}, []),
        ({"sources": ["tillil"]}, ["sources", "monitors"]),
    ],
)
def test_what_is_probably_a_mistake_is_told(fields: dict[str, Any], keys: list[str]) -> None:
    """No encryption, no credentials, nobody who sees whether the disk is synced."""
    told = [key for key, _ in target_cautions([], ["tilil"], [stream(**fields)])]
    assert told == [f"streams[0].{key}" for key in keys]


SEED = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"


@pytest.mark.parametrize(
    ("seed", "words"),
    [
        (SEED[:-1] + "A", "the checksum is another"),
        ("SAAC" + SEED[4:], "not a user's"),
        ("SUAC", "not a user's"),
        ("SUAC!!", "no base32"),
    ],
)
def test_a_damaged_credentials_file_is_told(seed: str, words: str) -> None:
    """Without anything of it."""
    text = (
        "-----BEGIN NATS USER JWT-----\neyJ0.eyJq.c2ln\n------END NATS USER JWT------\n"
        "-----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n"
    )
    assert faults(credentials=Secret(text.format(SEED))) == {}
    found = faults(credentials=Secret(text.format(seed)))["streams[0].credentials"]
    assert words in found
    assert seed not in found
