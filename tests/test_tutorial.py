"""docs/tutorial.md leads to an answer of one's own, docs/adding-a-gateway.md to a gateway."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.tutorial import PAGES, TUTORIAL, blocks, masked, walk

PAGE = TUTORIAL.read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_step_is_true(page: Path, tmp_path: Path) -> None:
    """Each file is written, each command typed, and each shows what the page says it shows."""
    text = page.read_text("utf-8")
    assert masked(walk(text, tmp_path, free_port(), free_port())) == masked(text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_is_run(page: Path) -> None:
    """A block is a file with its name in the first line, or commands; there is no other kind."""
    text = page.read_text("utf-8")
    kinds = {language for language, _ in blocks(text)}
    assert kinds <= {"console", "python", "toml", "http"}
    for language, content in blocks(text):
        first = content.partition("\n")[0]
        named = rf"# [\w/]+\.{language.replace('python', 'py')}"
        assert re.fullmatch(r"\$ .+" if language == "console" else named, first)


def test_the_plugin_has_ten_lines() -> None:
    """So many, without its name at the top and empty lines, as its heading says at most."""
    [plugin] = [content for _, content in blocks(PAGE) if content.startswith("# plugins/")]
    assert len([line for line in plugin.splitlines()[1:] if line]) <= 10


def test_newcomers_find_it() -> None:
    """README.md, the index of the documentation and the guide lead to it."""
    root = TUTORIAL.parents[1]
    assert "](docs/tutorial.md)" in (root / "README.md").read_text("utf-8")
    for page in ("index.md", "plugins.md"):
        assert "](tutorial.md)" in (root / "docs" / page).read_text("utf-8")
