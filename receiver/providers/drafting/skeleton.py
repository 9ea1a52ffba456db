"""A description to begin with, where there is no capture."""

from __future__ import annotations

from importlib import resources


def skeleton(name: str) -> str:
    """Returns a commented description that works, of a gateway that nobody has."""
    text = resources.files(__package__).joinpath("skeleton.toml").read_text("utf-8")
    return text.replace("@title@", title_of(name))


def title_of(name: str) -> str:
    """Returns the name of a provider as people may write it."""
    return " ".join(word.capitalize() for word in name.replace("_", "-").split("-"))
