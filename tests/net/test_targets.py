"""Settings of other systems, for every plugin that has some."""

from __future__ import annotations

from receiver.handlers import Filter, TargetSettings, target_cautions, target_faults
from receiver.testing import message

URL = "https://crm.example.com/in"


def test_faults_are_told_with_their_place() -> None:
    """Those of each target, and a name that two have."""
    targets = [
        TargetSettings(name="crm", url=URL),
        TargetSettings(name="crm", url="crm", types=["sms"], keywords=["TWO WORDS"]),
    ]
    assert [key for key, _ in target_faults(targets)] == [
        "targets[1].types[0]",
        "targets[1].keywords[0]",
        "targets[1].url",
        "targets[1].name",
    ]
    assert list(target_faults(targets[:1])) == []


def test_cautions_are_about_what_would_work_badly() -> None:
    """A source that nobody has, no signature, no encryption."""
    target = TargetSettings(name="crm", url="http://crm.example.com/", sources=["tilil", "tillil"])
    assert list(target_cautions([target], ["tilil"])) == [
        ("targets[0].sources", "no source is named 'tillil'"),
        ("targets[0].secrets", "none: the target cannot know who is pushing"),
        ("targets[0].url", "http: events cross the internet unencrypted"),
    ]


def test_filters_are_those_of_the_settings() -> None:
    """Keywords are folded, and an empty filter lets everything pass."""
    made = TargetSettings(name="crm", url=URL, keywords=["game"]).filter()
    assert made == Filter(keywords=frozenset({"GAME"}))
    assert [made.wants(message(text)) for text in ("Game!", "gamer")] == [True, False]
    assert Filter().wants(message("anything"))
