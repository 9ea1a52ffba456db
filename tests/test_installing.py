"""Installing resolves nothing: what was published since the lock files were written is not seen."""

from __future__ import annotations

import hashlib
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = sorted(ROOT.glob("requirements*.lock"))
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "Makefile", ".ci/run")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
#: What installs packages, or gets them in order to build.
_INSTALLS = re.compile(
    r"\b(?:pip|\$\(PIP\))\b.*\s(?:install|wheel|download)\b|\bpipx (?:install|run)\b"
    r"|\buv (?:tool (?:install|run)|sync|run|add|build)\b|\buvx\b|\bpython3? -m build\b"
)
#: Lines that may resolve, and why.
EXEMPT = {
    "README.md: uv tool install --constraints requirements.lock "
    "--build-constraints requirements-build.lock .": "within the versions of the lock files",
    "README.md: pipx install .": "within constraints.txt, which the line above makes pip read",
    "README.md: pip install .": "within constraints.txt, as pipx",
    ".ci/run: .venv/bin/pip install -q --no-deps --only-binary :all: pip==22.3": "by its version "
    "alone, as it is the pip that is tried",
}


def commands(file: Path) -> list[str]:
    """The lines of a file that install something; in one piece, the Makefile's variables put in."""
    text = re.sub(r" *\\\n\s*", " ", file.read_text("utf-8"))
    if file.name == "Makefile":
        variables = dict(re.findall(r"^(\w+) [:?]?= (.*)$", text, re.MULTILINE))
        for name in ("LOCKED", "TREE", "PIP"):
            text = text.replace(f"$({name})", variables[name])
    named = file.relative_to(ROOT)
    lines = (line.strip() for line in text.splitlines())
    return [f"{named}: {line}" for line in lines if _INSTALLS.search(line)]


def resolves(line: str) -> bool:
    """Whether what pip or uv makes of a line may depend on what was published since."""
    words = set(line.split())
    if "--no-deps" not in words:
        return True
    if re.search(r"(-r|--requirement) \S+\.lock|\$\(3\)", line):
        return not {"--require-hashes", "--only-binary", ":all:"} <= words
    return not (line.endswith(".whl") or "--no-build-isolation" in words)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("pip install -r requirements.lock", True),
        ("pip install --require-hashes -r requirements.lock", True),
        ("pip install --no-deps --require-hashes -r requirements.lock", True),
        ("pip install --no-deps --only-binary :all: --require-hashes -r some.lock", False),
        ("pip install --no-deps .", True),
        ("pip install --no-deps --no-build-isolation .", False),
        ("pip install --no-deps dist/*.whl", False),
        ("pip install dist/*.whl", True),
    ],
)
def test_what_resolves_is_known(line: str, expected: bool) -> None:
    """A list that is not taken as the whole list; a build with tools that are fetched for it."""
    assert _INSTALLS.search(line)
    assert resolves(line) == expected


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_no_line_resolves(file: Path) -> None:
    """Of those that a person or a program is told to type, but for the exempted."""
    assert [line for line in commands(file) if resolves(line) and line not in EXEMPT] == []


def test_every_exempted_line_is_there() -> None:
    """An exemption that nobody needs would hide the next one."""
    assert set(EXEMPT) <= {line for file in PAGES for line in commands(file)}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda file: file.name)
def test_a_lock_file_is_the_whole_list(lock: Path) -> None:
    """Each package in one version, with hashes, from an index: nothing else, nothing nested."""
    text = re.sub(r" *\\\n *", " ", lock.read_text("utf-8"))
    for line in text.splitlines():
        assert re.match(r"[a-z0-9.-]+==\S+( ; [^#]+?)?( --hash=sha256:[0-9a-f]{64})+$", line), line


def pins(file: str) -> dict[str, str]:
    """The versions that a file names."""
    text = (ROOT / file).read_text("utf-8")
    return dict(re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE))


def test_the_lock_files_agree() -> None:
    """What the program needs, and what builds it, is what it was developed with."""
    everything = pins("requirements-dev.lock")
    parts = [pins("requirements.lock"), pins("requirements-build.lock")]
    for part in parts:
        assert part.items() <= everything.items()
    assert pins("constraints.txt") == parts[0] | parts[1]


def test_the_lowest_versions_are_those_of_the_project() -> None:
    """Each lower bound of pyproject.toml is the version that `make test-lowest` installs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lowest = pins("requirements-lowest.lock")
    for bound in project["dependencies"]:
        name, version = bound.split(",")[0].split(">=")
        assert re.fullmatch(rf"{re.escape(version)}(\.0)*", lowest[name]), bound


def test_a_list_is_taken_as_it_stands(tmp_path: Path) -> None:
    """With the options of the Makefile pip looks for nothing that a package needs besides.

    Such as an extra of another: pip 23 stopped when that one had a newer version than the listed.
    """
    tomorrow = runpy.run_path(str(ROOT / ".ci" / "tomorrow"))
    path = tomorrow["wheel"](tmp_path, "measured", "1.0", "coverage[toml]>=1")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    lock = tmp_path / "some.lock"
    lock.write_text(f"measured==1.0 --hash=sha256:{digest}\n")
    tomorrow["main"](tmp_path, [lock, ROOT / "requirements-dev.lock"])
    [options] = re.findall("^LOCKED := (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    pip = [sys.executable, "-m", "pip", "--isolated", "install", "--no-index", "--find-links"]
    into = [str(tmp_path), "--target", str(tmp_path / "into"), "-r", str(lock)]

    def install(*wanted: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*pip, *into, *wanted], capture_output=True, text=True, check=False)

    before = install("--require-hashes")
    assert "must have their versions pinned" in before.stderr
    now = install(*options.split())
    assert now.returncode == 0, now.stderr
    assert [found.name for found in (tmp_path / "into").iterdir()] == ["measured-1.0.dist-info"]
