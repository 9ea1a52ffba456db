"""The sections of the configuration file, as Structs: their fields are the settings.

`Source` and `Send` hold what every source may set. A provider that has settings of its own
subclasses them in its file (`receiver.providers.contract`).
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from receiver.config.convert import Age, Network, Secret, Url
from receiver.limits import MOST_ASKED

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
    #: The address of the metrics; never the public one. Empty: none.
    admin: str = "127.0.0.1:8081"
    #: Addresses or networks whose X-Forwarded-For is believed.
    trusted_proxies: list[Network] = msgspec.field(default_factory=lambda: [Network("127.0.0.1")])
    #: The most bytes in a body.
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

    #: `sqlite:FILE`, or `postgresql://USER@HOST/DATABASE` for several receivers.
    url: str = "sqlite:receiver.db"
    #: Of the user of PostgreSQL.
    password: Secret | None = None
    #: With PostgreSQL: this machine's own files are beside this name, such as the control socket,
    #: plugins' data and the console's users.
    files: str = "receiver"
    #: Most requests kept in the quarantine, for authenticated pushes and strangers each.
    quarantine_rows: Positive = 1000
    #: Most bytes kept in the quarantine, for authenticated pushes and strangers each.
    quarantine_bytes: Positive = 16 * 1024 * 1024


class Console(Section, frozen=True, kw_only=True):
    """`[console]`: the web console and HTTP API, a process of its own (`receiver console`)."""

    #: Host and port. On loopback by default: a reverse proxy makes it public.
    listen: str = "127.0.0.1:8082"
    #: The zone of shown times; None: this machine's.
    timezone: ZoneInfo | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


class LoopGuard(Section, frozen=True, kw_only=True):
    """`[loop_guard]`: limits of replies, so that two programs do not answer each other for ever."""

    enabled: bool = True
    #: Replies that one person can get from one number of ours at once.
    burst: Positive = 30
    #: Replies that are added to it each minute.
    per_minute: Positive = 2
    #: Seconds in which the same text is answered only once; 0: no limit.
    same_text: Annotated[float, msgspec.Meta(ge=0)] = 5.0
    #: Our own numbers, besides those that sources send from: they get no replies.
    own_numbers: list[str] = []


class Logs(Section, frozen=True, kw_only=True):
    """`[logs]`: the log of pushes."""

    #: The pushes that get a line each.
    requests: Literal["all", "refused", "none"] = "all"


class Retention(Section, frozen=True, kw_only=True):
    """`[retention]`: the age at which data is deleted; `receiver purge` deletes it by hand."""

    #: The raw requests that events were made of.
    requests: Age = Age("90d")
    #: Requests in the quarantine.
    quarantine: Age = Age("90d")
    #: Events. The provider's id and the times of one are kept.
    events: Age = Age("never")
    #: Messages that we sent, once the event that one answers is deleted.
    messages: Age = Age("never")
    #: The ids and times of deleted events: a repeat of one is then a new event.
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
        """Returns the limits that are set, by the name of the setting."""
        given = {name: getattr(self, name).limit for name in self.__struct_fields__}
        return {name: limit for name, limit in given.items() if limit is not None}


class Send(Section, frozen=True, kw_only=True):
    """`[sources.NAME.send]`: needed if we also send through the source."""

    api_key: Secret
    #: Short code or alphanumeric sender ID that messages come from.
    sender: str | None = None
    #: Where the provider's API is; the documented address by default.
    url: Url | None = None
    #: Requests a minute; the provider's documented limit by default.
    rate: Positive | None = None
    #: The same for requests that send to many at once.
    bulk_rate: Positive | None = None
    #: Campaigns leave by requests to many; by default if the answer to one tells people apart.
    bulk: bool | None = None
    #: People in one such request.
    bulk_size: Positive = 100
    #: Requests under way at the same time.
    connections: Positive = 8
    #: Seconds for a whole request; what has no answer by then is unknown.
    timeout: Seconds = 30.0
    #: The most seconds that the source rests when the provider asks for it.
    retry_after_max: Seconds = MOST_ASKED
    #: Seconds after which a message that could not be sent is given up.
    give_up_after: Seconds = 86400.0
    #: Seconds that a link_id lives.
    link_id_ttl: Seconds = 86400.0
    #: Ask for the status of messages; by default if the provider never reports it.
    poll: bool | None = None
    #: Send again what may have been sent already: some people then get a message twice.
    resend_unknown: bool = False
    #: Send a text that is too long as several messages.
    split: bool = False


class Source(Section, frozen=True, kw_only=True):
    """`[sources.NAME]`: one account at one provider. The name is part of the URL."""

    provider: str
    #: Names that the source had before: it takes over what is stored under them.
    former_names: list[str] = []
    #: Several allow rotation: any of them is right.
    tokens: list[Secret] = []
    #: "none": pushes need no credential. Reported at every start.
    authentication: Literal["required", "none"] = "required"
    #: Addresses or networks that may push; empty: any.
    allow_ips: list[Network] = []
    #: Authenticated pushes a second; beyond them 429. None: no limit.
    max_per_second: Positive | None = None
    #: The zone of times without one; the provider's by default.
    timezone: ZoneInfo | None = None
    #: The region of numbers without a country code; the provider's by default.
    region: str | None = None
    #: Seconds; a reply after this goes through the send API.
    reply_within: Seconds = 3.0
    send: Send | None = None


class Providers(Section, frozen=True, kw_only=True):
    """`[providers]`: where providers are found, besides those that are installed."""

    #: Folders of descriptions (NAME.toml) and of provider files (NAME.py).
    path: list[Path] = []
    #: The tables `[providers.NAME]` as they are in the file: descriptions.
    descriptions: dict[str, dict[str, Any]] = {}


class Plugins(Section, frozen=True, kw_only=True):
    """`[plugins]`: the plugins that run, and their own settings."""

    #: Folders of single-file plugins, besides installed ones.
    path: list[Path] = []
    enabled: list[str] = []
    #: The tables `[plugins.NAME]` as they are in the file; each plugin validates its own.
    settings: dict[str, dict[str, Any]] = {}
