"""Finds settings that are allowed and probably a mistake.

`receiver check`, `receiver doctor` and the log of a start and a reload show the same list. Nothing
here refuses a configuration: each caution names its setting and the possible damage.
"""

from __future__ import annotations

import math
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv6Network, ip_network
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from receiver.config import Config, Console, Server, Store
from receiver.config.convert import Address, Network, Secret, Url
from receiver.config.store import password_in
from receiver.errors import PluginError
from receiver.events import EventType
from receiver.plugin_host.loader import Plugin, WrongItems, findings
from receiver.providers import Provider
from receiver.text.urls import is_here, is_loopback

SettingT = TypeVar("SettingT", Secret, Address, Url)

#: Characters that a token should have; those of `receiver init` have 43.
_LONG_ENOUGH = 16
#: Bits of entropy that a token should have, by the frequency of its characters.
_BITS_ENOUGH = 48.0
#: Addresses of a public network that may well be one company's proxies.
_MOST_PROXIES = 256
#: Networks that are not the internet.
_OWN_NETWORKS = tuple(
    ip_network(text)
    for text in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "fc00::/7",
        "fe80::/10",
        "::1/128",
    )
)


class Caution(msgspec.Struct, frozen=True):
    """A setting that an operator should check: its dotted key, and the reason."""

    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}" if self.key else self.message


def cautions(
    config: Config, providers: Mapping[str, Provider[Any]], plugins: Iterable[Plugin]
) -> list[Caution]:
    """Returns all cautions: of sockets, store, sources, secrets, our addresses, and plugins."""
    plugins = list(plugins)
    settings: dict[str, object] = {f"sources.{name}": p.source for name, p in providers.items()}
    settings["store"] = config.store
    settings |= {f"plugins.{plugin.name}": plugin.settings for plugin in plugins}
    secrets = list(_of_type(Secret, settings))
    regions = {provider.region for provider in providers.values()}
    return [
        *_of_server(config.server),
        *_of_console(config.console),
        *_of_store(config.store),
        *(each for name, made in providers.items() for each in _of_source(f"sources.{name}", made)),
        *_unanswered(providers, plugins),
        *_repeated(secrets, providers),
        *_exposed(config, secrets),
        *_of_addresses(config, settings, regions),
        *_of_plugins(plugins),
    ]


# The sockets


def _of_server(server: Server) -> Iterator[Caution]:
    behind_another = any(not _loopback_only(network) for network in server.trusted_proxies)
    if not is_loopback(server.host) and not behind_another:
        yield Caution(
            "server.host",
            f"{server.host} can be reached from other machines, and there is no HTTPS here: tokens"
            " and texts can be read on the way; listen on 127.0.0.1 behind a reverse proxy, or"
            " name the one on another machine in trusted_proxies",
        )
    if server.admin_address and not is_loopback(server.admin_address[0]):
        yield Caution(
            "server.admin",
            f"{server.admin} can be reached from other machines, and asks nobody for a password;"
            " 127.0.0.1 is safe",
        )
    for n, network in enumerate(server.trusted_proxies):
        if _too_wide(network):
            yield Caution(
                f"server.trusted_proxies[{n}]",
                f"{network} is a wide public network: whoever sends from there chooses the address"
                " that is recorded, and passes allow_ips; name the proxy alone",
            )


def _of_console(console: Console) -> Iterator[Caution]:
    if not is_loopback(console.address[0]):
        yield Caution(
            "console.listen",
            f"{console.listen} can be reached from other machines, and there is no HTTPS here:"
            " passwords, tokens and numbers can be read on the way; listen on 127.0.0.1 behind a"
            " reverse proxy",
        )


def _of_store(store: Store) -> Iterator[Caution]:
    if password_in(store.url):
        yield Caution(
            "store.url",
            "has a password in it, which who sees the address sees; take it out, and set"
            " store.password: credential:NAME, file:/path or env:NAME",
        )


def _loopback_only(network: Network) -> bool:
    return ip_network(str(network)).is_loopback


def _too_wide(network: Network) -> bool:
    wanted = ip_network(str(network))
    if any(
        wanted.network_address in own and wanted.broadcast_address in own for own in _OWN_NETWORKS
    ):
        return False
    if isinstance(wanted, IPv6Network):
        return wanted.prefixlen < 48
    return wanted.num_addresses > _MOST_PROXIES


# The sources


def _of_source(key: str, provider: Provider[Any]) -> Iterator[Caution]:
    source = provider.source
    if source.authentication == "none":
        if source.allow_ips:
            yield Caution(
                f"{key}.authentication", "whoever can send from one of allow_ips can push"
            )
        else:
            yield Caution(f"{key}.authentication", "anybody can push")
            yield Caution(
                f"{key}.allow_ips",
                "empty, and there is no credential either; name the provider's addresses",
            )
    for n, token in enumerate(source.tokens):
        if weak := _weakness(token.reveal()):
            yield Caution(f"{key}.tokens[{n}]", weak)
    for url in provider.push_urls:
        if url.secret is None and provider.requires_credential and not source.tokens:
            why = f"none, so {url.label} are refused: their only credential is one in their URL"
            yield Caution(f"{key}.tokens", why)
    yield from _in_the_clear(f"{key}.send", source.send)


def _unanswered(
    providers: Mapping[str, Provider[Any]], plugins: Sequence[Plugin]
) -> Iterator[Caution]:
    """Finds sources that get messages and cannot send what replies to them."""
    handlers = [
        (f"{plugin.name}.{handler.function.__name__}", handler)
        for plugin in plugins
        for handler in plugin.handlers
        if EventType.MESSAGE_RECEIVED in handler.types
    ]
    for name, provider in providers.items():
        key, source, title = f"sources.{name}.send", provider.source, provider.title
        if not provider.receives_messages or not handlers:
            continue
        if source.send is not None:
            if provider.api is not None and provider.api.needs_sender and not source.send.sender:
                yield Caution(f"{key}.sender", "none: replies alone can be sent")
        elif type(provider).takes_reply is Provider.takes_reply:
            yield Caution(
                key,
                f"none, and {title} takes no reply in the answer to a push: each reply becomes"
                f" a dead letter; add [{key}] with api_key and sender",
            )
        elif late := [each for each, handler in handlers if not handler.inline]:
            yield Caution(
                key,
                f"none: what {', '.join(late)} replies after {source.reply_within:g} s"
                f" (reply_within) becomes a dead letter; add [{key}] with api_key and sender",
            )


def _in_the_clear(key: str, send: object) -> Iterator[Caution]:
    """Finds addresses to which a secret would be sent without HTTPS."""
    secrets = [(where, secret.reveal()) for where, secret in _inside(key, send, Secret)]
    urls = [(where, url, "the token in it") for where, url in secrets]
    urls += [(where, url, "the api_key") for where, url in _inside(key, send, Url)]
    for where, url, exposed in urls:
        if _is_unencrypted(url):
            yield Caution(where, f"http://: {exposed} can be read on the way; use https://")


def _is_unencrypted(url: str) -> bool:
    try:
        return url[:7].lower() == "http://" and not is_here(url)
    except ValueError:  # a secret that begins like a URL
        return False


def _weakness(token: str) -> str | None:
    """Returns the reason why a token is easily guessed, or None."""
    if len(token) < _LONG_ENOUGH:
        return f"shorter than {_LONG_ENOUGH} characters"
    counts = Counter(token).values()
    bits = sum(count * math.log2(len(token) / count) for count in counts)
    return "few different characters: easily guessed" if bits < _BITS_ENOUGH else None


# The secrets


def _of_type(
    type_: type[SettingT], settings: Mapping[str, object]
) -> Iterator[tuple[str, SettingT]]:
    """Yields every value of this type in settings, with its key."""
    for key, value in settings.items():
        yield from _inside(key, value, type_)


def _inside(key: str, value: object, type_: type[SettingT]) -> Iterator[tuple[str, SettingT]]:
    if isinstance(value, type_):
        yield key, value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _inside(f"{key}.{name}", getattr(value, name), type_)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _inside(f"{key}.{name}", item, type_)
    elif isinstance(value, list | tuple):
        for n, item in enumerate(value):
            yield from _inside(f"{key}[{n}]", item, type_)


def _repeated(
    secrets: Iterable[tuple[str, Secret]], providers: Mapping[str, Provider[Any]]
) -> Iterator[Caution]:
    """Finds secrets with two uses: whoever knows it for one has the other.

    Several sources may use one account, and share its key.
    """
    uses: dict[Secret, list[str]] = defaultdict(list)
    for key, secret in secrets:
        uses[secret].append(key)
    accounts = {
        key: provider.name
        for name, provider in providers.items()
        for key, _ in _inside(f"sources.{name}.send", provider.source.send, Secret)
    }
    for keys in uses.values():
        one_account = keys[0] in accounts and len({accounts.get(key) for key in keys}) == 1
        if len(keys) > 1 and not one_account:
            for key in keys:
                others = ", ".join(other for other in keys if other != key)
                yield Caution(key, f"the same secret as {others}")


def _exposed(config: Config, secrets: Iterable[tuple[str, Secret]]) -> Iterator[Caution]:
    """Finds files with secrets that every user of this machine can read."""
    held: dict[Path, str] = {}
    for key, secret in secrets:
        file = config.file if secret.in_place else secret.file
        if file is not None:
            held.setdefault(file, key)
    for file, key in held.items():
        if others_can_read(file):
            why = f"{file} can be read by everybody on this machine; chmod o-rwx {file}"
            yield Caution(key, why)


def others_can_read(file: Path) -> bool:
    """Returns True if the mode of a file lets every user read it."""
    try:
        return bool(file.stat().st_mode & stat.S_IROTH)
    except OSError:  # deleted meanwhile, or not readable
        return False


# Findings of plugins


def _of_addresses(
    config: Config, settings: Mapping[str, object], regions: Iterable[str]
) -> Iterator[Caution]:
    """Finds addresses of ours that are probably mistaken."""
    own = [Address(text, regions) for text in config.loop_guard.own_numbers]
    given = [(f"loop_guard.own_numbers[{n}]", address) for n, address in enumerate(own)]
    for key, address in [*given, *_of_type(Address, settings)]:
        if doubt := address.doubt():
            yield Caution(key, doubt)


def _of_plugins(plugins: Iterable[Plugin]) -> Iterator[Caution]:
    for plugin in plugins:
        key = f"plugins.{plugin.name}"
        try:
            found = findings(plugin)
        except PluginError as error:
            why = error.__cause__
            said = f": {why}" if isinstance(why, WrongItems) else ""  # others may have secrets
            yield Caution(key, f"its lint raised {type(why).__name__}{said}")
            continue
        for finding in found:
            where = f"{key}.{finding.key}" if finding.key else key
            yield Caution(where, finding.message)
