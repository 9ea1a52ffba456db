"""What the program is made of: `make audit` tells known holes, `make sbom` lists the parts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"

HOLE = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["2.0"], "description": "…"}
GOOD = {"name": "good", "version": "1.0", "vulns": []}
BAD = {"name": "bad", "version": "1.0", "vulns": [HOLE]}
SKIPPED = {"name": "new", "skip_reason": "Dependency not found on PyPI"}


def audit(folder: Path, says: object, *, status: int = 0) -> subprocess.CompletedProcess[str]:
    """What `.ci/audit` makes of what pip-audit says, on one lock file."""
    (folder / "pip_audit").mkdir()
    (folder / "pip_audit" / "__init__.py").touch()
    (folder / "some.lock").touch()
    said = says if isinstance(says, str) else json.dumps({"dependencies": says, "fixes": []})
    (folder / "pip_audit" / "__main__.py").write_text(
        f"import sys\nassert sys.argv[-2:] == ['-r', 'some.lock']\nprint({said!r})\n"
        f"print('Traceback', 'no connection', sep='\\n', file=sys.stderr)\nsys.exit({status})\n"
    )
    return subprocess.run(
        [sys.executable, ROOT / ".ci" / "audit", "some.lock"],
        cwd=folder,
        env={"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_hole_ends_it(tmp_path: Path) -> None:
    """With the package, the names of the hole, and the version without it."""
    result = audit(tmp_path, [GOOD, BAD, SKIPPED], status=1)
    assert result.returncode == 1
    assert result.stdout == "some.lock: bad 1.0: PYSEC-1 CVE-1; mended by 2.0\n"


def test_no_hole_is_told(tmp_path: Path) -> None:
    """And of how many packages that is known."""
    result = audit(tmp_path, [GOOD])
    assert (result.returncode, result.stdout) == (0, "some.lock: no known holes in 1 packages\n")


@pytest.mark.parametrize(
    ("says", "status", "words"),
    [
        ([SKIPPED], 0, "the index knows nothing of holes in 1 packages"),
        ([GOOD, SKIPPED], 0, "the index knows nothing of new"),
        ("", 1, "no connection"),
        ("{}", 1, "no connection"),
    ],
)
def test_what_is_not_known_is_told(tmp_path: Path, says: Any, status: int, words: str) -> None:
    """Loudly, and nothing ends of it: one can work without a network."""
    result = audit(tmp_path, says, status=status)
    assert result.returncode == 0
    assert f"some.lock: NOT AUDITED: {words}\n" in result.stdout


def test_the_bill_of_materials_is_the_lock_file(tmp_path: Path) -> None:
    """Every package with its version, and the same bytes each time, without a network."""
    program = Path(sys.executable).parent / "cyclonedx-py"
    if not program.exists():
        pytest.skip("cyclonedx-bom is not installed; `make .venv/.ready` installs it")
    recipe = (ROOT / "Makefile").read_text("utf-8").partition("cyclonedx-py ")[2]
    arguments = recipe.partition("\n\n")[0].replace("\\\n", " ").split()
    # The coverage of a program that is not ours would take as long again.
    unmeasured = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")}
    made = []
    # Validating takes ten times as long as the rest; it changes no byte, and once is enough.
    for name, more in (("one.json", ()), ("two.json", ("--no-validate",))):
        arguments[-1] = str(tmp_path / name)
        command: list[str | Path] = [program, *arguments, *more]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, env=unmeasured)
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]
    bill = json.loads(made[0])
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "sms-receiver"
    found = {each["name"]: each["version"] for each in bill["components"]}
    assert found == dict(re.findall(r"^([\w.-]+)==(\S+)", LOCK.read_text("utf-8"), re.MULTILINE))
