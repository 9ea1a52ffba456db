"""`receiver --version`: also which commit, from a clone and from what was built from it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from receiver import __version__
from receiver.cli import version
from tests.cli.program import told

ROOT = Path(__file__).parents[2]
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")

#: Files of the package that are no Python.
CATALOGUE = "receiver/providers/catalogue"


def git(tree: Path, *arguments: str) -> str:
    """What git says in a tree."""
    person = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
    command = ["git", "-C", str(tree), *person, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A tree with one commit, out of which something can be built."""
    tree = tmp_path / "clone"
    module = tree / "receiver" / "cli" / "version.py"
    module.parent.mkdir(parents=True)
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, tree / name)
    for name in ("receiver/__init__.py", "receiver/cli/version.py"):
        shutil.copy(ROOT / name, tree / name)
    shutil.copytree(ROOT / CATALOGUE, tree / CATALOGUE)
    (tree / "plugins").mkdir()
    (tree / "plugins" / "some.py").touch()
    git(tree, "init", "--quiet")
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--message", "One")
    return tree


def build(tree: Path, kind: str, into: Path) -> Path:
    """Builds a `wheel` or an `sdist`, without a network."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory"]
    subprocess.run([*command, str(into)], cwd=tree, capture_output=True, check=True)
    [built] = into.iterdir()
    return built


def test_version_is_told(tmp_path: Path) -> None:
    """With the commit, where the tree has one."""
    commit = r"( \(commit [0-9a-f]{7,}(-dirty)?\))?"
    assert re.fullmatch(rf"receiver {__version__}{commit}\n", told(tmp_path, "--version"))


@needs_git
def test_a_clone_says_which_commit_it_is(clone: Path) -> None:
    """And that it was changed since; a folder inside it is not it."""
    commit = git(clone, "rev-parse", "HEAD")[:7]
    assert version.commit_of(clone) == commit
    assert version.commit_of(clone / "plugins") is None
    (clone / "LICENSE").write_text("Do as you like.")
    assert version.commit_of(clone) == f"{commit}-dirty"


@needs_git
def test_what_is_built_keeps_the_commit(clone: Path, tmp_path: Path) -> None:
    """A wheel; and one that is built from a source archive, where there is no git any more.

    Both have the files of the package that are no Python, such as the catalogue of gateways.
    """
    commit = git(clone, "rev-parse", "HEAD")[:7]
    data = {f"{CATALOGUE}/{file.name}" for file in (ROOT / CATALOGUE).iterdir()}
    archive = build(clone, "sdist", tmp_path / "archive")
    subprocess.run(["tar", "-xzf", archive, "-C", tmp_path], check=True)
    for name, tree in (("one", clone), ("two", tmp_path / archive.name.removesuffix(".tar.gz"))):
        with ZipFile(build(tree, "wheel", tmp_path / name)) as wheel:
            assert wheel.read("receiver/commit.txt").decode().strip() == commit
            assert data <= set(wheel.namelist())
    assert git(clone, "status", "--porcelain") == ""


def test_without_a_commit_the_version_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is made up; where one was built in, that is told."""
    monkeypatch.setattr(version, "commit_of", lambda tree: None)
    monkeypatch.setattr(version, "COMMIT", tmp_path / "commit.txt")
    assert version.with_commit("1.0") == "1.0"
    (tmp_path / "commit.txt").write_text("1a2b3c4\n")
    assert version.with_commit("1.0") == "1.0 (commit 1a2b3c4)"
