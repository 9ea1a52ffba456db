"""Rules that answer at times, through networks, and for subscribers or nobody else."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.plugin_host.loader import Plugin
from tests.plugins.asking import PERSON, explain, message
from tests.plugins.ruling import Subscribers, among, answer, reply, rules, wrong

NAIROBI = "Africa/Nairobi"
ZONE = ZoneInfo(NAIROBI)


def at(plugin: Plugin, moment: datetime) -> bool:
    """Whether the rule answers a message that comes at this moment."""
    about = msgspec.structs.replace(message("game"), receivedat=moment.astimezone(UTC))
    return answer(plugin, about) == "yes"


def timed(**conditions: Any) -> Plugin:
    """A rule with conditions."""
    rule = {"keyword": "GAME", "reply": "yes", **conditions}
    return rules(rule, timezone=NAIROBI)


def nairobi(text: str) -> datetime:
    """A moment by the clocks of Nairobi."""
    return datetime.fromisoformat(text).replace(tzinfo=ZONE)


@pytest.mark.parametrize(
    ("conditions", "yes", "no"),
    [
        (
            {"from": date(2026, 12, 1)},
            ["2026-12-01 00:00", "2027-01-01 12:00"],
            ["2026-11-30 23:59:59"],
        ),
        ({"until": date(2026, 12, 1)}, ["2026-12-01 23:59:59"], ["2026-12-02 00:00"]),
        (
            {"from": datetime(2026, 12, 1, 8, 0), "until": datetime(2026, 12, 1, 9, 0)},  # noqa: DTZ001 - as TOML has it
            ["2026-12-01 08:00", "2026-12-01 08:59:59"],
            ["2026-12-01 07:59", "2026-12-01 09:00"],
        ),
        (
            {"from": datetime(2026, 12, 1, 8, 0, tzinfo=timezone(timedelta(hours=1)))},
            ["2026-12-01 10:00"],
            ["2026-12-01 09:59"],
        ),
        (
            {"hours": "08:00-17:00"},
            ["2026-12-01 08:00", "2026-12-01 16:59:59"],
            ["2026-12-01 07:59:59", "2026-12-01 17:00"],
        ),
        (
            {"hours": "22:00-06:00"},
            ["2026-12-01 22:00", "2026-12-02 00:00", "2026-12-02 05:59"],
            ["2026-12-01 06:00", "2026-12-01 21:59"],
        ),
        ({"hours": "20:00-24:00"}, ["2026-12-01 23:59:59"], ["2026-12-02 00:00"]),
        ({"days": ["mon", "sun"]}, ["2026-11-30 00:00", "2026-11-29 12:00"], ["2026-12-01 00:00"]),
        (
            {"days": ["fri"], "hours": "22:00-02:00"},
            ["2026-12-04 22:00", "2026-12-05 01:59"],
            ["2026-12-04 01:00", "2026-12-05 02:00", "2026-12-05 22:00"],
        ),
    ],
)
def test_times(conditions: dict[str, Any], yes: list[str], no: list[str]) -> None:
    """A rule answers messages that came in its dates, hours and days, by the plugin's zone."""
    plugin = timed(**conditions)
    assert [at(plugin, nairobi(text)) for text in yes] == [True] * len(yes)
    assert [at(plugin, nairobi(text)) for text in no] == [False] * len(no)


@given(st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis wants them so
def test_hours_and_their_complement(moment: datetime) -> None:
    """Every moment is either in some hours or in those from their end to their beginning."""
    assert at(DAY, moment) != at(NIGHT, moment)


DAY, NIGHT = timed(hours="07:30-19:15"), timed(hours="19:15-07:30")


def test_the_clock_is_not_read() -> None:
    """The moment of the event decides, so that a replay decides as the service did."""
    plugin = timed(until=date(1999, 12, 31))
    assert at(plugin, nairobi("1999-12-31 12:00"))
    assert not at(plugin, nairobi("2000-01-01 00:00"))


def test_networks() -> None:
    """A rule answers through its networks; not where nobody knows through which it came."""
    plugin = timed(networks=["Safaricom", "airtel"])
    came = {network: reply(plugin, "game", network=network) for network in ("safaricom", "mtn")}
    assert came == {"safaricom": "yes", "mtn": None}
    assert reply(plugin, "game") is None
    assert reply(plugin, "game", network="Airtel") == "yes"


def test_subscribers() -> None:
    """A rule is for subscribers of a service, or for all others."""
    plugin = rules(
        {"keyword": "GAME", "subscribers_of": "32", "reply": "in"},
        {"keyword": "GAME", "non_subscribers_of": "32", "reply": "out"},
        {"keyword": "QUIZ", "subscribers_of": "33", "reply": "never"},
    )
    people = Subscribers(PERSON)
    asked = among(plugin, people)
    assert reply(asked, "game") == "in"
    assert reply(asked, "game", sender="+254700000000") == "out"
    assert reply(asked, "quiz") is None


def test_the_store_is_asked_last() -> None:
    """Who is a subscriber is looked up only where everything else fits."""
    people = Subscribers(PERSON)
    plugin = among(timed(networks=["airtel"], subscribers_of="32"), people)
    for text in ("game", "hello"):
        assert reply(plugin, text, network="mtn") is None
    assert people.asked == 0
    assert reply(plugin, "game", network="airtel") == "yes"
    assert people.asked == 1


def test_later_rules_try() -> None:
    """Where conditions are not met the next rule that fits answers, in every mode."""
    modes: list[dict[str, Any]] = [
        {"keyword": "GAME"},
        {"keyword": "GAME", "match": "exact"},
        {"keyword": "GAME", "match": "prefix"},
        {"pattern": "game", "match": "regex"},
        {"match": "default"},
    ]
    for mode in modes:
        plugin = rules(
            {**mode, "networks": ["a"], "to": "22915", "reply": "0"},
            {**mode, "networks": ["b"], "reply": "1"},
            {**mode, "networks": ["b", "c"], "to": "22915", "reply": "2"},
            {**mode, "reply": "3"},
        )
        answers = [reply(plugin, "game", network=network) for network in "abcd"]
        assert answers == ["0", "1", "2", "3"], mode


# What is refused


@pytest.mark.parametrize(
    ("rule", "key", "expected"),
    [
        ({"hours": "8-17"}, "hours", "expected hours such as 08:00-17:00, got '8-17'"),
        ({"hours": "08:00-25:00"}, "hours", "expected hours"),
        ({"hours": "08:00-08:00"}, "hours", "the end is the beginning"),
        ({"hours": 8}, "hours", "expected a text"),
        ({"days": ["monday"]}, "days[0]", "monday"),
        ({"from": "2026-12-01"}, "from", "expected a date or a date with a time, without quotes"),
        ({"until": 2026}, "until", "expected a date"),
        ({"until": date.max}, "until", "the date is too late"),
        ({"from": date(2026, 2, 1), "until": date(2026, 1, 1)}, "until", "must be after from"),
        ({"subscribers_of": ""}, "subscribers_of", "expected a service_id"),
        ({"non_subscribers_of": ""}, "non_subscribers_of", "expected a service_id"),
    ],
)
def test_wrong_condition(rule: dict[str, Any], key: str, expected: str) -> None:
    """Each fault of a condition is told with its key and what is wrong."""
    [(where, why)] = wrong({"keyword": "A", **rule}, timezone=NAIROBI).items()
    assert where == f"rules[0].{key}"
    assert expected in why


@pytest.mark.parametrize(
    ("rule", "key"),
    [
        ({"hours": "08:00-17:00"}, "hours"),
        ({"days": ["mon"]}, "days"),
        ({"from": date(2026, 1, 1)}, "from"),
        ({"until": datetime(2026, 1, 1, 8, 0)}, "until"),  # noqa: DTZ001 - as TOML has it
    ],
)
def test_times_need_a_zone(rule: dict[str, Any], key: str) -> None:
    """Whose hours they are must be said, unless a moment says it itself."""
    [(where, why)] = wrong({"keyword": "A", **rule}).items()
    assert where == f"rules[0].{key}"
    assert "timezone" in why
    assert rules({"keyword": "A", "from": datetime(2026, 1, 1, 8, 0, tzinfo=UTC)})


def test_only_the_unconditional_hide() -> None:
    """Rules may share a keyword as long as all before the last have conditions."""
    network = {"networks": ["a"]}
    assert rules({"keyword": "A", **network}, {"keyword": "A", **network}, {"keyword": "A"})
    assert list(wrong({"keyword": "A"}, {"keyword": "A", **network})) == ["rules[1].keyword"]


# What is explained


@pytest.mark.parametrize(
    ("conditions", "why"),
    [
        ({"from": date(2999, 1, 1)}, "it came before 2999-01-01"),
        ({"until": date(1999, 1, 1)}, "it came after 1999-01-01"),
        ({"networks": ["a", "b"]}, "it came through mtn, the rule is for a or b"),
        ({"subscribers_of": "32"}, "the sender is no subscriber of 32"),
        ({"non_subscribers_of": "33"}, "the sender is a subscriber of 33"),
        (
            {"hours": "08:00-09:00", "days": ["fri"]},
            "it came on sat at 07:30 (Africa/Nairobi), the rule is for fri 08:00-09:00",
        ),
    ],
)
def test_conditions_are_explained(conditions: dict[str, Any], why: str) -> None:
    """A rule whose words fit says which condition is not met."""

    class Everybody(Subscribers):
        def is_subscriber(
            self, msisdn: str, *, service_id: str | None = None, short_code: str | None = None
        ) -> bool:
            return service_id == "33"

    plugin = among(timed(**conditions), Everybody())
    about = msgspec.structs.replace(
        message("game", network="mtn"), receivedat=nairobi("2026-12-05 07:30").astimezone(UTC)
    )
    [explanation] = explain(plugin, about)
    assert (explanation.verdict, explanation.why) == ("no", why)


def test_met_conditions_are_explained() -> None:
    """A rule that answers says that its conditions are met."""
    [explanation] = explain(timed(networks=["a"]), message("game", network="a"))
    assert explanation.why == "the message begins with GAME; the conditions are met"
