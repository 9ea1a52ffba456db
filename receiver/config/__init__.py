"""The configuration file: strict, typed, and every fault of it named at once.

`load` reads TOML into the Structs below. Their fields are the settings; what has no default
must be given. Unknown keys are faults. A `Secret` is written in place or as `env:NAME`,
`file:/path` or `credential:NAME` (systemd), and never shows itself when printed.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from receiver.config.convert import Age, Converter, Network, Secret, StructT, shown
from receiver.errors import ConfigError, Fault
from receiver.limits import MOST_ASKED
from receiver.text.msisdn import is_region

DEFAULT_FILES = (Path("receiver.toml"), Path("/etc/receiver/receiver.toml"))

_SECTIONS = ("server", "store", "sources", "plugins", "loop_guard", "retention", "logs")
_SOURCE_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._-]*")
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]
Positive = Annotated[int, msgspec.Meta(gt=0)]
#: For so long a repeat of a push gets the very same answer, which goes with the event.
YOUNGEST = timedelta(days=7)


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the configuration file."""


class Server(Section, frozen=True, kw_only=True):
    """`[server]`: addresses and limits."""

    host: str = "127.0.0.1"
    port: Port = 8080
    #: Metrics; never the public address. Empty: none.
    admin: str = "127.0.0.1:8081"
    #: Whose X-Forwarded-For we believe: addresses or networks.
    trusted_proxies: list[Network] = msgspec.field(default_factory=lambda: [Network("127.0.0.1")])
    #: Bytes.
    max_body: Positive = 65536
    #: Seconds for the whole request to arrive.
    request_timeout: Seconds = 10.0

    @property
    def admin_address(self) -> tuple[str, int] | None:
        """Host and port of the admin address; None without one."""
        host, _, port = self.admin.rpartition(":")
        return (host.strip("[]"), int(port)) if self.admin else None


class Store(Section, frozen=True, kw_only=True):
    """`[store]`: where events are kept."""

    url: str = "sqlite:receiver.db"
    #: Most requests kept in the quarantine, for authenticated pushes and strangers each.
    quarantine_rows: Positive = 1000
    #: Most bytes kept in the quarantine, for authenticated pushes and strangers each.
    quarantine_bytes: Positive = 16 * 1024 * 1024


class LoopGuard(Section, frozen=True, kw_only=True):
    """`[loop_guard]`: which replies are held back, so that no two programs keep on replying."""

    enabled: bool = True
    #: Replies that one person can get from one number of ours at once.
    burst: Positive = 30
    #: Replies a minute that come to it.
    per_minute: Positive = 2
    #: Seconds in which the same text is answered only once; 0: each time.
    same_text: Annotated[float, msgspec.Meta(ge=0)] = 5.0
    #: Our own numbers, besides those that sources send from: they get no replies.
    own_numbers: list[str] = []


class Logs(Section, frozen=True, kw_only=True):
    """`[logs]`: what is logged."""

    #: Which pushes get a line each.
    requests: Literal["all", "refused", "none"] = "all"


class Retention(Section, frozen=True, kw_only=True):
    """`[retention]`: how old data may get; `receiver purge` lets go of it by hand."""

    #: The raw requests that events were made of.
    requests: Age = Age("90d")
    #: Requests in the quarantine.
    quarantine: Age = Age("90d")
    #: Events. What is left of one are its provider's id and its times.
    events: Age = Age("never")
    #: What we sent, once the event that it answers is gone.
    messages: Age = Age("never")
    #: What is left of purged events: a repeat of one is then a new event.
    keys: Age = Age("never")

    def __post_init__(self) -> None:
        for name in ("events", "messages", "keys"):
            limit = getattr(self, name).limit
            if limit is not None and limit < YOUNGEST:
                days = YOUNGEST.days
                raise ValueError(
                    f"{name}: expected at least {days}d: a push may come again for so long"
                )

    def ages(self) -> dict[str, timedelta]:
        """The limits that there are, by what they are for."""
        given = {name: getattr(self, name).limit for name in self.__struct_fields__}
        return {name: limit for name, limit in given.items() if limit is not None}


class Digest(Section, frozen=True, kw_only=True):
    """`[sources.NAME.digest]`: Tilil's api_token as a digest of the push's own fields."""

    algorithm: Literal["md5", "sha1", "sha256", "sha512"] = "md5"
    #: May name {username}, {server_ip}, {timestamp} and {password}.
    template: str = "{username}{server_ip}{timestamp}{password}"
    username: str
    #: Address of the provider's server, as the provider put it into the digest.
    server_ip: str = ""
    password: Secret
    #: Seconds that the timestamp of a push may differ from its arrival. The default lets
    #: Tilil's three retries in (after 3, 6 and 9 minutes).
    max_age: Seconds = 900.0

    def __post_init__(self) -> None:
        sample = {"username": "u", "server_ip": "s", "timestamp": "t", "password": "p"}
        try:
            named = {name for _, name, _, _ in Formatter().parse(self.template) if name is not None}
            self.template.format(**sample)
        except (ValueError, LookupError, AttributeError) as error:
            raise ValueError(f"template: {error}") from None
        if not {"timestamp", "password"} <= named <= sample.keys():
            expected = "{timestamp}, {password}, and at most {username} and {server_ip} beside them"
            raise ValueError(f"template: expected {expected}")


class Send(Section, frozen=True, kw_only=True):
    """`[sources.NAME.send]`: only where we also send."""

    api_key: Secret
    #: Short code or alphanumeric sender ID that messages come from.
    sender: str | None = None
    #: Where the provider's API is; the documented address by default.
    url: str | None = None
    #: Tilil's service for messages that belong to none.
    service_id: str | None = None
    #: Where TSCONECT shall send its callbacks: our public URL, with the token in it.
    callback_url: Secret | None = None
    #: Where Tilil's delivery reports are asked for; its documentation does not say.
    report_url: str | None = None
    #: Text-Connect's names that its documentation does not print, by what we call them.
    names: dict[str, str] = {}
    #: Requests a minute; the provider's documented limit by default.
    rate: Positive | None = None
    #: The same for requests that send to many at once.
    bulk_rate: Positive | None = None
    #: Requests under way at the same time.
    connections: Positive = 8
    #: Seconds for a whole request; what has no answer by then is unknown.
    timeout: Seconds = 30.0
    #: Seconds that the source rests at most, however long the provider asks it to.
    retry_after_max: Seconds = MOST_ASKED
    #: Seconds after which a message that could not be sent is not worth sending any more.
    give_up_after: Seconds = 86400.0
    #: Seconds that a link_id lives.
    link_id_ttl: Seconds = 86400.0
    #: Whether to ask for the status; by default where the provider never reports it.
    poll: bool | None = None
    #: Send again what may have been sent already. Some people then get a message twice.
    resend_unknown: bool = False
    #: Send a text that is too long as several messages.
    split: bool = False


class Source(Section, frozen=True, kw_only=True):
    """`[sources.NAME]`: one account at one provider. The name is part of the URL."""

    provider: str
    #: Names that the source had before: what is stored under them is its own from now on.
    former_names: list[str] = []
    #: Several allow rotation: any of them is right.
    tokens: list[Secret] = []
    digest: Digest | None = None
    #: "none": take pushes without any credential. Reported at every start.
    authentication: Literal["required", "none"] = "required"
    #: Addresses or networks that may push; empty: any.
    allow_ips: list[Network] = []
    #: Authenticated pushes a second; beyond them 429. Without: no limit but the machine's.
    max_per_second: Positive | None = None
    #: Zone of times that the provider writes without one; the provider's own by default.
    timezone: ZoneInfo | None = None
    #: For numbers written without a country code; the provider's own by default.
    region: str | None = None
    #: Seconds; a reply later than this goes through the send API.
    reply_within: Seconds = 3.0
    #: Spelling of Tilil's acknowledgement.
    ack_fields: Literal["result", "request", "both"] = "result"
    send: Send | None = None


class Plugins(Section, frozen=True, kw_only=True):
    """`[plugins]`: which handlers run, and their own settings."""

    #: Folders of single-file plugins, besides installed ones.
    path: list[Path] = []
    enabled: list[str] = []
    #: `[plugins.NAME]` as it stands in the file; each plugin validates its own.
    settings: dict[str, dict[str, Any]] = {}


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole configuration."""

    file: Path
    server: Server
    store: Store
    sources: dict[str, Source]
    plugins: Plugins
    loop_guard: LoopGuard = LoopGuard()
    logs: Logs = Logs()
    retention: Retention = Retention()

    def strangers(self, sources: Iterable[str]) -> list[str]:
        """Those of these sources that are none of the configuration, by no name of theirs."""
        known = {name for source in self.sources.values() for name in source.former_names}
        return [name for name in sources if name not in known.union(self.sources)]

    @property
    def store_path(self) -> Path:
        """The SQLite file, absolute, by the name that is no link: all beside it goes by that."""
        return (self.file.parent / self.store.url.removeprefix("sqlite:")).resolve()


def find(file: Path | None) -> Path:
    """The configuration file to use: `file`, or the first default that exists."""
    candidates = (file,) if file else DEFAULT_FILES
    for candidate in candidates:
        try:
            if candidate.is_file():
                return candidate.absolute()
        except PermissionError:  # in /root, for the service's user that root becomes
            if file:
                raise
    names = " or ".join(str(candidate) for candidate in candidates)
    raise ConfigError([Fault("", f"no configuration at {names}: make one with `receiver init`")])


def load(file: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """Reads and validates a configuration file.

    Raises `ConfigError` with every fault in it. Plugins' own settings are validated when
    the plugins are loaded (`receiver.plugin_host.loader.load`).
    """
    try:
        raw = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError([Fault("", error.strerror or "cannot be read")], str(file)) from None
    except UnicodeDecodeError as error:
        message = f"not UTF-8 at byte {error.start}"
        raise ConfigError([Fault("", message)], str(file)) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([Fault("", f"not TOML: {error}")], str(file)) from None
    return parse(raw, file.absolute(), environ)


def parse(raw: dict[str, Any], file: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """The configuration in already decoded TOML; `file` is where it stood."""
    reader = _ConfigReader(file.parent, environ)
    for key in raw.keys() - _SECTIONS:
        expected = ", ".join(_SECTIONS)
        reader.fault(key, f"unknown section; expected one of {expected}")
    server = reader.struct(raw.get("server", {}), Server, "server")
    store = reader.struct(raw.get("store", {}), Store, "store")
    sources = reader.sources(raw.get("sources", {}))
    plugins = reader.plugins(raw.get("plugins", {}))
    guard = reader.struct(raw.get("loop_guard", {}), LoopGuard, "loop_guard")
    logs = reader.struct(raw.get("logs", {}), Logs, "logs")
    retention = reader.struct(raw.get("retention", {}), Retention, "retention")
    if server:
        reader.check_server(server)
    if store and not store.url.removeprefix("sqlite:"):
        reader.fault("store.url", "expected sqlite: and a file name")
    elif store and not store.url.startswith("sqlite:"):
        reader.fault("store.url", f"expected sqlite:FILE, got {store.url!r}")
    if reader.faults or not (server and store and plugins and guard and retention and logs):
        raise ConfigError(reader.faults, str(file))
    return Config(
        file=file,
        server=server,
        store=store,
        sources=sources,
        plugins=plugins,
        loop_guard=guard,
        logs=logs,
        retention=retention,
    )


def convert(
    raw: object, type_: type[StructT], key: str, folder: Path, regions: Iterable[str] = ()
) -> StructT:
    """One table as the Struct `type_`, for settings that are not ours (plugins).

    `regions`: of the sources, for numbers that are written without a country code.

    Raises `ConfigError` with every fault, each with its key below `key`.
    """
    reader = Converter(folder, regions=regions)
    value = reader.struct(raw, type_, key)
    if value is None:
        raise ConfigError(reader.faults)
    return value


class _ConfigReader(Converter):
    """Adds what one field alone cannot tell."""

    def sources(self, raw: object) -> dict[str, Source]:
        if not isinstance(raw, dict):
            self.fault("sources", f"expected tables [sources.NAME], got {shown(raw)}")
            return {}
        sources = {}
        for name, table in raw.items():
            key = f"sources.{name}"
            if not _SOURCE_NAME.fullmatch(name):
                self.fault(key, "the name is part of the URL: letters, digits, . _ - only")
            if source := self.struct(table, Source, key):
                self.check_source(source, key)
                sources[name] = source
        self.check_former_names(sources)
        return sources

    def check_former_names(self, sources: dict[str, Source]) -> None:
        taken = dict.fromkeys(sources, "a source of this configuration")
        for name, source in sources.items():
            for n, former in enumerate(source.former_names):
                if former in taken:
                    key = f"sources.{name}.former_names[{n}]"
                    self.fault(
                        key, f"{former} is {taken[former]}; expected a name that no source has now"
                    )
                taken[former] = f"a former name of {name}"

    def check_source(self, source: Source, key: str) -> None:
        if source.region is not None and not is_region(source.region):
            self.fault(f"{key}.region", f"expected a region such as KE, got {source.region!r}")
        if any(token.reveal().endswith("/") for token in source.tokens):
            self.fault(f"{key}.tokens", "a token must not end in /: it may be part of a URL")
        if source.authentication == "none" and (source.tokens or source.digest):
            self.fault(f"{key}.authentication", '"none" contradicts tokens or digest')

    def plugins(self, raw: object) -> Plugins | None:
        """`path` and `enabled` are ours; every other table belongs to the plugin of its name."""
        if not isinstance(raw, dict):
            self.fault("plugins", f"expected a table, got {shown(raw)}")
            return None
        own = {name: raw[name] for name in ("path", "enabled") if name in raw}
        settings = {name: table for name, table in raw.items() if name not in own}
        plugins = self.struct({**own, "settings": settings}, Plugins, "plugins")
        for name in settings:
            if plugins and name not in plugins.enabled:
                self.fault(f"plugins.{name}", "settings of a plugin that is not in plugins.enabled")
        return plugins

    def check_server(self, server: Server) -> None:
        if not server.admin:
            return
        host, _, port = server.admin.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            self.fault("server.admin", f"expected HOST:PORT, got {server.admin!r}")
        elif server.port and server.admin_address == (server.host, server.port):
            self.fault("server.admin", "must not be the public address")
