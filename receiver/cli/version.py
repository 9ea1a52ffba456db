"""Tells the version of the program and the commit it was built from.

hatch_build.py runs this file by itself, so it imports nothing of the program.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

#: The commit, in a built package. hatch_build.py writes it.
COMMIT = Path(__file__).parents[1] / "commit.txt"


def commit_of(tree: Path) -> str | None:
    """Returns the commit of a tree, with `-dirty` if it was changed; None without git."""
    # Of this tree, not of one that it happens to lie in.
    if not (tree / ".git").exists():
        return None
    command = ["git", "describe", "--always", "--dirty", "--exclude=*", "--abbrev=7"]
    try:
        done = subprocess.run(  # noqa: S603 - nothing in it comes from outside
            command, cwd=tree, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def with_commit(version: str) -> str:
    """Returns the version, with its commit where that is known: 0.2.0 (commit 1a2b3c4)."""
    commit = commit_of(Path(__file__).parents[2])
    if commit is None and COMMIT.exists():
        commit = COMMIT.read_text("utf-8").strip()
    return f"{version} (commit {commit})" if commit else version
