"""`receiver check`: every fault with its key, and nothing opened."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.cli.program import run, told
from tests.harness import settings, with_plugin, write

SOURCE = '[sources.tilil]\nprovider = "tilil"\ntokens = ["0123456789abcdef"]\n'
RULES = '[plugins]\nenabled = ["keyword_reply"]\n[[plugins.keyword_reply.rules]]\n'

#: What stands in the file, and the lines about it without the name of the file.
WRONG = {
    "no TOML": ("[server\n", ["not TOML: Expected ']' at the end of a table declaration"]),
    "unknown section": (
        "[sever]\n",
        ["sever: unknown section; expected one of server, store, sources, providers, plugins, l"],
    ),
    "unknown key": ("[server]\nprot = 80\n", ["server.prot: unknown key; did you mean port?"]),
    "wrong type": ('[server]\nport = "80"\n', ["server.port: expected an integer, got a text"]),
    "port out of range": (
        "[server]\nport = 65536\n",
        ["server.port: expected an integer <= 65535"],
    ),
    "admin without a port": (
        '[server]\nadmin = "localhost"\n',
        ["server.admin: expected HOST:PORT, got 'localhost'"],
    ),
    "admin is public": (
        '[server]\nadmin = "127.0.0.1:8080"\n',
        ["server.admin: must not be the public address"],
    ),
    "everybody is a proxy": (
        '[server]\ntrusted_proxies = ["*"]\n',
        ["server.trusted_proxies[0]: everybody is no network; name the addresses"],
    ),
    "no database that it knows": (
        '[store]\nurl = "mysql://db"\n',
        ["store.url: expected sqlite:FILE or postgresql://USER@HOST/DATABASE, got 'mysql'"],
    ),
    "unknown provider": (
        '[sources.a]\nprovider = "nexmo"\ntokens = ["x"]\n',
        ["sources.a.provider: no provider is named 'nexmo'; expected one of "],
    ),
    "no provider": (
        '[sources.a]\ntokens = ["x"]\n',
        ["sources.a.provider: missing, and it has no default"],
    ),
    "no token": (
        '[sources.a]\nprovider = "tilil"\n',
        ["sources.a.tokens: none, so nothing could push; to take pushes from anybody: auth"],
    ),
    "no variable": (
        '[sources.a]\nprovider = "tilil"\ntokens = ["env:NOT_SET_HERE"]\n',
        ["sources.a.tokens[0]: the environment variable NOT_SET_HERE is not set"],
    ),
    "none and a token": (
        f'{SOURCE}authentication = "none"\n',
        ['sources.tilil.authentication: "none" contradicts tokens'],
    ),
    "tokens of who does not push": (
        '[sources.a]\nprovider = "rayprotech"\ntokens = ["x"]\n',
        ["sources.a.tokens: rayprotech pushes nothing"],
    ),
    "send settings of another": (
        f'{SOURCE}[sources.tilil.send]\napi_key = "k"\nnames = {{ empty_group = "x" }}\n',
        ["sources.tilil.send.names: only for provider text-connect"],
    ),
    "digest elsewhere": (
        '[sources.a]\nprovider = "tsconect"\ndigest = { username = "u", password = "p" }\n',
        ["sources.a.digest: only for provider tilil"],
    ),
    "zone": (
        f'{SOURCE}timezone = "Nairobi"\n',
        ["sources.tilil.timezone: expected a time zone such as Africa/Nairobi, got 'Nairobi'"],
    ),
    "several at once": (
        '[server]\nport = -1\n[sources."a/b"]\nprovider = 1\n',
        ["server.port: ", "sources.a/b: ", "sources.a/b.provider: "],
    ),
    "unknown plugin": (
        '[plugins]\nenabled = ["keyword_replies"]\n',
        ["plugins.enabled[0]: "],
    ),
    "settings of a plugin that is off": (
        "[plugins.opt_out]\n",
        ["plugins.opt_out: settings of a plugin that is not in plugins.enabled"],
    ),
    "rule without a keyword": (
        f'{RULES}reply = "x"\n',
        ["plugins.keyword_reply.rules[0].keyword: missing"],
    ),
    "unknown variable in a reply": (
        f'{RULES}keyword = "A"\nreply = "{{{{ msisnd }}}}"\n',
        ["plugins.keyword_reply.rules[0].reply: unknown variable msisnd; did you mean msisdn?"],
    ),
    "provider and plugin": (
        f'[sources.a]\nprovider = "x"\ntokens = ["x"]\n{RULES}keyword = "A"\nreply = "{{% x"\n',
        ["sources.a.provider: ", "plugins.keyword_reply.rules[0].reply: "],
    ),
}


@pytest.mark.parametrize(("text", "expected"), WRONG.values(), ids=WRONG)
def test_every_fault_is_told_with_its_key(tmp_path: Path, text: str, expected: list[str]) -> None:
    """One line each: the file, the key, what was expected. Exit status 2."""
    file = tmp_path / "receiver.toml"
    file.write_text(text, "utf-8")
    result = run(tmp_path, "check")
    assert (result.returncode, result.stdout) == (2, "")
    lines = result.stderr.splitlines()
    assert len(lines) == len(expected)
    for line, start in zip(lines, expected, strict=True):
        assert line.startswith(f"receiver: {file}: {start}")


@pytest.mark.parametrize("command", ["serve", "send", "explain", "simulate"])
def test_every_command_refuses_a_wrong_configuration(tmp_path: Path, command: str) -> None:
    """In the same words, with exit status 2."""
    (tmp_path / "receiver.toml").write_text("[server]\nprot = 80\n")
    more = {
        "explain": ["x", "--to", "1"],
        "simulate": ["tilil", "inbound"],
        "send": ["--to", "1", "--text", "x"],
    }
    result = run(tmp_path, command, *more.get(command, []))
    assert result.returncode == 2
    assert result.stderr.endswith("server.prot: unknown key; did you mean port?\n")


def test_no_secret_is_told(tmp_path: Path) -> None:
    """A fault names the place of a secret, never the secret."""
    (tmp_path / "receiver.toml").write_text(
        '[sources.a]\nprovider = "tsconect"\ntokens = ["the-secret/"]\n'
        'digest = { username = "u", password = "the-secret", max_age = "the-secret" }\n'
        '[sources.b]\nprovider = "tilil"\ntokens = "the-secret"\n'
    )
    result = run(tmp_path, "check")
    assert result.returncode == 2
    assert "sources.b.tokens" in result.stderr
    assert "the-secret" not in result.stderr


def test_an_unreadable_file_is_told(tmp_path: Path) -> None:
    """Bytes that are no text are a fault of the file."""
    (tmp_path / "receiver.toml").write_bytes(b"[server]\n# \xff\n")
    result = run(tmp_path, "check")
    assert result.returncode == 2
    assert result.stderr.endswith("receiver.toml: not UTF-8 at byte 11\n")


def test_a_plugin_that_breaks_is_told(tmp_path: Path) -> None:
    """A plugin file that cannot be imported is one line with the place in it."""
    write(tmp_path, with_plugin("import nothing_of_this_name\n"))
    result = run(tmp_path, "check")
    assert result.returncode == 2
    [line] = result.stderr.splitlines()
    assert "plugins.enabled[0]" in line
    assert "nothing_of_this_name" in line


def test_a_good_configuration_is_summarised(tmp_path: Path) -> None:
    """Which URL is for what, what it has to carry, and what else is set."""
    long = ["0123456789abcdef"]
    digest = {"username": "u", "password": "p", "algorithm": "sha256"}
    sources = {
        "ke": {"provider": "tilil", "tokens": long},
        "ke2": {"provider": "tilil", "digest": digest},
        "open": {"provider": "talkntalk", "authentication": "none"},
        "texin": {"provider": "rayprotech", "send": {"api_key": "k"}},
        "uk": {"provider": "text-connect", "tokens": ["short", *long]},
    }
    write(tmp_path, settings(sources=sources, server={"port": 8088}) | {"sources": sources})
    shown = re.sub(" +", " ", told(tmp_path, "check"))
    assert (
        shown
        == f"""\
{tmp_path}/receiver.toml: no faults

SOURCE PROVIDER URL FOR CREDENTIAL
ke tilil /hooks/ke messages and subscriptions api_token
ke tilil /hooks/ke/TOKEN delivery reports the token in the URL
ke2 tilil /hooks/ke2 messages and subscriptions api_token, a sha256 digest
ke2 tilil /hooks/ke2/TOKEN delivery reports impossible: no tokens
open talkntalk /hooks/open webhooks none
texin rayprotech sending only: it pushes nothing
uk text-connect /hooks/uk message forwarding, GET or POST auth

plugins opt_out, keyword_reply, subscriptions
store {tmp_path}/receiver.db
address 127.0.0.1:8088
admin none
console 127.0.0.1:8082

warning: sources.ke2.tokens: none, so delivery reports are refused: their only credential is one\
 in their URL
warning: sources.open.authentication: anybody can push
warning: sources.open.allow_ips: empty, and there is no credential either; name the provider's\
 addresses
warning: sources.uk.tokens[0]: shorter than 16 characters
warning: sources.uk.send: none, and Text-Connect (United Kingdom) takes no reply in the answer to a\
 push: each reply becomes a dead letter; add [sources.uk.send] with api_key and sender
warning: sources.ke.tokens[0]: the same secret as sources.uk.tokens[1]
warning: sources.uk.tokens[1]: the same secret as sources.ke.tokens[0]
warning: plugins.keyword_reply.rules: no default rule for any address: what no keyword fits gets no\
 answer
"""
    )


def test_what_plugins_warn_of_is_told(tmp_path: Path) -> None:
    """Each finding of a plugin's lint is a line with its key, and the exit status stays 0."""
    source = (
        "from receiver.handlers import Finding, on_message\n@on_message()\ndef f(e, c): ...\n"
        "def lint(context):\n    return [Finding('a[0].b', 'odd'), Finding('', context.plugin)]\n"
    )
    write(tmp_path, with_plugin(source))
    lines = told(tmp_path, "check").splitlines()
    assert lines[-2:] == ["warning: plugins.mine.a[0].b: odd", "warning: plugins.mine: mine"]


def test_a_lint_that_breaks_is_told(tmp_path: Path) -> None:
    """A plugin whose lint raises is named, and nothing else fails of it."""
    source = (
        "from receiver.handlers import on_message\n@on_message()\ndef f(e, c): ...\n"
        "def lint(context):\n    raise OSError('secret')\n"
    )
    write(tmp_path, with_plugin(source))
    assert told(tmp_path, "check").endswith("\nwarning: plugins.mine: its lint raised OSError\n")


def test_who_is_asked_before_the_default_rules_is_said(tmp_path: Path) -> None:
    """Plugins that could answer a message; nothing where there are none."""
    plugin = "from receiver.handlers import on_message\n@on_message\ndef f(event, context): ...\n"
    write(tmp_path, with_plugin(plugin, "keyword_reply"))
    row = "asked last  keyword_reply.answer_default: if there is no reply of mine.f\n"
    assert row in told(tmp_path, "check")
    write(tmp_path, settings())
    assert "asked last" not in told(tmp_path, "check")


def test_warnings_of_rules_have_their_keys(tmp_path: Path) -> None:
    """What is odd about rules is told as it stands in the file; nothing is refused for it."""
    rules = '[plugins]\nenabled = ["keyword_reply"]\n[plugins.keyword_reply]\nrules = [\n'
    rules += '{ match = "default", reply = "Don\u2019t" },\n'
    rules += '{ match = "prefix", keyword = "GA", reply = "a" },\n'
    rules += '{ keyword = "GAME", reply = "b" } ]\n'
    (tmp_path / "receiver.toml").write_text(rules, "utf-8")
    lines = told(tmp_path, "check").splitlines()
    reply, keyword = [line for line in lines if line.startswith("warning")]
    assert reply.startswith(
        "warning: plugins.keyword_reply.rules[0].reply: \u2019 (U+2019) is not in"
    )
    assert keyword == (
        "warning: plugins.keyword_reply.rules[2].keyword: GAME never gets here: rules[1] (GA)"
        " answers it before"
    )


@pytest.mark.parametrize("command", ["check", "events", "serve"])
def test_a_store_whose_driver_is_missing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """With the extra that brings it; a command that opens the store ends as one that checks it."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.delitem(sys.modules, "receiver.store.engine.postgresql.engine", raising=False)
    write(tmp_path, settings(store={"url": "postgresql://me:hidden@127.0.0.1:1/sms"}))
    done = run(tmp_path, command)
    assert done.returncode == 1
    assert "postgresql://me@127.0.0.1:1/sms: PostgreSQL needs the package psycopg" in done.stderr
    assert "the extra `postgresql`" in done.stderr
