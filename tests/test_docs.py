"""The documentation says what is true: held against the program, row by row."""

from __future__ import annotations

import importlib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, cast, get_args

import msgspec
import pytest
import typer.main
from msgspec.structs import FieldInfo
from prometheus_client.core import Metric

from receiver import __version__
from receiver.cli import COMMANDS, application
from receiver.config import (
    DEFAULT_FILES,
    Console,
    Logs,
    LoopGuard,
    Plugins,
    Providers,
    Retention,
    Send,
    Server,
    Source,
    Store,
    load,
)
from receiver.config.convert import Age, Network
from receiver.errors import PushError
from receiver.events import (
    DeliveryReport,
    EventType,
    Message,
    Status,
    SubscriptionChange,
    event_schema,
)
from receiver.extensions.modules import files
from receiver.plugin_host import loader
from receiver.plugin_host.files import shipped_folder
from receiver.providers import Provider, built_in
from receiver.providers.tilil.settings import Digest
from receiver.service.cluster_metrics import of_cluster
from receiver.service.metrics import ServiceCollector
from tests import harness
from tests.doctor.test_cluster import ALL
from tests.schema import validator

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
LOCKS = [*sorted(ROOT.glob("requirements*.lock")), ROOT / "constraints.txt"]
#: Hosts that lock files and pages have no business naming: everybody has an index of their own.
INDEXES = ("pypi.", "pythonhosted", "piwheels", "anaconda.org", "/simple/")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


# Reading the pages


def section(page: str, heading: str) -> str:
    """What stands below a heading of a page, up to the next one."""
    text = (DOCS / page).read_text("utf-8")
    found = re.search(
        rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL
    )
    assert found, f"{page} has no heading {heading!r}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of the tables in a text, without their heads."""
    tables = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    lines = [line for table in tables for line in table.splitlines()[2:]]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def spans(text: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`\n]+)`", text)


def fences(text: str, language: str = "") -> list[str]:
    """The fenced blocks of a language."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for name, block in blocks if name == language]


def command_lines(text: str) -> Iterator[list[str]]:
    """Everything in a page that a person would type to run the program, word by word."""
    typed = spans(re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
    blocks = fences(text) + fences(text, "sh")
    typed += [line for block in blocks for line in block.splitlines()]
    for line in typed:
        found = re.match(
            r"(?:\$ |# )?(?:runuser -u \w+ -- |[A-Z_]+=\S+ )*(?:\S*/bin/)?receiver (.*)", line
        )
        if found:
            yield found[1].split()


# Commands


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_described(name: str) -> None:
    """Every command of `receiver --help` has its row in docs/index.md."""
    assert f"`receiver {name}`" in [row[0] for row in rows(section("index.md", "Commands"))]


@each_page
def test_commands_in_pages_exist(page: Path) -> None:
    """Whatever a page tells to run is a command, and has the options that it is given."""
    for words in command_lines(page.read_text("utf-8")):
        if not re.fullmatch(r"[a-z-]+", words[0]) or words[0].startswith("-"):
            continue
        assert words[0] in COMMANDS, words
        given = {word.split("=")[0] for word in words if word.startswith("--")}
        assert given <= options(words[0]) | {"--help"}, words


@cache
def options(command: str) -> set[str]:
    """All options of a command and of the words below it."""
    group = cast("Any", typer.main.get_command(application([command])))
    whole = group.commands[command]
    parts = [whole, *getattr(whole, "commands", {}).values()]
    return {option for part in parts for parameter in part.params for option in parameter.opts}


@each_page
def test_make_targets_in_pages_exist(page: Path) -> None:
    """Every `make` target that a page names is in the Makefile, with its line of help."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    text = page.read_text("utf-8")
    typed = spans(text) + [line for block in fences(text) for line in block.splitlines()]
    named = {found[1] for line in typed if (found := re.match(r"(?:\$ )?make ([a-z-]+)", line))}
    assert named <= targets


# Configuration


def settings() -> Iterator[tuple[str, dict[str, FieldInfo]]]:
    """Every table of the configuration, with its settings by their keys."""
    tables: list[tuple[str, type[msgspec.Struct]]] = [
        ("[server]", Server),
        ("[store]", Store),
        ("[console]", Console),
        ("[loop_guard]", LoopGuard),
        ("[logs]", Logs),
        ("[retention]", Retention),
        ("[sources.NAME]", Source),
        ("[sources.NAME.digest]", Digest),
        ("[sources.NAME.send]", Send),
        ("[providers]", Providers),
        ("[plugins]", Plugins),
    ]
    for name in sorted(files(shipped_folder())):
        module = importlib.import_module(f"plugins.{name}")
        tables.append((f"[plugins.{name}]", module.Settings))
        for field in msgspec.structs.fields(module.Settings):
            tables += [
                (f"[[plugins.{name}.{field.name}]]", inner)
                for inner in get_args(field.type)
                if isinstance(inner, type) and issubclass(inner, msgspec.Struct)
            ]
    for heading, type_ in tables:
        found = {field.encode_name: field for field in msgspec.structs.fields(type_)}
        if type_ is Plugins:
            del found["settings"]  # the tables of plugins themselves
        if type_ is Providers:
            del found["descriptions"]  # likewise
        yield heading, found
    for provider in built_in().values():
        every = keys(provider.settings)
        own = {key: field for key, field in every.items() if key not in keys(Source)}
        if own:
            yield f"[sources.NAME] of {known_as(provider)}", own


def keys(type_: type[msgspec.Struct], prefix: str = "") -> dict[str, FieldInfo]:
    """The settings of a source, with those of its `send` and of tables that are always there."""
    found: dict[str, FieldInfo] = {}
    for field in sorted(msgspec.structs.fields(type_), key=lambda field: field.name == "send"):
        key = f"{prefix}{field.encode_name}"
        inner = type(field.default) if isinstance(field.default, msgspec.Struct) else None
        if key == "send":
            [inner] = [each for each in get_args(field.type) if each is not NoneType]
        found |= {key: field} if inner is None else keys(inner, f"{key}.")
    return found


def known_as(provider: type[Provider[Any]]) -> str:
    """What pages call a provider."""
    return provider.title.split(" (")[0].removesuffix(" Technologies")


@pytest.mark.parametrize(("heading", "fields"), list(settings()))
def test_setting_is_described(heading: str, fields: dict[str, FieldInfo]) -> None:
    """Every setting has its row in docs/configuration.md, with the default that it really has."""
    documented = {row[0].strip("`"): row[1] for row in rows(section("configuration.md", heading))}
    assert list(documented) == list(fields)
    for name, field in fields.items():
        written = documented[name]
        if field.required:
            assert written == "required", name
            continue
        default = field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        if default is None:
            assert written in ("none", "the provider's"), name
        else:
            value = tomllib.loads(f"it = {written.strip('`')}")["it"]
            assert value == msgspec.to_builtins(default, enc_hook=_as_written), name


def _as_written(value: Network | Age) -> str:
    """A network as the page has it, an address alone where it is one; an age in days."""
    if isinstance(value, Age):
        return f"{value.limit.days}d" if value.limit else "never"
    return str(value).removesuffix("/32")


def test_example_has_every_setting() -> None:
    """Every setting has a line in config.example.toml, which is a configuration without faults.

    Of settings that exclude each other, all but one stand in comments.
    """
    config = load(ROOT / "config.example.toml", {})
    assert loader.load(config)
    text = config.file.read_text("utf-8")
    example = tomllib.loads(text)
    for heading, fields in settings():
        for key in fields:
            found: list[Any] = [example]
            for part in (*heading.partition(" of ")[0].strip("[]").split("."), *key.split(".")):
                found = [one for table in found for one in _inside(table, part)]
            assert found or f"\n# {key} = " in text, f"{heading} {key}"


def _inside(table: Any, part: str) -> list[Any]:
    """What stands at a key of a table or of several in a list; for NAME every one there is."""
    if isinstance(table, list):
        return [one for each in table for one in _inside(each, part)]
    if part == "NAME":
        return list(table.values())
    return [table[part]] if part in table else []


def test_default_files_are_described() -> None:
    """Where the configuration is looked for stands in the documentation."""
    index = (DOCS / "index.md").read_text("utf-8")
    assert "`./receiver.toml`" in index
    assert f"`{DEFAULT_FILES[-1]}`" in index


@each_page
def test_toml_in_pages_can_be_read(page: Path) -> None:
    """Configuration that a page shows is TOML."""
    for block in fences(page.read_text("utf-8"), "toml"):
        tomllib.loads(block)


def test_reserved_words_are_described() -> None:
    """The words that opt out and in are named, all of them."""
    plugin = importlib.import_module("plugins.opt_out.words")
    text = " ".join(section("configuration.md", "[plugins.opt_out]").split())
    stop = f"{', '.join(plugin.STOP_WORDS[:-1])} or {plugin.STOP_WORDS[-1]}"
    assert f"who write {stop} and nothing else" in text
    assert f"who write {' or '.join(plugin.START_WORDS)}." in text


def test_variables_of_replies_are_described() -> None:
    """What a reply's template can name is named, all of it."""
    plugin = importlib.import_module("plugins.keyword_reply")
    text = section("configuration.md", "[[plugins.keyword_reply.rules]]")
    named = set(re.findall(r"`\{\{ (\w+)", text))
    assert named == set(plugin.VARIABLES)
    assert f"at most {plugin.MAX_REPLY} characters" in text


# Events and providers


def examples() -> list[dict[str, Any]]:
    """The events that docs/events.md shows."""
    blocks = fences((DOCS / "events.md").read_text("utf-8"), "json")
    return [json.loads(line) for block in blocks for line in block.splitlines()]


def test_every_type_has_an_example() -> None:
    """docs/events.md shows an event of each type."""
    assert {example["type"] for example in examples()} == set(map(str, EventType))


@pytest.mark.commit
@pytest.mark.parametrize("example", examples(), ids=lambda example: example["type"])
def test_example_is_of_the_schema(example: dict[str, Any]) -> None:
    """The events shown are what `receiver schema` describes, with every field."""
    validator(event_schema()).validate(example)
    [kind] = [
        kind
        for type_, kind in (
            ("message", Message),
            ("delivery", DeliveryReport),
            ("subscription", SubscriptionChange),
        )
        if example["type"].startswith(f"sms.{type_}.")
    ]
    assert list(example["data"]) == [field.encode_name for field in msgspec.structs.fields(kind)]


@pytest.mark.parametrize(
    ("heading", "type_"),
    [
        ("sms.message.received", Message),
        ("sms.delivery.updated", DeliveryReport),
        ("sms.subscription.activated, sms.subscription.deactivated", SubscriptionChange),
    ],
)
def test_event_field_is_described(heading: str, type_: type[msgspec.Struct]) -> None:
    """Every field of an event's data has its row in docs/events.md."""
    documented = [row[0].strip("`") for row in rows(section("events.md", heading))]
    assert documented == [field.encode_name for field in msgspec.structs.fields(type_)]


def test_status_order_is_described() -> None:
    """The order of statuses in docs/events.md is the order of their ranks."""
    [order] = fences(section("events.md", "sms.delivery.updated"))
    ranks = [re.findall(r"\w+", part) for part in order.split("<")]
    by_rank: dict[int, list[str]] = {}
    for status in Status:
        by_rank.setdefault(status.rank, []).append(str(status))
    assert ranks == [by_rank[rank] for rank in sorted(by_rank)]


@pytest.mark.parametrize("name", built_in())
def test_provider_is_described(name: str) -> None:
    """Every provider has its section, with the URLs to enter and the portal's name of the token."""
    text = section("providers.md", known_as(built_in()[name]))
    for url in built_in()[name].push_urls:
        token = "/TOKEN" if url.secret is None else ""
        assert f"`https://sms.example.com/hooks/{name}{token}`" in text
        assert (url.secret or "").replace("api_token", "API token") in text


# Operations


@pytest.mark.anyio
async def test_metrics_are_described(tmp_path: Path) -> None:
    """The table of metrics in docs/operations.md is what /metrics gives out, with its labels."""
    async with harness.opened(tmp_path) as service:
        families = list(ServiceCollector(service).collect())
    assert described("Metrics") == described_by(families)


def test_metrics_of_several_receivers_are_described() -> None:
    """As those of every store."""
    assert described("Metrics of several receivers") == described_by(of_cluster(ALL))


def described_by(families: Iterable[Metric]) -> list[tuple[str, str, list[str]]]:
    """Names, types and labels of metrics."""
    return [(name(family), family.type, sorted(labels(family))) for family in families]


def described(heading: str) -> list[tuple[str, str, list[str]]]:
    """Names, types and labels in a table of docs/operations.md."""
    return [
        (spans(row[0])[0], row[1], sorted(spans(row[2])))
        for row in rows(section("operations.md", heading))
        if len(row) == 4
    ]


def name(family: Metric) -> str:
    """The name of a metric, as it is asked for."""
    return f"{family.name}_total" if family.type == "counter" else family.name


def labels(family: Any) -> tuple[str, ...]:
    """The labels that samples of a metric have, or would have if there were any."""
    found: tuple[str, ...] = family._labelnames
    return found


def test_outcomes_are_described() -> None:
    """Every outcome that pushes are counted by has its row, with the status of the answer."""
    expected = {"stored": 200, "repeat": 200, "tried": 200}
    expected |= {cls.outcome: cls.status for cls in descendants(PushError)}
    documented = {
        outcome: int(row[1])
        for row in rows(section("operations.md", "Metrics"))
        if len(row) == 3
        for outcome in spans(row[0])
    }
    assert documented == expected


def descendants(cls: type[PushError]) -> Iterator[type[PushError]]:
    """The classes below one."""
    for below in cls.__subclasses__():
        yield below
        yield from descendants(below)


# The pages themselves


@pytest.mark.parametrize("file", [*LOCKS, ROOT / "Makefile", ROOT / ".ci" / "run", *PAGES])
def test_no_index_is_named(file: Path) -> None:
    """Where packages come from is the machine's own setting."""
    text = file.read_text("utf-8")
    assert not [index for index in INDEXES if index in text]


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a file of the project leads to one, and to a heading that is there."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
            anchors = [
                re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in headings
            ]
            assert anchor in anchors, target


@each_page
def test_tests_named_in_pages_exist(page: Path) -> None:
    """A test that a page names by file or function is there."""
    text = page.read_text("utf-8")
    for file in set(re.findall(r"`(tests/[\w/]+(?:\.py)?)", text)):
        assert (ROOT / file).exists(), file
    every = "\n".join(file.read_text("utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    for function in set(re.findall(r"`(test_\w+)`", text)):
        assert f"def {function}(" in every, function


def test_index_lists_every_page() -> None:
    """docs/index.md leads to every other page."""
    index = (DOCS / "index.md").read_text("utf-8")
    for file in [*DOCS.glob("*.md"), *(DOCS / "deploy").iterdir()]:
        assert f"]({file.relative_to(DOCS)})" in index or file.name == "index.md", file


def test_changelog_has_room_for_the_next_version() -> None:
    """CHANGELOG.md has an Unreleased section, then that of the version which the program tells."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    unreleased, version, *_ = re.findall(r"^## \[(.+?)\](?: - (.+))?$", text, re.MULTILINE)
    assert unreleased == ("Unreleased", "")
    assert version[0] == __version__
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", version[1])
