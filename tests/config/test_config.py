"""The configuration: strict, every fault named with its key, secrets never shown."""

from __future__ import annotations

import os
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver import config
from receiver.config.convert import Converter, Network, Secret
from receiver.errors import ConfigError

SECRET = "very-secret-0123456789"


def parse(
    raw: dict[str, Any], folder: Path = Path("/etc/receiver"), **environ: str
) -> config.Config:
    """The configuration in decoded TOML."""
    return config.parse(raw, folder / "receiver.toml", environ)


def faults(
    raw: dict[str, Any], folder: Path = Path("/etc/receiver"), **environ: str
) -> dict[str, str]:
    """The faults of a configuration, by key."""
    with pytest.raises(ConfigError) as caught:
        parse(raw, folder, **environ)
    assert str(caught.value).startswith(str(folder / "receiver.toml"))
    found = {fault.key: fault.message for fault in caught.value.faults}
    assert len(found) == len(caught.value.faults), "a key was named twice"
    return found


def source(**settings: Any) -> dict[str, Any]:
    """A configuration with one source, `sources.tilil`."""
    return {"sources": {"tilil": {"provider": "tilil", "tokens": [SECRET], **settings}}}


# Defaults and values


def test_an_empty_file_is_a_configuration() -> None:
    """Everything has a default; without sources there is just nothing to take."""
    settings = parse({})
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8080)
    assert settings.server.admin_address == ("127.0.0.1", 8081)
    assert (settings.server.max_body, settings.server.request_timeout) == (65536, 10.0)
    assert [str(proxy) for proxy in settings.server.trusted_proxies] == ["127.0.0.1/32"]
    assert settings.sources == {}
    assert settings.plugins.enabled == []


def test_values_arrive_in_their_types() -> None:
    """Zones, networks, paths and secrets are what they say."""
    raw = source(
        tokens=[SECRET, "env:OTHER"],
        allow_ips=["196.0.2.0/24", "2001:db8::1"],
        timezone="Africa/Nairobi",
        region="KE",
        reply_within=2,
        send={"api_key": "env:OTHER", "sender": "22915"},
    )
    settings = parse(raw, OTHER="other").sources["tilil"]
    assert [token.reveal() for token in settings.tokens] == [SECRET, "other"]
    assert ip_address("196.0.2.7") in settings.allow_ips[0]
    assert ip_address("196.0.3.7") not in settings.allow_ips[0]
    assert ip_address("2001:db8::1") in settings.allow_ips[1]
    assert settings.timezone == ZoneInfo("Africa/Nairobi")
    assert settings.reply_within == 2.0
    assert settings.send is not None
    assert settings.send.api_key.reveal() == "other"


def test_keys_of_a_provider_are_left_to_it() -> None:
    """Commands that need no provider do with what every source has."""
    settings = parse(source(digest={}, send={"api_key": "k", "report_url": 5}))
    assert settings.sources["tilil"].send is not None


def test_relative_paths_begin_at_the_file() -> None:
    """Not at wherever the program was started."""
    settings = parse(
        {"store": {"url": "sqlite:data/r.db"}, "plugins": {"path": ["plugins", "/opt/p"]}}
    )
    assert settings.store_path == Path("/etc/receiver/data/r.db")
    assert settings.plugins.path == [Path("/etc/receiver/plugins"), Path("/opt/p")]
    assert parse({"store": {"url": "sqlite:/var/r.db"}}).store_path == Path("/var/r.db")


def test_the_admin_address_may_be_absent_or_ipv6() -> None:
    """Empty is none; brackets hold an IPv6 address."""
    assert parse({"server": {"admin": ""}}).server.admin_address is None
    assert parse({"server": {"admin": "[::1]:9000"}}).server.admin_address == ("::1", 9000)


def test_plugins_own_tables_are_passed_on() -> None:
    """A table with the name of an enabled plugin is left to that plugin."""
    raw = {"plugins": {"enabled": ["mine"], "mine": {"anything": [1, {"at": "all"}]}}}
    assert parse(raw).plugins.settings == {"mine": {"anything": [1, {"at": "all"}]}}


# Faults


@pytest.mark.parametrize(
    ("raw", "key", "message"),
    [
        ({"sever": {}}, "sever", "unknown section"),
        ({"server": 5}, "server", "expected a table, got a number"),
        ({"server": {"prot": 80}}, "server.prot", "did you mean port?"),
        ({"server": {"zzzz": 80}}, "server.zzzz", "expected host, port, admin"),
        ({"server": {"port": "80"}}, "server.port", "expected an integer, got a text"),
        ({"server": {"port": 70000}}, "server.port", "<= 65535"),
        ({"server": {"port": -1}}, "server.port", ">= 0"),
        ({"server": {"port": True}}, "server.port", "expected an integer, got true or false"),
        ({"server": {"host": 5}}, "server.host", "expected a text"),
        ({"server": {"max_body": 0}}, "server.max_body", ">= 1"),
        ({"server": {"request_timeout": 0}}, "server.request_timeout", "> 0"),
        ({"server": {"request_timeout": "1"}}, "server.request_timeout", "expected a number"),
        ({"server": {"admin": "8081"}}, "server.admin", "expected HOST:PORT"),
        ({"server": {"admin": "x:99999"}}, "server.admin", "expected HOST:PORT"),
        ({"server": {"admin": "x:²"}}, "server.admin", "expected HOST:PORT"),
        ({"server": {"admin": "127.0.0.1:8080"}}, "server.admin", "must not be the public address"),
        ({"console": {"listen": "8082"}}, "console.listen", "expected HOST:PORT"),
        ({"console": {"listen": "127.0.0.1:8080"}}, "console.listen", "another address"),
        ({"console": {"listen": "127.0.0.1:8081"}}, "console.listen", "another address"),
        ({"console": {"timezone": "Nairobi"}}, "console.timezone", "expected a time zone"),
        ({"server": {"trusted_proxies": ["*"]}}, "server.trusted_proxies[0]", "everybody"),
        ({"server": {"trusted_proxies": ["0.0.0.0/0"]}}, "server.trusted_proxies[0]", "everybody"),
        ({"server": {"trusted_proxies": ["::/0"]}}, "server.trusted_proxies[0]", "everybody"),
        ({"server": {"trusted_proxies": ["1.2.3.4/0"]}}, "server.trusted_proxies[0]", "everybody"),
        ({"server": {"trusted_proxies": "*"}}, "server.trusted_proxies", "expected a list"),
        ({"server": {"trusted_proxies": ["proxy"]}}, "server.trusted_proxies[0]", "10.0.0.0/8"),
        ({"store": {"url": "mysql://x"}}, "store.url", "expected sqlite:FILE"),
        ({"store": {"url": "sqlite:"}}, "store.url", "a file name"),
        ({"store": {"url": ""}}, "store.url", "expected sqlite:"),
        ({"store": {"quarantine_rows": 0}}, "store.quarantine_rows", ">= 1"),
        ({"sources": []}, "sources", "expected tables"),
        (
            {"sources": {"a/b": {"provider": "x", "tokens": ["y"]}}},
            "sources.a/b",
            "part of the URL",
        ),
        ({"sources": {"": {"provider": "x", "tokens": ["y"]}}}, "sources.", "part of the URL"),
        ({"sources": {"a": {"tokens": ["y"]}}}, "sources.a.provider", "missing"),
        (source(tokens="x"), "sources.tilil.tokens", "expected a list, got a text"),
        (source(tokens=[5]), "sources.tilil.tokens[0]", "expected a text, got a number"),
        (source(tokens=["x", ""]), "sources.tilil.tokens[1]", "the text is empty"),
        (source(tokens=["x/"]), "sources.tilil.tokens", "must not end in /"),
        (source(tokens=["env:NOT_SET"]), "sources.tilil.tokens[0]", "NOT_SET is not set"),
        (source(tokens=["env:EMPTY"]), "sources.tilil.tokens[0]", "EMPTY is empty"),
        (source(tokens=["credential:x"]), "sources.tilil.tokens[0]", "needs systemd"),
        (source(tokens=["file:/no/such"]), "sources.tilil.tokens[0]", "/no/such: No such file"),
        (source(allow_ips=["10.0.0.300"]), "sources.tilil.allow_ips[0]", "got '10.0.0.300'"),
        (source(former_names=["tilil"]), "sources.tilil.former_names[0]", "a source of this"),
        (source(former_names=["a", "a"]), "sources.tilil.former_names[1]", "name of tilil"),
        (source(timezone="Nairobi"), "sources.tilil.timezone", "Africa/Nairobi"),
        (source(timezone="../../etc/passwd"), "sources.tilil.timezone", "Africa/Nairobi"),
        (source(region="XX"), "sources.tilil.region", "such as KE"),
        (source(reply_within=0), "sources.tilil.reply_within", "> 0"),
        (source(authentication="no"), "sources.tilil.authentication", "no"),
        (source(send={}), "sources.tilil.send.api_key", "missing"),
        (source(send={"api_key": []}), "sources.tilil.send.api_key", "got a list"),
        (source(send="x"), "sources.tilil.send", "expected a table, got a text"),
        (source(send={"api_key": "k", "url": "x"}), "sources.tilil.send.url", "https:// and an"),
        (
            source(send={"api_key": "k", "url": "ftp://str"}),
            "sources.tilil.send.url",
            "got 'ftp://str'",
        ),
        ({"sources": {"a": 5}}, "sources.a", "expected a table, got a number"),
        ({"plugins": []}, "plugins", "expected a table, got a list"),
        ({"plugins": {"enabled": "x"}}, "plugins.enabled", "expected a list"),
        ({"plugins": {"mine": {}}}, "plugins.mine", "not in plugins.enabled"),
        ({"plugins": {"enabled": ["a"], "a": 5}}, "plugins.settings", "expected a table"),
    ],
)
def test_a_fault_is_named_with_its_key(raw: dict[str, Any], key: str, message: str) -> None:
    """One fault is one line, which says where it stands and what was expected."""
    found = faults(raw, EMPTY="")
    assert len(found) == 1, found
    (where,) = found
    assert where.startswith(key)
    assert message in found[where]
    assert "\n" not in found[where]


def test_every_fault_is_named_at_once() -> None:
    """A person mends the whole file in one go."""
    raw = {
        "server": {"port": "x", "hots": "y", "trusted_proxies": ["*"]},
        "store": {"url": "mysql:x"},
        "sources": {
            "one": {"provider": "tilil"},
            "two": {"tokens": ["env:NO"], "region": "XX", "allow_ips": ["a", "10.0.0.1", "b"]},
        },
        "plugins": {"path": 5},
        "extra": {},
    }
    assert set(faults(raw)) == {
        "extra",
        "server.port",
        "server.hots",
        "server.trusted_proxies[0]",
        "store.url",
        "sources.two.provider",
        "sources.two.tokens[0]",
        "sources.two.allow_ips[0]",
        "sources.two.allow_ips[2]",
        "plugins.path",
    }


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
KEYS = [
    "host",
    "port",
    "admin",
    "trusted_proxies",
    "max_body",
    "url",
    "provider",
    "tokens",
    "digest",
]
KEYS += ["allow_ips", "timezone", "region", "send", "enabled", "path", "reply_within", "x"]
tables = st.dictionaries(st.sampled_from(KEYS), json_values, max_size=4)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "server": tables,
            "store": tables,
            "sources": st.dictionaries(st.text(), tables | json_values, max_size=2),
            "plugins": tables | json_values,
            "x": json_values,
        },
    )
)
def test_any_values_are_a_configuration_or_faults(raw: dict[str, Any]) -> None:
    """Whatever stands in the file, nothing but our own error leaves."""
    with suppress(ConfigError):
        parse(raw)


# Secrets


def test_secrets_come_from_where_they_are_kept(tmp_path: Path) -> None:
    """In place, from the environment, a file (without its line end), a credential of systemd."""
    (tmp_path / "token").write_text("from-file\n")
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "tilil").write_text("from-systemd")
    raw = source(
        tokens=["plain:text", "env:A", "file:token", f"file:{tmp_path}/token", "credential:tilil"]
    )
    settings = parse(
        raw, tmp_path, A="from-env", CREDENTIALS_DIRECTORY=str(tmp_path / "credentials")
    )
    assert [token.reveal() for token in settings.sources["tilil"].tokens] == [
        "plain:text",
        "from-env",
        "from-file",
        "from-file",
        "from-systemd",
    ]


@pytest.mark.parametrize(("content", "why"), [(b"\n", "is empty"), (b"\xff", "not UTF-8")])
def test_a_secret_file_without_a_secret_is_a_fault(
    tmp_path: Path, content: bytes, why: str
) -> None:
    """The file is named."""
    (tmp_path / "token").write_bytes(content)
    found = faults(source(tokens=["file:token"]), tmp_path)
    assert found["sources.tilil.tokens[0]"].endswith(why)
    assert str(tmp_path / "token") in found["sources.tilil.tokens[0]"]


def test_secrets_do_not_show_themselves() -> None:
    """Not when printed, in no form, alone or inside the whole configuration."""
    settings = parse(source(send={"api_key": SECRET}))
    for shown in (repr(settings), str(settings), f"{settings.sources['tilil'].tokens}"):
        assert SECRET not in shown
        assert "Secret" in shown
    with pytest.raises(TypeError):
        msgspec.json.encode(settings.sources["tilil"].tokens)


@pytest.mark.parametrize(
    "raw",
    [
        source(tokens=SECRET),
        source(tokens={SECRET: 1}),
        source(tokens=[[SECRET]]),
        source(tokens=[SECRET + "/"]),
        source(send={"api_key": [SECRET]}),
        source(send={"api_key": SECRET, "sender": 5}),
        {"server": {"port": 0, "x": SECRET}},
    ],
)
def test_faults_do_not_show_secrets(raw: dict[str, Any]) -> None:
    """A wrong value is named by its kind alone."""
    with pytest.raises(ConfigError) as caught:
        parse(raw)
    shown = str(caught.value).replace(f"unknown key {SECRET}", "")
    assert SECRET not in shown


def test_secrets_are_compared_by_what_they_hold() -> None:
    """Two of the same text are one, also in a set."""
    assert Secret("a") == Secret("a") != Secret("b")
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert Secret("a") != "a"


# Files


def test_the_first_of_the_usual_files_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`./receiver.toml`; without any it is said how to make one."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"receiver\.toml or /etc/receiver/.*`receiver init`"):
        config.find(None)
    (tmp_path / "receiver.toml").touch()
    assert config.find(None) == tmp_path / "receiver.toml"
    with pytest.raises(ConfigError, match=r"other\.toml"):
        config.find(Path("other.toml"))


def test_a_folder_that_is_closed_to_us_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root in /root who runs a command as the service's user means /etc/receiver."""

    def closed(file: Path) -> bool:
        if not file.is_absolute():
            raise PermissionError(13, "Permission denied", str(file))
        return True

    monkeypatch.setattr(Path, "is_file", closed)
    assert config.find(None) == config.DEFAULT_FILES[-1]
    with pytest.raises(PermissionError):
        config.find(Path("receiver.toml"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[server\n", "not TOML: "),
        (b"[server]\nport = \n", "(at line 2, column 8)"),
        (b"port = 1\nport = 2\n", "not TOML: "),
        (b"host = '\xff'", "not UTF-8 at byte 8"),
    ],
)
def test_a_file_that_is_no_toml_is_told_with_the_place(
    tmp_path: Path, content: bytes, message: str
) -> None:
    """File, line and column."""
    file = tmp_path / "receiver.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        config.load(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert message in str(caught.value)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """A missing file, or a folder."""
    for file in (tmp_path / "missing.toml", tmp_path):
        with pytest.raises(ConfigError, match=str(file)):
            config.load(file)


def test_the_environment_is_that_of_the_process_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`env:` reads what the program was started with."""
    monkeypatch.setenv("RECEIVER_TEST_TOKEN", SECRET)
    file = tmp_path / "receiver.toml"
    file.write_text('[sources.a]\nprovider = "tilil"\ntokens = ["env:RECEIVER_TEST_TOKEN"]\n')
    assert config.load(file).sources["a"].tokens == [Secret(os.environ["RECEIVER_TEST_TOKEN"])]


# Converting for plugins


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A table inside a plugin's settings."""

    word: str
    times: int | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a plugin."""

    rules: list[Rule] = []
    by_name: dict[str, Rule] = {}
    folder: Path | None = None
    key: Secret | None = None

    def __post_init__(self) -> None:
        if len(self.rules) > 2:
            raise ValueError("at most two rules")


def test_plugins_settings_are_converted_alike() -> None:
    """Nested tables, paths from the folder, secrets: as in our own part."""
    raw = {"rules": [{"word": "a", "times": 2}], "folder": "x", "key": SECRET}
    made = config.convert(raw, Settings, "plugins.mine", Path("/etc"))
    assert made == Settings(
        rules=[Rule(word="a", times=2)], folder=Path("/etc/x"), key=Secret(SECRET)
    )


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            {"rules": [{"word": 5}, {"wrod": "x"}]},
            {"rules[0].word", "rules[1].wrod", "rules[1].word"},
        ),
        ({"rules": {"word": "a"}}, {"rules"}),
        ({"rules": [{"word": "a"}] * 3}, {""}),
        ({"by_name": {"x": {"word": 5}}}, {"by_name.x.word"}),
    ],
)
def test_plugins_faults_are_named_below_their_key(raw: object, expected: set[str]) -> None:
    """Each below `plugins.NAME`."""
    with pytest.raises(ConfigError) as caught:
        config.convert(raw, Settings, "plugins.mine", Path("/etc"))
    keys = {fault.key.removeprefix("plugins.mine").lstrip(".") for fault in caught.value.faults}
    assert keys == expected


def test_types_that_no_file_can_hold_are_a_fault() -> None:
    """A plugin with a setting of an odd type is told so."""

    class Odd(msgspec.Struct):
        value: complex | None = None

    converter = Converter(Path("/etc"))
    assert converter.struct({"value": "1j"}, Odd, "plugins.odd") is None
    assert converter.faults[0].message == "complex cannot be configured"


def test_networks_are_shown_as_they_are_meant() -> None:
    """A host is a network of one."""
    assert str(Network("10.1.2.3")) == "10.1.2.3/32"
    assert repr(Network("10.1.2.3/8")) == "10.0.0.0/8"
