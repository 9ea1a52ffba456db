"""Writes into what is built from a clone which commit it is."""

from __future__ import annotations

import runpy
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CommitHook(BuildHookInterface):
    """Adds receiver/commit.txt, which `receiver --version` reads."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Asks git, unless the tree is linked in: then `receiver --version` does."""
        root = Path(self.root)
        commit = runpy.run_path(str(root / "receiver/cli/version.py"))["commit_of"](root)
        if commit is None or version == "editable":
            return
        self._folder = tempfile.TemporaryDirectory()
        file = Path(self._folder.name, "commit.txt")
        file.write_text(f"{commit}\n", "utf-8")
        build_data["force_include"][str(file)] = "receiver/commit.txt"
