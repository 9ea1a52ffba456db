"""Where providers are found, which of a name is taken, and what is said of those with faults."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from receiver import config
from receiver.errors import ConfigError
from receiver.extensions import modules
from receiver.providers import Kind, Provider, built_in, create, known
from receiver.providers.tsconect import Tsconect

#: A whole provider in few lines: one that comes with the program, under another name.
FILE = """
from receiver.providers.tsconect import Tsconect

class {name}(Tsconect):
    name = "{provider}"
    title = "{title}"
"""


def write(folder: Path, file: str, provider: str, title: str = "Acme (Kenya)") -> Path:
    """A provider file in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file
    path.write_text(FILE.format(name="Acme", provider=provider, title=title), "utf-8")
    return path


def configured(*folders: Path, provider: str = "acme-sms", tables: Any = None) -> config.Config:
    """A configuration with a source of a provider, and folders to find it in."""
    raw = {
        "sources": {"s": {"provider": provider, "tokens": ["t"]}},
        "providers": {"path": list(map(str, folders)), **(tables or {})},
    }
    return config.parse(raw, Path("/nowhere/receiver.toml"))


def faults(settings: config.Config) -> list[str]:
    """What is wrong with the providers of a configuration."""
    with pytest.raises(ConfigError) as caught:
        create(settings)
    return [str(fault) for fault in caught.value.faults]


def installed(monkeypatch: pytest.MonkeyPatch, value: str, name: str = "acme-sms") -> None:
    """Has an installed package offer a provider."""
    point = EntryPoint(name, value, "receiver.providers")
    monkeypatch.setattr(modules, "entry_points", lambda group: [point])


# Finding


def test_built_in_providers_are_found_in_the_package() -> None:
    """Each module with a provider is one, and no other module is."""
    folder = Path(config.__file__).parents[1] / "providers"
    named = {file for file in folder.rglob("*.py") if '\n    title = "' in file.read_text("utf-8")}
    assert {known().origins[name].place for name in built_in()} == set(map(str, named))
    assert "forms" not in known()
    assert "tilil" in known()


def test_a_lookup_loads_one_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start does not read the files that no source uses."""
    asked: list[str] = []

    def asked_for(name: str) -> ModuleType:
        asked.append(name)
        return modules

    monkeypatch.setattr("receiver.providers.places.import_module", asked_for)
    assert "tilil" not in known()
    assert asked == ["receiver.providers.tilil"]


def test_a_file_in_a_folder_is_a_provider(tmp_path: Path) -> None:
    """Its name has - where that of the file has _; a folder is one, too."""
    write(tmp_path, "acme_sms.py", "acme-sms")
    write(tmp_path / "beta", "__init__.py", "beta")
    providers = known(configured(tmp_path))
    assert {"acme-sms", "beta", *built_in()} <= set(providers)
    assert providers["beta"].title == "Acme (Kenya)"
    assert providers.origins["acme-sms"].kind is Kind.FILE
    made = create(configured(tmp_path))["s"]
    assert made.name == "acme-sms"


def test_an_installed_package_has_a_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its entry point is a class, or a module with one."""
    for value in ("receiver.providers.tsconect:Tsconect", "receiver.providers.tsconect"):
        installed(monkeypatch, value, "tsconect")
        assert known()["tsconect"] is Tsconect
        assert known().origins["tsconect"].kind is Kind.ENTRY_POINT


def test_the_first_place_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder goes before the next one, before packages, and before what comes along."""
    installed(monkeypatch, "receiver.providers.tilil", "tilil")
    for title in ("first", "second"):
        write(tmp_path / title, "tilil.py", "tilil", title)
    folders = tmp_path / "first", tmp_path / "second"
    assert known(configured(*folders))["tilil"].title == "first"
    assert known().origins["tilil"].kind is Kind.ENTRY_POINT


def test_a_configuration_has_one_registry(tmp_path: Path) -> None:
    """Its files are not read again for each number that is read by their regions."""
    settings, other = configured(tmp_path), configured(tmp_path)
    assert known(settings) is known(settings)
    assert known(settings) is not known(other)


def test_a_changed_file_is_read_by_the_next_registry(tmp_path: Path) -> None:
    """So a reload takes it in."""
    write(tmp_path, "acme_sms.py", "acme-sms", "then")
    before = known(configured(tmp_path))
    assert before["acme-sms"].title == "then"
    write(tmp_path, "acme_sms.py", "acme-sms", "now")
    assert before["acme-sms"].title == "then"
    assert known(configured(tmp_path))["acme-sms"].title == "now"


DESCRIBED: dict[str, Any] = {
    "title": "Acme",
    "documentation": ["https://docs.acme.example"],
    "region": "KE",
    "message": {"id": "id", "from": "from", "text": "text"},
    "example": [
        {
            "name": "message",
            "request": {"form": {"id": "1", "from": "254712345678", "text": "Hi"}},
            "event": {"type": "message", "from": "+254712345678"},
        }
    ],
}


def test_a_description_may_stand_in_the_configuration(tmp_path: Path) -> None:
    """It goes before a file of its name; in a folder it is a file."""
    write(tmp_path, "acme_sms.py", "acme-sms", "file")
    settings = configured(tmp_path, tables={"acme-sms": DESCRIBED})
    assert known(settings)["acme-sms"].title == "Acme"
    assert known(settings).origins["acme-sms"].kind is Kind.CONFIGURATION
    assert create(settings)["s"].sample_kinds == ("message",)


# Faults


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import nothing_of_this_name", ":1: ModuleNotFoundError: No module named 'nothing_of_"),
        ("def (", ":1: SyntaxError: "),
        ("raise SystemExit(3)", ":1: SystemExit: 3"),
        ("x = 1", ": expected one class that extends receiver.providers.Provider and has a name"),
        (FILE.format(name="A", provider="acme", title="A"), ": A: expected name = 'acme-sms', "),
        (
            "from receiver.providers import Provider\nclass A(Provider):\n    name = 'acme-sms'",
            ": A: expected the attributes title, methods, default_timezone, default_region, push_",
        ),
        (
            "from receiver.providers import Provider\nclass A(Provider):\n    name = 'acme-sms'",
            ": A: expected the methods authenticate, fresh_values, parse, read, sample; ",
        ),
    ],
)
def test_a_file_that_is_no_provider_is_told(tmp_path: Path, code: str, said: str) -> None:
    """With the setting that names it, the file and the reason."""
    file = write(tmp_path, "acme_sms.py", "acme-sms")
    file.write_text(code, "utf-8")
    told = faults(configured(tmp_path))
    assert any(fault.startswith(f"sources.s.provider: {file}{said}") for fault in told), told


def test_an_entry_point_that_is_no_provider_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it is instead."""
    installed(monkeypatch, "os.path:join")
    expected = "sources.s.provider: os.path:join: expected a Provider class or a module, got join"
    assert faults(configured()) == [expected]


def test_two_files_of_one_name_are_told(tmp_path: Path) -> None:
    """A description and a Python file in one folder: nobody can tell which is meant."""
    file = write(tmp_path, "acme_sms.py", "acme-sms")
    description = tmp_path / "acme-sms.toml"
    description.touch()
    expected = f"{description} and {file} have one name; remove one of them"
    assert faults(configured(tmp_path)) == [f"sources.s.provider: {expected}"]


def test_a_faulty_file_is_told_once(tmp_path: Path) -> None:
    """However many sources use it."""
    write(tmp_path, "acme_sms.py", "acme-sms").write_text("x = 1", "utf-8")
    source = {"provider": "acme-sms", "tokens": ["t"]}
    raw = {"sources": {"a": source, "b": source}, "providers": {"path": [str(tmp_path)]}}
    [fault] = faults(config.parse(raw, Path("/nowhere/receiver.toml")))
    assert fault.startswith("sources.a.provider: ")


def test_a_faulty_file_that_no_source_uses_does_no_harm(tmp_path: Path) -> None:
    """Others are found and made all the same, and an unknown key is explained."""
    write(tmp_path, "broken.py", "broken").write_text("x = 1", "utf-8")
    providers = known(configured(tmp_path, provider="tilil"))
    assert providers.find("broken") is None
    assert create(configured(tmp_path, provider="tilil"))
    settings = configured(tmp_path, provider="tsconect")
    settings.source_tables._tables["s"]["digest"] = {}
    assert faults(settings) == ["sources.s.digest: only for provider tilil"]


def test_faults_of_a_description_are_told_with_its_keys(tmp_path: Path) -> None:
    """In the configuration with the whole key, in a file with the setting that names it."""
    broken = {**DESCRIBED, "message": {**DESCRIBED["message"], "form": "x"}}
    [fault] = faults(configured(tables={"acme-sms": broken}))
    assert fault == "providers.acme-sms.message.form: unknown key; did you mean from?"
    file = tmp_path / "acme-sms.toml"
    file.write_text('title = "Acme', "utf-8")
    [fault] = faults(configured(tmp_path))
    assert fault.startswith(f"sources.s.provider: {file}: not TOML: ")


def test_a_folder_that_is_missing_is_told(tmp_path: Path) -> None:
    """A name that is not found may be misspelt, or its folder."""
    [fault] = faults(configured(tmp_path / "providors"))
    assert fault.endswith(f"; the folder {tmp_path}/providors does not exist")


def test_what_providers_cannot_hold_is_told() -> None:
    """A key beside `path` that is no table."""
    with pytest.raises(ConfigError, match=r"providers\.paths: unknown key; expected path, or a t"):
        configured(tables={"paths": ["x"]})


def test_settings_of_a_file_stand_in_its_sources(tmp_path: Path) -> None:
    """As those of a built-in provider do; elsewhere they are faults that name it."""
    code = """
from receiver.config import Source
from receiver.providers.tsconect import Tsconect, TsconectSend

class AcmeSource(Source, frozen=True, kw_only=True):
    send: TsconectSend | None = None
    shop: str = ""

class Acme(Tsconect):
    name = "acme-sms"
    settings = AcmeSource
"""
    write(tmp_path, "acme_sms.py", "acme-sms").write_text(code, "utf-8")
    settings = configured(tmp_path)
    settings.source_tables._tables["s"]["shop"] = "x"
    made: Provider[Any] = create(settings)["s"]
    assert getattr(made.source, "shop", "") == "x"
    other = configured(tmp_path, provider="tilil")
    other.source_tables._tables["s"]["shop"] = "x"
    assert faults(other) == ["sources.s.shop: only for provider acme-sms"]
