"""The menu: sections of pages that belong together, each with its tabs."""

from __future__ import annotations

import msgspec

from receiver.console.roles import Role


class Tab(msgspec.Struct, frozen=True):
    """A page in the menu."""

    path: str
    name: str
    role: Role = Role.VIEWER


class Section(msgspec.Struct, frozen=True):
    """An entry of the menu: the first tab that the visitor may see stands for all."""

    name: str
    tabs: tuple[Tab, ...]

    def holds(self, path: str) -> bool:
        """Returns True for its pages, and for those about one of what they list."""
        return any(path == tab.path or path.startswith(f"{tab.path}/") for tab in self.tabs)


def _alone(path: str, name: str, role: Role = Role.VIEWER) -> Section:
    return Section(name, (Tab(path, name, role),))


MENU = (
    _alone("/", "Overview"),
    _alone("/live", "Live"),
    _alone("/events", "Events"),
    Section("Messages", (Tab("/messages", "Messages"), Tab("/campaigns", "Campaigns"))),
    Section(
        "Subscribers",
        (
            Tab("/subscribers", "Now"),
            Tab("/subscribers/history", "History"),
            Tab("/subscribers/growth", "Growth"),
        ),
    ),
    Section(
        "Keywords",
        (
            Tab("/keywords", "Hits"),
            Tab("/explain", "Explain", Role.CARE),
            Tab("/keywords/preview", "Preview", Role.CARE),
        ),
    ),
    Section(
        "Opt-outs",
        (
            Tab("/opt-outs", "Changes", Role.CARE),
            Tab("/opt-outs/near-misses", "Near misses", Role.CARE),
        ),
    ),
    _alone("/delivery", "Delivery"),
    Section(
        "Work",
        (Tab("/jobs", "Jobs"), Tab("/forwards", "Forwards"), Tab("/quarantine", "Quarantine")),
    ),
    _alone("/reports", "Reports"),
    _alone("/audit", "Audit", Role.OPERATOR),
    Section(
        "Users",
        (
            Tab("/users", "Users", Role.ADMIN),
            Tab("/tokens", "Tokens", Role.ADMIN),
            Tab("/users/log", "Log", Role.ADMIN),
        ),
    ),
)
