"""The whole service: made of a configuration, opened and closed in order."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from receiver.errors import ConfigError, StoreLocked
from tests.harness import inbound, opened, parts, settings, take, with_plugin
from tests.stored import keys


def names(folder: Path) -> list[str]:
    """The files in a folder."""
    return sorted(file.name for file in folder.iterdir())


def test_faults_of_providers_and_plugins_are_told_together(tmp_path: Path) -> None:
    """Whatever is wrong with a configuration is found in one go, also beyond its own values."""
    raw = with_plugin("import nothing_like_it\n", "no_such_plugin")
    raw["sources"] = {
        "one": {"provider": "tilil", "tokens": ["x"]},
        "two": {"provider": "tillil", "tokens": ["x"]},
        "three": {"provider": "tsconect", "tokens": ["x"], "ack_fields": "both"},
    }
    with pytest.raises(ConfigError) as caught:
        parts(tmp_path, raw)
    assert [fault.key for fault in caught.value.faults] == [
        "sources.two.provider",
        "sources.three.ack_fields",
        "plugins.enabled[0]",
        "plugins.enabled[1]",
    ]
    assert str(caught.value).startswith(str(tmp_path / "receiver.toml"))


def test_making_the_parts_opens_nothing(tmp_path: Path) -> None:
    """`receiver check` may look at a configuration beside the running service."""
    threads = threading.active_count()
    made = parts(tmp_path)
    assert names(tmp_path) == ["receiver.toml"]
    assert threading.active_count() == threads
    assert set(made.providers) == set(settings()["sources"])
    assert [plugin.name for plugin in made.plugins] == settings()["plugins"]["enabled"]


@pytest.mark.anyio
async def test_a_closed_service_leaves_nothing(tmp_path: Path) -> None:
    """No thread, no lock, and everything in the one file."""
    async with opened(tmp_path) as service:
        await take(service, inbound(1))
        with pytest.raises(StoreLocked):
            async with opened(tmp_path):
                pass
    assert not {"store-writer", "handlers"} & {thread.name for thread in threading.enumerate()}
    assert names(tmp_path) == ["receiver.db", "receiver.db.lock", "receiver.toml"]
    assert keys(tmp_path / "receiver.db") == ["message:1"]
    async with opened(tmp_path):
        pass
