"""`receiver demo`."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from collections import Counter
from contextlib import AsyncExitStack
from datetime import timedelta
from importlib import resources
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import httpx2
import msgspec
import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from receiver import config as configuration
from receiver import fake
from receiver.cli import demo_console
from receiver.cli.demo_console import DemoConsole, answers
from receiver.cli.demo_traffic import Step, Traffic
from receiver.cli.options import UnusedConfigFile
from receiver.config import Config
from receiver.errors import Failed
from receiver.events import utc_now
from receiver.http.redact import address, masked
from receiver.logs import setup
from receiver.logs.writer import LogWriter
from receiver.providers import built_in
from receiver.service import parts as service
from receiver.service import server
from receiver.store import Reader, StoredMessage, open_reader
from receiver.text.escape import escape
from receiver.views.events import summary, type_name

#: Seconds between pushes on a terminal, so that a person can read along.
_PAUSE = 0.15
_PATIENCE = 10.0
#: Seconds that messages which were sent have for their final status.
_SETTLED_WITHIN = 10.0
#: The traffic spans some seconds, which must not be in the future.
_EARLIER = timedelta(minutes=1)
#: The expected lines of the subscription book, and opt-outs, at the end.
_BOOK = {"active": 1, "inactive": 1}
_OPTED_OUT = 1
#: The expected sent messages: source, status and number.
_SENT = {
    ("text-connect", "delivered"): 2,
    ("tilil", "delivered"): 1,
    ("rayprotech", "delivered"): 1,
}


def command(
    *,
    leave: Annotated[bool, typer.Option("--exit", help="Stop after the sample traffic.")] = False,
    config: UnusedConfigFile = None,
) -> None:
    """Runs the service with sample traffic, in a temporary folder that is deleted at the end.

    Sends realistic pushes of all providers, with repeats and forged requests among them, and shows
    each with its answer and its event. Then the service and its web console stay up
    until Ctrl-C.
    """
    folder = Path(tempfile.mkdtemp(prefix="receiver-demo-"))
    keep = False
    try:
        with (folder / "serve.log").open("w", encoding="utf-8") as log:
            writer = setup.configure(stream=log)
            demo = Demo(configuration.load(_write(folder)), writer)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                if not runner.run(demo.run(leave=leave)):
                    raise KeyboardInterrupt
        if demo.differences:
            keep = True
            raise Failed(f"{demo.differences} things were not as expected; see {folder}/serve.log")
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


class Demo:
    """One run of the demo: the service, the traffic, and the results."""

    def __init__(self, settings: Config, writer: LogWriter) -> None:
        self.differences = 0
        self._settings = settings
        self._writer = writer
        self._tokens = {
            name: source.tokens[0].reveal()
            for name, source in settings.sources.items()
            if source.tokens
        }
        self._screen = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._last = b""
        self._seen = 0
        self._events: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()

    async def run(self, *, leave: bool) -> bool:
        """Starts the service, sends the traffic, and waits for Ctrl-C unless `leave`.

        Returns False if the service was stopped before the end of the traffic.
        """
        async with fake.running(self._providers()):
            return await self._run(leave=leave)

    def _providers(self) -> fake.Options:
        """Returns fake providers at the port of the configuration, which answer at once."""
        base = f"{address(self._settings.server)}/hooks"
        send = self._settings.sources["tilil"].send
        assert send is not None
        return fake.Options(
            port=urlsplit(send.url or "").port or 0,
            callbacks={"tilil": f"{base}/tilil/{self._tokens['tilil']}"},
        )

    async def _run(self, *, leave: bool) -> bool:
        parts = service.prepare(self._settings)
        serving = asyncio.create_task(server.serve(parts, self._writer))
        playing = asyncio.create_task(self._play(watched=not leave and sys.stdout.isatty()))
        await asyncio.wait([serving, playing], return_when=asyncio.FIRST_COMPLETED)
        if playing.done() and isinstance(playing.exception(), httpx2.TransportError):
            await asyncio.wait([serving], timeout=_PATIENCE)  # it is stopping: Ctrl-C
        if serving.done():
            playing.cancel()
            await asyncio.wait([playing])
            await serving  # raises what kept it from running
            return False
        async with AsyncExitStack() as stack:
            if leave or playing.exception() or self.differences:
                signal.raise_signal(signal.SIGTERM)  # as a service manager ends it
            else:
                console = demo_console.running(self._settings)
                self._show_console(await stack.enter_async_context(console))
                self._show_what_next()
            await serving
        await playing
        return True

    async def _play(self, *, watched: bool) -> None:
        steps = Traffic(self._tokens, utc_now() - _EARLIER).steps()
        base = address(self._settings.server)
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            console=self._screen,
            transient=True,
            disable=not self._screen.is_terminal,
        )
        async with httpx2.AsyncClient(base_url=base, trust_env=False, timeout=30) as client:
            await _ready(client)
            async with open_reader(self._settings.store_address) as reader:
                with bar:
                    for step in bar.track(steps, description="pushing"):
                        await self._push(client, reader, step)
                        await asyncio.sleep(_PAUSE if watched else 0)
                await self._show_sent(reader)
                await self._summarise(reader)

    async def _push(self, client: httpx2.AsyncClient, reader: Reader, step: Step) -> None:
        sample = step.sample
        path = f"/hooks/{step.source}{sample.path}"
        response = await client.request(
            sample.method, path, headers=sample.headers, content=sample.body
        )
        new = [stored async for stored in reader.events(after=self._seen)]
        if new:
            self._seen = new[-1].seq
        self._events.update(stored.event.type for stored in new)
        self._outcomes["repeat" if step.repeat else str(response.status_code)] += 1

        self._head(step.title)
        self._write((f"  → {sample.method} ", "cyan"), (self._shown(path), ""))
        if sample.body:
            self._write((f"    {self._shown(sample.body.decode())}", "dim"))
        colour = "green" if response.is_success else "yellow"
        self._write((f"  ← {response.status_code} ", colour), (response.text.strip(), ""))
        for stored in new:
            event = stored.event
            self._write(
                ("  ● ", "magenta"), (f"{type_name(event)} {event.subject or ''} ", ""),
                (summary(event), ""), (f" ({stored.note})" if stored.note else "", "dim"),
            )  # fmt: skip
        self._compare("status", step.status, response.status_code)
        self._compare("events", [step.event] if step.event else [], [s.event.type for s in new])
        if step.reply is not None:
            self._compare("reply", step.reply, _result_message(response.content))
        if step.repeat:
            self._compare("answer", self._last, response.content)
        self._last = response.content

    async def _show_sent(self, reader: Reader) -> None:
        """Waits until every sent message has its final status, and shows them."""
        messages = await self._settled(reader)
        self._head("What was sent, since no answer could carry it")
        for message in reversed(messages):
            reports = await reader.messages.reports(message.id)
            statuses = " → ".join([str(report.status) for report in reports])
            self._write(
                ("  ➤ ", "magenta"), (f"{message.source} {message.to} ", ""), (message.text, ""),
                (f" · {statuses}", "green"),
                (f" · link_id {message.link_id}" if message.link_id else "", "dim"),
            )  # fmt: skip
        sent = Counter((message.source, str(message.status)) for message in messages)
        self._compare("messages sent", _SENT, dict(sent))

    async def _settled(self, reader: Reader) -> list[StoredMessage]:
        deadline = asyncio.get_running_loop().time() + _SETTLED_WITHIN
        while True:
            messages = await reader.messages.find()
            final = [message for message in messages if message.status.final]
            if len(final) == sum(_SENT.values()) or deadline < asyncio.get_running_loop().time():
                return messages
            await asyncio.sleep(0.05)

    async def _summarise(self, reader: Reader) -> None:
        quarantined = await reader.quarantined()
        book = Counter([line.state async for line in reader.subscriptions.find()])
        opted_out = await reader.opt_outs.find()
        refused = Counter({s: n for s, n in self._outcomes.items() if s not in ("200", "repeat")})
        types = ", ".join(f"{n} {type_}" for type_, n in sorted(self._events.items()))
        statuses = ", ".join(f"{n} with {status}" for status, n in sorted(refused.items()))
        self._head("Results")
        for name, text in (
            ("events", f"{self._events.total()}: {types}"),
            ("repeats", f"{self._outcomes['repeat']}, answered with the same bytes"),
            ("refused", f"{refused.total()}: {statuses}; {len(quarantined)} kept to look at"),
            ("subscriptions", f"{book['active']} active, {book['inactive']} inactive"),
            ("opted out", str(len(opted_out))),
        ):
            self._write((f"  {name:<14}", "cyan"), (text, ""))
        self._compare("requests in the quarantine", refused.total(), len(quarantined))
        self._compare("subscriptions", _BOOK, dict(book))
        self._compare("people opted out", _OPTED_OUT, len(opted_out))
        if not self.differences:
            self._head("Everything as expected.", "green")

    def _compare(self, what: str, expected: object, actual: object) -> None:
        if expected != actual:
            self.differences += 1
            self._write((f"  ✗ {what}: expected {expected!r}, got {actual!r}", "bold red"))

    def _show_console(self, console: DemoConsole | None) -> None:
        if console is None:
            self._head("The web console did not start: it needs argon2-cffi, the extra `console`.")
            return
        self._head(f"The web console is at {console.url} until Ctrl-C.")
        self._write((f"  log in as {console.user} with the password {console.password}", "cyan"))

    def _show_what_next(self) -> None:
        base, file = address(self._settings.server), self._settings.file
        push = {
            "api_token": self._tokens["tilil"],
            "mobile": "254726770792",
            "message": "game on",
            "shortcode": "70700",
            "inbox_id": "1",
        }
        self._head(f"The service stays up at {base} until Ctrl-C. Try, elsewhere:")
        body = msgspec.json.encode(push).decode()
        self._write((f"  curl -d '{body}' {base}/hooks/tilil", ""))
        called = program()
        for words in (
            "events",
            "messages",
            "simulate tilil inbound --duplicate",
            'explain "play it" --to 70700',
            "subscribers",
            "quarantine",
        ):
            self._write((f"  {called} {words} --config {file}", ""))
        self._write((f"  less {file.parent}/serve.log", ""))

    def _shown(self, text: str) -> str:
        return masked(text, self._tokens.values())

    def _head(self, title: str, style: str = "bold") -> None:
        self._screen.print()
        self._write((title, style))

    def _write(self, *parts: tuple[str, str]) -> None:
        self._screen.print(Text.assemble(*((escape(text), style) for text, style in parts)))


def program() -> str:
    """Returns the command line by which a person calls this program from another folder."""
    if shutil.which("receiver"):
        return "receiver"
    called = Path(sys.argv[0]).absolute()
    return str(called) if called.name == "receiver" else f"{sys.executable} -m receiver"


def _write(folder: Path) -> Path:
    """Writes the configuration of the demo, with free ports and new tokens."""
    text = resources.files(__package__).joinpath("demo.toml").read_text("utf-8")
    values = {name: f"demo-{secrets.token_urlsafe(12)}" for name in built_in()}
    ports = ("port", "admin", "fake", "console")
    values |= zip(ports, map(str, _free_ports(len(ports))), strict=True)
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    plugin = resources.files(__package__).joinpath("demo_bank.py").read_text("utf-8")
    (folder / "demo_bank.py").write_text(plugin, "utf-8")
    file = folder / "receiver.toml"
    file.write_text(text, "utf-8")
    return file


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


async def _ready(client: httpx2.AsyncClient) -> None:
    async with asyncio.timeout(_PATIENCE):
        while not await answers(client, "/readyz"):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)


def _result_message(body: bytes) -> str | None:
    message: str | None = msgspec.json.decode(body, type=dict).get("result_message")
    return message
