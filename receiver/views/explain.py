"""Shows which rule answers a message, and why the others do not."""

from __future__ import annotations

from receiver.handlers import Explanation
from receiver.service.explain import Explained
from receiver.views.times import full_time

RULE_TITLES = ("PLUGIN", "RULE", "VERDICT", "WHY", "REPLY")


def rule_row(plugin: str, rule: Explanation) -> tuple[str | None, ...]:
    """Returns the cells of a rule in a table."""
    return plugin, rule.rule, rule.verdict, rule.why, rule.reply


def outcome_pairs(explained: Explained) -> list[tuple[str, str | None]]:
    """Returns what all rules come to as names and values for people."""
    later = ", ".join(explained.later)
    reply = "none now, perhaps later" if later else "none"
    if explained.reply is not None:
        reply = f"{explained.reply!r} by {explained.replied_by}"
    if since := explained.withheld_since:
        reply = f"{reply}, but withheld: the sender opted out on {full_time(since)}"
    return [("keyword", explained.keyword), ("reply", reply), ("called later", later or None)]
