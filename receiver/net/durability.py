"""Judges how safely a stream of NATS JetStream keeps what it has acknowledged."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import msgspec

from receiver.errors import NoAnswer
from receiver.net.streams import Stream

_NANO = 1e9
#: Replicas with which the loss of one server loses nothing.
_ENOUGH = 3
#: Seconds for the answer of a monitoring address, and its most bytes.
_PATIENCE = 5.0
_MOST_BYTES = 1024 * 1024


class Doubt(msgspec.Struct, frozen=True):
    """A setting of a stream or its servers that does not keep events safe."""

    setting: str
    found: str
    """What it is, and what can happen."""
    do: str
    fails: bool = False
    """True if events cannot be stored at all."""

    def __str__(self) -> str:
        return f"{self.setting}: {self.found}; {self.do}"


class StreamConfig(msgspec.Struct, frozen=True):
    """The settings of a stream that count here, as servers tell them."""

    subjects: list[str] = []
    storage: str = "file"
    retention: str = "limits"
    num_replicas: int = 1
    duplicate_window: int = 0
    """Nanoseconds."""
    allow_atomic: bool = False
    no_ack: bool = False
    sealed: bool = False
    persist_mode: str = "default"


class Cluster(msgspec.Struct, frozen=True):
    """The cluster that has a stream; a server alone has no name of one."""

    name: str = ""


class ApiError(msgspec.Struct, frozen=True):
    """Why the servers do not tell a stream's settings."""

    description: str = ""


class StreamInfo(msgspec.Struct, frozen=True):
    """The answer to `$JS.API.STREAM.INFO`."""

    config: StreamConfig | None = None
    cluster: Cluster | None = None
    error: ApiError | None = None


class _JetStream(msgspec.Struct, frozen=True):
    sync_interval: int = 0
    sync_always: bool = False


class _OfJetStream(msgspec.Struct, frozen=True):
    config: _JetStream | None = None


class _Varz(msgspec.Struct, frozen=True):
    jetstream: _OfJetStream = _OfJetStream()


async def doubts_of(stream: Stream, info: StreamInfo, remembered: float) -> list[Doubt]:
    """Returns what is doubtful of a stream and of the servers whose monitoring is named."""
    return [*judge(stream, info, remembered), *await _of_servers(stream)]


def judge(stream: Stream, info: StreamInfo, remembered: float) -> Iterator[Doubt]:
    """Judges the settings of a stream, for events that may come again for so many seconds."""
    config = info.config
    if config is None:
        said = info.error.description if info.error else "no answer that says more"
        do = f"make the stream {stream.stream}, or correct `stream` (docs/nats.md)"
        yield Doubt("stream", f"{stream.stream} is not there: {said}", do, fails=True)
        return
    for subject in stream.subjects():
        if not any(_takes(pattern, subject) for pattern in config.subjects):
            taken = ", ".join(config.subjects) or "none"
            do = f"add {subject} to the stream's subjects, or change `subject`"
            yield Doubt("subjects", f"{taken}: {subject} is not among them", do, fails=True)
    if config.no_ack:
        do = "set it to false"
        yield Doubt("no_ack", "true: no event is ever acknowledged", do, fails=True)
    if config.sealed:
        yield Doubt("sealed", "true: it takes nothing more", "use another stream", fails=True)
    yield from _of_keeping(config, info.cluster)
    window = config.duplicate_window / _NANO
    if window < remembered:
        days = -int(-remembered // 86400)
        found = f"{_span(window)}: an event that is published again after that is stored twice"
        yield Doubt("duplicate_window", found, f"set it to {days}d: so long events are tried again")


def _of_keeping(config: StreamConfig, cluster: Cluster | None) -> Iterator[Doubt]:
    if config.storage != "file":
        found = f"{config.storage}: a restart of the servers loses all events"
        yield Doubt("storage", found, "make the stream with file storage")
    if config.persist_mode != "default":
        found = f"{config.persist_mode}: events are acknowledged before they are on the disk"
        yield Doubt("persist_mode", found, "make the stream without it")
    if config.retention == "interest":
        found = "interest: an event that no consumer waits for is dropped at once"
        yield Doubt("retention", found, "use limits, or workqueue")
    if cluster is not None and cluster.name and config.num_replicas < _ENOUGH:
        found = f"{config.num_replicas}: the loss of one server of the cluster loses events"
        yield Doubt("num_replicas", found, "set it to 3")


async def _of_servers(stream: Stream) -> list[Doubt]:
    found = []
    for monitor in stream.monitors:
        try:
            varz = await _varz(str(monitor))
        except NoAnswer as error:
            do = "correct `monitors`, or start the server with its monitoring (http_port)"
            found.append(Doubt("monitors", f"{monitor} does not tell sync_interval: {error}", do))
            continue
        config = varz.jetstream.config
        if config is None:
            do = "enable jetstream there"
            found.append(Doubt("jetstream", f"{monitor}: not enabled", do, fails=True))
        elif not config.sync_always:
            span = _span(config.sync_interval / _NANO)
            what = f"{span} at {monitor}: a loss of power loses acknowledged events of that time"
            found.append(Doubt("sync_interval", what, "set jetstream { sync_interval: always }"))
    return found


async def _varz(monitor: str) -> _Varz:
    """Asks a server for its settings. Raises `NoAnswer`."""
    import httpx2  # noqa: PLC0415 - takes a while to load

    from receiver.net.bounded import bounded, fetch  # noqa: PLC0415 - as above

    url = f"{monitor.rstrip('/')}/varz"
    try:
        async with bounded(httpx2.AsyncClient(trust_env=False), _MOST_BYTES) as client:
            answer = await fetch(client, "GET", url, most_bytes=_MOST_BYTES, seconds=_PATIENCE)
        return msgspec.json.decode(answer.content, type=_Varz)
    except (httpx2.HTTPError, msgspec.DecodeError) as error:
        raise NoAnswer(str(error) or type(error).__name__) from None


def _takes(pattern: str, subject: str) -> bool:
    """Returns whether a stream's subject takes one of ours, whatever its `*` stands for."""
    theirs, ours = pattern.split("."), subject.split(".")
    for n, word in enumerate(theirs):
        if word == ">":
            return len(ours) > n
        if n >= len(ours) or word not in ("*", ours[n]):
            return False
    return len(theirs) == len(ours)


def _span(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
