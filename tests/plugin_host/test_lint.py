"""What works, but hardly as it is meant: every caution, and what is none."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import pytest

from receiver import config, providers
from receiver.plugin_host.lint import Caution, cautions
from tests.harness import TOKEN, parts, settings, with_plugin, write

HANDLER = "from receiver.handlers import on_message\n@on_message()\ndef f(e, c): ...\n"
STRONG = "Zx3kQ8vN1mB7tR5yW2pL9dF6"


def of(configured: config.Config) -> list[Caution]:
    """The cautions about a configuration without plugins."""
    return cautions(configured, providers.create(configured), [])


def told(folder: Path, **sections: Any) -> dict[str, str]:
    """The cautions about a configuration with these sections alone, by their keys."""
    raw = {"server": {"port": 0, "admin": ""}, **sections}
    found = of(config.load(write(folder, raw)))
    assert len({each.key for each in found}) == len(found)
    return {each.key: each.message for each in found}


def tilil(**source: Any) -> dict[str, Any]:
    """A source that nobody is warned of, with these settings over it."""
    return {"tilil": {"provider": "tilil", "tokens": [STRONG], **source}}


def test_nothing_to_say_about_a_good_one(tmp_path: Path) -> None:
    """What `receiver init` writes, and proxies of one's own network, are no reason to warn."""
    server = {"admin": "[::1]:8081", "trusted_proxies": ["10.0.0.0/8", "fd00::/8", "1.2.3.0/24"]}
    assert told(tmp_path, server=server, sources=tilil()) == {}


# The store


@pytest.mark.parametrize("url", ["me:hidden@db1,db2/sms", "me@db/sms?password=hidden"])
def test_a_password_in_the_address_of_the_store_is_told(tmp_path: Path, url: str) -> None:
    """With the setting that takes it, which may be a file; one in place is as safe as its file."""
    store = {"url": f"postgresql://{url}"}
    [(key, why)] = told(tmp_path, store=store).items()
    assert key == "store.url"
    assert "hidden" not in why
    assert "set store.password: credential:NAME, file:/path or env:NAME" in why
    store = {"url": "postgresql://me@db1,db2/sms", "password": STRONG}
    assert told(tmp_path, store=store) == {}
    (tmp_path / "receiver.toml").chmod(0o644)
    found = of(config.load(tmp_path / "receiver.toml"))
    assert [each.key for each in found] == ["store.password"]


# Replies that could not leave


def replying(folder: Path, plugin: str, **sources: Any) -> dict[str, str]:
    """The cautions about sending, with a plugin, by their keys."""
    raw = {**with_plugin(plugin), "sources": sources}
    made = parts(folder, raw)
    found = cautions(made.config, made.providers, made.plugins)
    return {each.key: each.message for each in found if ".send" in each.key}


def test_a_source_that_cannot_send_its_replies_is_told(tmp_path: Path) -> None:
    """Text-Connect takes none in its answer; at Tilil only what comes late is lost."""
    uk = {"provider": "text-connect", "tokens": [STRONG]}
    [(key, why)] = replying(tmp_path / "a", HANDLER, uk=uk).items()
    assert key == "sources.uk.send"
    assert "takes no reply in the answer to a push: each reply becomes a dead letter" in why
    [(key, why)] = replying(tmp_path / "b", HANDLER, **tilil()).items()
    assert (key, why[:60]) == (
        "sources.tilil.send",
        "none: what mine.f replies after 3 s (reply_within) becomes a",
    )
    inline = HANDLER.replace("()", "(inline=True)", 1)
    assert replying(tmp_path / "c", inline, **tilil()) == {}
    sends: dict[str, Any] = {"send": {"api_key": STRONG[::-1], "sender": "SHOP"}}
    assert replying(tmp_path / "d", HANDLER, uk=uk | sends) == {}
    sends = {"send": {"api_key": STRONG[::-1]}}
    assert replying(tmp_path / "e", HANDLER, **tilil(**sends)) == {
        "sources.tilil.send.sender": "none: replies alone can be sent"
    }


# The sockets


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "sms.example.com"])
def test_a_public_address_without_https_is_told(tmp_path: Path, host: str) -> None:
    """Tokens would pass in the clear; unless a proxy on another machine is named."""
    [(key, why)] = told(tmp_path, server={"host": host}).items()
    assert key == "server.host"
    assert why.startswith(f"{host} can be reached from other machines, and there is no HTTPS here")
    proxy = {"host": host, "trusted_proxies": ["10.1.2.3"]}
    assert told(tmp_path, server=proxy) == {}


def test_a_console_for_others_is_told(tmp_path: Path) -> None:
    """Without HTTPS whoever is on the way reads passwords and texts."""
    [(key, why)] = told(tmp_path, console={"listen": "0.0.0.0:8082"}).items()
    assert key == "console.listen"
    assert why.startswith("0.0.0.0:8082 can be reached from other machines")


@pytest.mark.parametrize("admin", ["0.0.0.0:8081", "[::]:8081", "10.0.0.5:8081"])
def test_an_admin_address_for_others_is_told(tmp_path: Path, admin: str) -> None:
    """Metrics ask for no password."""
    [(key, why)] = told(tmp_path, server={"admin": admin}).items()
    assert key == "server.admin"
    assert why.startswith(f"{admin} can be reached from other machines")


@pytest.mark.parametrize("network", ["0.0.0.0/1", "104.16.0.0/13", "1.2.0.0/16", "2000::/3"])
def test_a_wide_public_network_of_proxies_is_told(tmp_path: Path, network: str) -> None:
    """All of it could choose the address that is recorded."""
    server = {"trusted_proxies": ["127.0.0.1", network]}
    [(key, why)] = told(tmp_path, server=server).items()
    assert key == "server.trusted_proxies[1]"
    assert why.startswith(f"{network} is a wide public network")


# The sources


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ("a" * 15, "shorter than 16 characters"),
        ("a" * 40, "few different characters: easily guessed"),
        ("changemechangeme", "few different characters: easily guessed"),
        ("1212121212121212121212", "few different characters: easily guessed"),
    ],
)
def test_a_weak_token_is_told(tmp_path: Path, token: str, why: str) -> None:
    """Too short, or of too few different characters."""
    assert told(tmp_path, sources=tilil(tokens=[STRONG, token])) == {"sources.tilil.tokens[1]": why}


@pytest.mark.parametrize("make", [secrets.token_urlsafe, secrets.token_hex])
def test_a_random_token_is_not_weak(tmp_path: Path, make: Any) -> None:
    """Of 128 bits and more, in base64 or hex."""
    tokens = [make(size) for size in range(16, 33) for _ in range(20)]
    assert told(tmp_path, sources=tilil(tokens=tokens)) == {}


def test_a_source_without_credential_is_told(tmp_path: Path) -> None:
    """And, unless allow_ips says who may push, that this is empty."""
    source = {"provider": "tilil", "authentication": "none"}
    found = told(tmp_path, sources={"open": source})
    assert found.keys() == {"sources.open.authentication", "sources.open.allow_ips"}
    listed = {**source, "allow_ips": ["192.0.2.1"]}
    assert told(tmp_path, sources={"open": listed}) == {
        "sources.open.authentication": "whoever can send from one of allow_ips can push"
    }


def test_urls_in_the_clear_are_told(tmp_path: Path) -> None:
    """What carries a secret to another machine goes over HTTPS."""
    send = {
        "api_key": "key",
        "sender": "SHOP",
        "callback_url": "http://sms.example.com/hooks/a/token",
    }
    source = {"provider": "tsconect", "tokens": [STRONG]}
    found = told(tmp_path, sources={"a": {**source, "send": send}})
    assert found == {
        "sources.a.send.callback_url": "http://: the token in it can be read on the way; use https://"
    }
    send = {"api_key": "key", "url": "http://api.example.com", "report_url": "http://x.example/r"}
    assert told(tmp_path, sources=tilil(send=send)).keys() == {
        "sources.tilil.send.url",
        "sources.tilil.send.report_url",
    }
    shouted = {"api_key": "http://[", "url": "HTTP://api.example.com"}
    assert told(tmp_path, sources=tilil(send=shouted)).keys() == {"sources.tilil.send.url"}
    here = {"api_key": "key", "url": "http://127.0.0.1:9000"}
    assert told(tmp_path, sources=tilil(send=here)) == {}


# The secrets


def test_a_secret_with_two_uses_is_told(tmp_path: Path) -> None:
    """A token of two sources, a token that is a password too: at each of its places."""
    digest = {"username": "u", "password": STRONG}
    sources = tilil(digest=digest) | {"uk": {"provider": "text-connect", "tokens": [STRONG]}}
    first, second, third = (
        "sources.tilil.tokens[0]",
        "sources.tilil.digest.password",
        "sources.uk.tokens[0]",
    )
    assert told(tmp_path, sources=sources) == {
        first: f"the same secret as {second}, {third}",
        second: f"the same secret as {first}, {third}",
        third: f"the same secret as {first}, {second}",
    }


def test_sources_of_one_account_share_its_key(tmp_path: Path) -> None:
    """That is no second use; at another provider it is one."""
    send = {"send": {"api_key": "the key of an account"}}
    again = {"again": {"provider": "tilil", "tokens": [STRONG[::-1]], **send}}
    assert told(tmp_path, sources=tilil(**send) | again) == {}
    other = {"other": {"provider": "rayprotech", **send}}
    assert len(told(tmp_path, sources=tilil(**send) | other)) == 2


def test_secrets_of_plugins_are_looked_at_too(tmp_path: Path) -> None:
    """What signs forwarded events, or opens their target, and is a token as well."""
    target = {"name": "crm", "url": "https://crm.example.com", "headers": {"Key": TOKEN}}
    raw = settings()
    raw["sources"] = {"tilil": raw["sources"]["tilil"]}
    raw["plugins"] = {"enabled": ["forward"], "forward": {"targets": [target]}}
    made = parts(tmp_path, raw)
    found = [str(each) for each in cautions(made.config, made.providers, made.plugins)]
    place = "plugins.forward.targets[0].headers.Key"
    assert f"{place}: the same secret as sources.tilil.tokens[0]" in found


def test_files_with_secrets_are_for_few_eyes(tmp_path: Path) -> None:
    """The configuration itself where they stand in it, and the files that it names."""
    file, secret = tmp_path / "receiver.toml", tmp_path / "token"
    write(tmp_path, {"sources": tilil()})
    file.chmod(0o640)
    assert of(config.load(file)) == []
    file.chmod(0o644)
    [caution] = of(config.load(file))
    why = f"{file} can be read by everybody on this machine; chmod o-rwx {file}"
    assert str(caution) == f"sources.tilil.tokens[0]: {why}"
    secret.write_text(STRONG)
    secret.chmod(0o644)
    write(tmp_path, {"sources": tilil(tokens=[f"file:{secret}"])})
    [caution] = of(config.load(file))
    assert caution.message.startswith(f"{secret} can be read by everybody")
    secret.chmod(0o600)
    assert of(config.load(file)) == []
    secret.unlink()


def test_a_file_without_secrets_is_for_everybody(tmp_path: Path) -> None:
    """What comes from the environment stands in no file."""
    file = write(tmp_path, {"sources": tilil(tokens=["env:TOKEN_OF_THE_TESTS"])})
    file.chmod(0o644)
    loaded = config.load(file, {"TOKEN_OF_THE_TESTS": STRONG})
    assert of(loaded) == []


def test_a_lint_that_breaks_hides_no_other(tmp_path: Path) -> None:
    """It is told by the name of what it raised, without its words."""
    made = parts(
        tmp_path, with_plugin(f"{HANDLER}def lint(context):\n    raise OSError('secret')\n")
    )
    found = [str(each) for each in cautions(made.config, made.providers, made.plugins)]
    assert found[-1] == "plugins.mine: its lint raised OSError"
    assert len(found) > 1


@pytest.mark.parametrize(
    ("lint", "told"),
    [
        ("return ['a text']", "WrongItems: expected a list of Finding, got str in it"),
        ("return 'a text'", "WrongItems: expected a list of Finding, got str in it"),
        ("return 5", "TypeError"),
        ("raise SystemExit(1)", "RuntimeError"),
        ("raise KeyboardInterrupt", "RuntimeError"),
        ("raise GeneratorExit", "RuntimeError"),
    ],
)
def test_a_lint_that_is_none_is_told(tmp_path: Path, lint: str, told: str) -> None:
    """Whatever it returns or raises, the service starts."""
    made = parts(tmp_path, with_plugin(f"{HANDLER}def lint(context):\n    {lint}\n"))
    found = [str(each) for each in cautions(made.config, made.providers, made.plugins)]
    assert found[-1] == f"plugins.mine: its lint raised {told}"


def test_the_beginning_of_a_number_is_no_number(tmp_path: Path) -> None:
    """A prefix among our own numbers is the number of nobody, and a caution says so."""
    found = told(tmp_path, loop_guard={"own_numbers": ["+447786", "+447786200000", "22915"]})
    assert list(found) == ["loop_guard.own_numbers[0]"]
    assert "+447786 is no number" in found["loop_guard.own_numbers[0]"]
