"""docs/api.md: its lines of curl work as they stand, and its tables say what is."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from receiver.console.api.app import OPERATIONS
from receiver.console.api.changes import NewMessage
from tests.cli.program import told
from tests.console.api.calling import RAW
from tests.harness import PATIENCE, inbound, launch, serve, until
from tests.ports import free_port

PAGE = (Path(__file__).parents[3] / "docs" / "api.md").read_text("utf-8")
LINES = re.findall(r"^curl .*$", PAGE, re.MULTILINE)


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The address and the token of a console beside a service with one event."""
    port = free_port()
    raw = {**RAW, "console": {"listen": f"127.0.0.1:{port}"}}
    with serve(tmp_path, raw) as service:
        service.post(inbound("1", "GAME"))
        token = told(tmp_path, "console", "add-token", "crm", "--role", "operator").strip()
        with launch(tmp_path, "console") as console:
            console.port = port

            def answers() -> bool:
                try:
                    return console.get("/healthz").status == 200
                except OSError:
                    assert console.process.poll() is None, console.log
                    return False

            until(answers, "the console answers")
            url = f"http://127.0.0.1:{port}/api/v1"
            yield {"url": url, "auth": f"Authorization: Bearer {token}", "PATH": "/usr/bin:/bin"}
            assert console.stop() == 0, console.log


def curl(line: str, environment: dict[str, str]) -> Any:
    """The JSON of what a line prints, run by a shell."""
    done = subprocess.run(
        ["sh", "-ec", line], env=environment, capture_output=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stderr) == (0, b""), line
    return json.loads(done.stdout)


def test_lines_of_curl_work(environment: dict[str, str]) -> None:
    """In the order of the page; the message of the first is that of the second."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    for line in LINES:
        found = curl(line, environment)
        if "events/0197" in line:  # the time at which the page was written
            assert found["status"] == 404
            continue
        assert "status" not in found or found["status"] in ("queued", "unknown", "failed"), line
    again = curl(LINES[0], environment)
    assert again == {"id": 1}


def test_every_call_is_described() -> None:
    """Each path, as it is called or named, and each field of a message."""
    for operation in OPERATIONS:
        path = re.sub(r"{\w+}", r"[\\w+]+", operation.path)
        assert re.search(rf"{path}\b", PAGE), operation.path
    below = PAGE.partition("| field | meaning |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)`", below, re.MULTILINE) == sorted(
        NewMessage.__struct_fields__, key=lambda name: below.index(f"`{name}`")
    )
