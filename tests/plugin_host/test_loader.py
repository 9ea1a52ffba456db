"""Finding plugins, loading them, and refusing what cannot work: all of it, with its place."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.machinery import SourceFileLoader
from importlib.metadata import EntryPoint
from pathlib import Path
from textwrap import dedent, indent
from types import CodeType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from receiver import config, testing
from receiver.config import Config
from receiver.errors import ConfigError
from receiver.extensions import modules
from receiver.handlers import Reply, Send
from receiver.jobs.handle import TIMEOUT
from receiver.plugin_host import files
from receiver.plugin_host.dispatch import PAUSES
from receiver.plugin_host.files import shipped_folder
from receiver.plugin_host.hooks import START_TIMEOUT, STOP_TIMEOUT
from receiver.plugin_host.loader import Plugin, load, ordered
from tests.harness import inbound, opened, settings, take
from tests.plugins.asking import ask, explain, message

GUIDE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text("utf-8")
HANDLER = """
    from receiver.handlers import on_message, on_delivery, SettingsError
    import msgspec

    @on_message(inline=True)
    def answer(event, context):
        return __file__
"""


def configuration(folder: Path, *enabled: str, **tables: Any) -> Config:
    """A configuration in `folder` that has its plugins beside it."""
    raw = {"path": ["plugins"], "enabled": list(enabled), **tables}
    return config.parse({"plugins": raw}, folder / "receiver.toml")


def write(folder: Path, name: str, source: str) -> Path:
    """A plugin's file."""
    file = folder / f"{name}.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(dedent(source), "utf-8")
    return file


def loaded(folder: Path, source: str, **settings: Any) -> Plugin:
    """A plugin `mine` made of this source, after `HANDLER`."""
    write(folder / "plugins", "mine", dedent(HANDLER) + dedent(source))
    tables = {"mine": settings} if settings else {}
    [plugin] = load(configuration(folder, "mine", **tables))
    return plugin


def faults(configuration_: Config) -> list[str]:
    """What is wrong with the plugins of a configuration, a line each."""
    with pytest.raises(ConfigError) as caught:
        load(configuration_)
    assert caught.value.file == str(configuration_.file)
    return list(map(str, caught.value.faults))


def refused(folder: Path, source: str, **settings: Any) -> list[str]:
    """What is wrong with a plugin `mine` made of this source; FILE stands for its path."""
    file = write(folder / "plugins", "mine", source)
    tables = {"mine": settings} if settings else {}
    return [
        fault.replace(str(file), "FILE")
        for fault in faults(configuration(folder, "mine", **tables))
    ]


# Finding


def test_nothing_is_enabled(tmp_path: Path) -> None:
    """Without plugins there is nothing to load."""
    assert load(configuration(tmp_path)) == []


def test_shipped_plugins_are_found(tmp_path: Path) -> None:
    """The plugins that come with the program need no path, and come in the order of `enabled`."""
    names = sorted(modules.files(shipped_folder()))
    assert names == ["forward", "http_reply", "keyword_reply", "opt_out", "subscriptions"]
    for order in (names, names[::-1]):
        assert [plugin.name for plugin in load(configuration(tmp_path, *order))] == order


def test_shipped_folder_of_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an installed package the shipped plugins are in it, in a checkout beside it."""
    monkeypatch.setattr(files, "__file__", str(tmp_path / "receiver" / "plugin_host" / "x.py"))
    assert shipped_folder() == tmp_path / "plugins"
    (tmp_path / "receiver" / "shipped").mkdir(parents=True)
    assert shipped_folder() == tmp_path / "receiver" / "shipped"


def test_folder_goes_before_shipped(tmp_path: Path) -> None:
    """A file in a folder of the configuration takes the place of a shipped plugin."""
    file = write(tmp_path / "plugins", "opt_out", HANDLER)
    [plugin] = load(configuration(tmp_path, "opt_out"))
    assert plugin.file == file
    assert ask(plugin, message("hello")) == (Reply(str(file)),)


def test_first_folder_goes_first(tmp_path: Path) -> None:
    """Of files with the same name, the one in the first folder is taken."""
    for folder in ("a", "b"):
        write(tmp_path / folder, "mine", HANDLER)
    raw = {"path": ["b", "a"], "enabled": ["mine"]}
    [plugin] = load(config.parse({"plugins": raw}, tmp_path / "receiver.toml"))
    assert plugin.file == tmp_path / "b" / "mine.py"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of importable modules; `mine` in it is an entry point."""
    folder = tmp_path / "installed"
    metadata = folder / "mine-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[receiver.plugins]\nmine = installed_mine\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "installed_mine", raising=False)
    return folder


def test_entry_point_is_found(tmp_path: Path, installed: Path) -> None:
    """A module that an installed package names in the group receiver.plugins is a plugin."""
    file = write(installed, "installed_mine", HANDLER)
    [plugin] = load(configuration(tmp_path, "mine"))
    assert (plugin.name, plugin.file) == ("mine", file)


def test_folder_goes_before_entry_point(tmp_path: Path, installed: Path) -> None:
    """A file in a folder of the configuration takes the place of an installed plugin."""
    write(installed, "installed_mine", HANDLER)
    file = write(tmp_path / "plugins", "mine", HANDLER)
    assert load(configuration(tmp_path, "mine"))[0].file == file


def test_entry_point_that_cannot_be_imported(tmp_path: Path, installed: Path) -> None:
    """An installed plugin's fault is told with file and line, like a file's."""
    file = write(installed, "installed_mine", "x = 1\n1 / x - 1 / 0\n")
    assert faults(configuration(tmp_path, "mine")) == [
        f"plugins.enabled[0]: {file}:2: ZeroDivisionError: division by zero"
    ]


def test_entry_point_that_is_not_there(tmp_path: Path, installed: Path) -> None:
    """An entry point without its module is told with the module's name."""
    assert installed.is_dir()
    assert faults(configuration(tmp_path, "mine")) == [
        "plugins.enabled[0]: installed_mine: ModuleNotFoundError: No module named 'installed_mine'"
    ]


def test_entry_point_of_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point that is no module is refused."""
    point = EntryPoint("mine", "os.path:join", "receiver.plugins")
    monkeypatch.setattr(modules, "entry_points", lambda group: [point])
    assert faults(configuration(tmp_path, "mine")) == [
        "plugins.enabled[0]: os.path:join: expected the entry point to be a module, got function"
    ]


#: What can be enabled beside a plugin of one's own.
THERE = ("forward", "http_reply", "keyword_reply", "mine", "opt_out", "subscriptions")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("keyword-reply", "did you mean keyword_reply?"),
        ("zzz", "there are forward, http_reply, keyword_reply, mine, opt_out, subscriptions"),
        ("", "there are forward, http_reply, keyword_reply, mine, opt_out, subscriptions"),
        (
            "../plugins/mine",
            "there are forward, http_reply, keyword_reply, mine, opt_out, subscriptions",
        ),
        ("_private", "there are forward, http_reply, keyword_reply, mine, opt_out, subscriptions"),
    ],
)
def test_unknown_name(tmp_path: Path, name: str, hint: str) -> None:
    """An unknown name is a fault at its place in the list, with the names that exist."""
    for file in ("mine", "_private", ".hidden"):
        write(tmp_path / "plugins", file, HANDLER)
    [fault] = faults(configuration(tmp_path, "mine", name))
    assert fault == f"plugins.enabled[1]: no plugin is named {name!r}; {hint}"


def test_unknown_name_and_unknown_folder(tmp_path: Path) -> None:
    """That a folder does not exist is told where it may be why a plugin is not found."""
    assert load(configuration(tmp_path, "opt_out"))
    [fault] = faults(configuration(tmp_path, "zzz"))
    assert fault.endswith(f"; the folder {tmp_path / 'plugins'} does not exist")


def test_enabled_twice(tmp_path: Path) -> None:
    """A plugin is enabled once."""
    assert faults(configuration(tmp_path, "opt_out", "subscriptions", "opt_out")) == [
        "plugins.enabled[2]: opt_out is enabled twice"
    ]


# Loading


def test_plugin_has_what_its_file_says(tmp_path: Path) -> None:
    """Settings, state, handlers and explanation come from the file."""
    plugin = loaded(
        tmp_path,
        """
        class Settings(msgspec.Struct):
            greeting: str
            times: int = 2

        def setup(settings):
            return settings.greeting * settings.times

        def explain(event, context):
            return []
        """,
        greeting="hi",
    )
    assert (plugin.settings.greeting, plugin.settings.times) == ("hi", 2)
    assert plugin.state == "hihi"
    assert (plugin.context.plugin, plugin.context.state) == ("mine", "hihi")
    assert plugin.context.settings is plugin.settings
    assert plugin.explain is not None
    assert [handler.function.__name__ for handler in plugin.handlers] == ["answer"]


def test_plugin_with_a_handler_only(tmp_path: Path) -> None:
    """Settings, setup and explain can be left out."""
    plugin = loaded(tmp_path, "")
    assert (plugin.settings, plugin.state, plugin.explain) == (None, None, None)


def test_setup_without_settings(tmp_path: Path) -> None:
    """A setup in a plugin without settings is called with None."""
    assert loaded(tmp_path, "def setup(settings): return [settings]").state == [None]


def test_annotations_of_settings_may_be_texts(tmp_path: Path) -> None:
    """Settings can be written below `from __future__ import annotations`."""
    source = """
        from __future__ import annotations
        from pathlib import Path
        import msgspec
        from receiver.handlers import on_message

        class Inner(msgspec.Struct):
            words: list[str] = []

        class Settings(msgspec.Struct):
            inner: list[Inner] = []
            file: Path | None = None

        @on_message()
        def answer(event: Event[Message], context): pass
    """
    write(tmp_path / "plugins", "mine", source)
    settings = {"inner": [{"words": ["a"]}], "file": "data.txt"}
    [plugin] = load(configuration(tmp_path, "mine", mine=settings))
    assert plugin.settings.inner[0].words == ["a"]
    assert plugin.settings.file == tmp_path / "data.txt"


def test_handlers_keep_their_order(tmp_path: Path) -> None:
    """Handlers are in the order of definition; those marked first go before all plugins' others."""
    source = """
        from receiver.handlers import on_message
        @on_message()
        def {0}_b(event, context): pass
        @on_message(first=True)
        def {0}_c(event, context): pass
        @on_message()
        def {0}_a(event, context): pass
        also = {0}_a
    """
    for name in ("x", "y"):
        write(tmp_path / "plugins", name, source.format(name))
    both = load(configuration(tmp_path, "y", "x"))
    assert [handler.function.__name__ for _, handler in ordered(both)] == [
        *("y_c", "x_c"),
        *("y_b", "y_a", "x_b", "x_a"),
    ]
    assert [plugin.name for plugin, _ in ordered(both)] == ["y", "x", "y", "y", "x", "x"]


def test_files_of_one_name_do_not_meet(tmp_path: Path) -> None:
    """Plugins of the same name in two configurations each keep their own module."""
    one, other = tmp_path / "one", tmp_path / "other"
    first, second = loaded(one, "from pathlib import Path"), loaded(other, "")
    assert ask(first, message("x")) == (Reply(str(one / "plugins" / "mine.py")),)
    assert ask(second, message("x")) == (Reply(str(other / "plugins" / "mine.py")),)
    for plugin in (first, second):
        assert sys.modules[plugin.handlers[0].function.__module__].__file__ == str(plugin.file)


def test_loading_again_takes_the_file_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An edited file is loaded as it now is, whatever its time; what was loaded stays as it was."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    before = loaded(tmp_path, "WORD = 'old'\ndef setup(settings): return lambda: WORD")
    file = tmp_path / "plugins" / "mine.py"
    status = file.stat()
    file.write_text(file.read_text().replace("old", "new"))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    [after] = load(configuration(tmp_path, "mine"))
    assert (before.state(), after.state()) == ("old", "new")


def test_failed_loading_leaves_nothing(tmp_path: Path) -> None:
    """A file that cannot be imported leaves no module, and takes the place of none."""
    known = set(sys.modules)
    assert refused(tmp_path, "import no_such_module_here")
    assert set(sys.modules) == known
    before = loaded(tmp_path, "")
    module = before.handlers[0].function.__module__
    kept = sys.modules[module]
    assert refused(tmp_path, "import no_such_module_here")
    assert sys.modules[module] is kept


def test_loading_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No bytecode is left in the folder of plugins."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    loaded(tmp_path, "")
    assert [file.name for file in (tmp_path / "plugins").iterdir()] == ["mine.py"]


def test_what_comes_with_the_program_is_compiled_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shipped plugin is taken from Python's bytecode, with all its modules, as the program is."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(files, "__file__", str(tmp_path / "receiver" / "plugin_host" / "x.py"))
    write(in_parts(tmp_path, "here").parent, "late", "from .words import WORD")
    compiled = []
    to_code = SourceFileLoader.source_to_code

    def noted(loader: SourceFileLoader, data: bytes, path: str) -> CodeType:
        compiled.append(Path(path).name)
        return to_code(loader, data, path)

    monkeypatch.setattr(modules, "SourceFileLoader", SourceFileLoader)  # not what tests share
    monkeypatch.setattr(SourceFileLoader, "source_to_code", noted)
    for _ in range(2):
        [plugin] = load(config.parse({"plugins": {"enabled": ["mine"]}}, tmp_path / "x.toml"))
        assert plugin.state[:2] == ("here", "here")
    assert sorted(compiled) == ["__init__.py", "__init__.py", "last.py", "late.py", "words.py"]


# Plugins that are folders


def in_parts(folder: Path, word: str) -> Path:
    """A plugin `mine` that is a folder with a module, which has a folder of modules in it."""
    inside = folder / "plugins" / "mine"
    write(inside / "deep", "__init__", f"WORD = {word!r}\nfrom . import last")
    write(inside / "deep", "last", "NAME = __name__")
    write(inside, "words", "from .deep import WORD, last")
    return write(
        inside,
        "__init__",
        dedent(HANDLER)
        + """
from .words import WORD, last

def setup(settings):
    from . import late
    return WORD, late.WORD, last.NAME
""",
    )


def test_a_plugin_may_be_a_folder(tmp_path: Path) -> None:
    """A folder with an __init__.py is a plugin; its modules import each other relatively."""
    file = in_parts(tmp_path, "here")
    write(file.parent, "late", "from .words import WORD")
    [plugin] = load(configuration(tmp_path, "mine"))
    assert (plugin.name, plugin.file) == ("mine", file)
    assert plugin.state[:2] == ("here", "here")
    assert plugin.state[2].endswith(".deep.last")
    assert not list(tmp_path.rglob("__pycache__"))


def test_folders_that_are_no_plugins(tmp_path: Path) -> None:
    """A folder without an __init__.py, and one whose name begins with _, are none."""
    write(tmp_path / "plugins" / "empty", "other", HANDLER)
    write(tmp_path / "plugins" / "_own", "__init__", HANDLER)
    assert len(faults(configuration(tmp_path, "empty", "_own"))) == 2


def test_a_folder_goes_before_a_file(tmp_path: Path) -> None:
    """Of a folder and a file with one name the folder is taken, as Python does."""
    write(tmp_path / "plugins", "mine", HANDLER)
    file = write(tmp_path / "plugins" / "mine", "__init__", HANDLER)
    assert load(configuration(tmp_path, "mine"))[0].file == file


def test_loading_a_folder_again_takes_all_of_it_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Modules inside a folder are executed anew too; nothing is kept and nothing written."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    states = []
    for word in ("old", "new"):
        write(in_parts(tmp_path, word).parent, "late", "from .words import WORD")
        states.append(load(configuration(tmp_path, "mine"))[0].state[:2])
    assert states == [("old", "old"), ("new", "new")]
    assert not list(tmp_path.rglob("__pycache__"))


def test_a_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """A fault is told with the file of the module that has it; what was loaded before stays."""
    file = in_parts(tmp_path, "here")
    write(file.parent, "late", "")
    late = file.parent / "late.py"
    known = set(sys.modules)
    [fault] = faults(configuration(tmp_path, "mine"))
    assert f"{file}:" in fault
    write(file.parent, "late", "from .words import WORD")
    load(configuration(tmp_path, "mine"))
    loaded_now = {name: sys.modules[name] for name in set(sys.modules) - known}
    write(file.parent, "words", "x = 1\nimport no_such_module_here")
    [fault] = faults(configuration(tmp_path, "mine"))
    assert f"{file.parent / 'words.py'}:2: ModuleNotFoundError" in fault
    assert all(sys.modules[name] is module for name, module in loaded_now.items())
    assert late.is_file()


# Refusing


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = 1\nimport nowhere", "FILE:2: ModuleNotFoundError: No module named 'nowhere'"),
        ("def f(:\n  pass", "FILE:1: SyntaxError: invalid syntax"),
        ("def f():\n\tif 1:\n        x", "FILE:3: TabError: inconsistent use of tabs and spaces"),
        ("def f():\n    {}['a']\n\nf()", "FILE:2: KeyError: 'a'"),
        ("raise ValueError('one\\n  two')", "FILE:1: ValueError: one two"),
        ("import sys\nsys.exit('bye')", "FILE:2: SystemExit: bye"),
        ("import ast\nast.literal_eval('1 1')", "FILE:2: SyntaxError: invalid syntax"),
        (
            "from receiver.handlers import on_message\n\n@on_message(keyword='a b')\ndef f(): pass",
            "FILE:3: ValueError: a keyword is one word, not 'a b'",
        ),
    ],
)
def test_file_that_cannot_be_imported(tmp_path: Path, source: str, expected: str) -> None:
    """It is told with file, line and error, without a traceback."""
    [fault] = refused(tmp_path, source)
    assert fault.startswith(f"plugins.enabled[0]: {expected}")
    assert "\n" not in fault


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A file that is none is told as that."""
    (tmp_path / "plugins" / "mine.py").mkdir(parents=True)
    [fault] = faults(configuration(tmp_path, "mine"))
    assert f"{tmp_path / 'plugins' / 'mine.py'}: IsADirectoryError: " in fault


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(event): pass", "f(event) must take (event, context)"),
        ("def f(): pass", "f() must take (event, context)"),
        ("def f(event, context, more): pass", "f(event, context, more) must take (event, context)"),
        ("def f(*, event, context): pass", "f(*, event, context) must take (event, context)"),
        ("def f(event, *, context): pass", "f(event, *, context) must take (event, context)"),
        ("def f(event, **context): pass", "f(event, **context) must take (event, context)"),
        ("def f(self, event, context): pass", "f(self, event, context) must take (event, context)"),
        ("async def f(event, context): pass", "f is inline, so it must be def, not async def"),
        ("def f(event, context): yield", "f must return what it wants, not yield it"),
        ("class f:\n    def __init__(self, event, context): pass", "f: a handler is a function"),
    ],
)
def test_handler_that_cannot_work(tmp_path: Path, source: str, expected: str) -> None:
    """A handler that could never be called, or not inline, is told with file and line."""
    head = "from receiver.handlers import on_message\n\n@on_message(inline=True)\n"
    place = "FILE" if source.startswith("class") else "FILE:3"
    assert refused(tmp_path, head + source) == [f"plugins.enabled[0]: {place}: {expected}"]


@pytest.mark.parametrize(
    "when", ["lambda event: True", "'GAME'", "wish", "lambda event, context, more: True"]
)
def test_a_filter_that_cannot_work(tmp_path: Path, when: str) -> None:
    """A filter of the plugin's own is called as a handler is, and at once."""
    source = f"""\
        from receiver.handlers import on_message
        async def wish(event, context): return True

        @on_message(when={when})
        def f(event, context): pass
    """
    expected = "FILE:4: f: when must be a def that takes (event, context)"
    assert refused(tmp_path, dedent(source)) == [f"plugins.enabled[0]: {expected}"]


@pytest.mark.parametrize(
    "source",
    [
        "def answer(message, _): pass",
        "def answer(*anything): pass",
        "def answer(event, context, more=1): pass",
        "def answer(event, /, context): pass",
    ],
)
def test_handler_that_can_work(tmp_path: Path, source: str) -> None:
    """Whatever can be called with two arguments is a handler, however it names them."""
    head = "from receiver.handlers import on_message\n@on_message(inline=True)\n"
    write(tmp_path / "plugins", "mine", head + source)
    assert load(configuration(tmp_path, "mine"))


@pytest.mark.parametrize("future", ["", "from __future__ import annotations\n"])
@pytest.mark.parametrize(
    ("decorator", "annotation", "expected"),
    [
        ("on_message", "Event[DeliveryReport]", "Event[Message]"),
        ("on_message", "Event[DeliveryReport] | None", "Event[Message]"),
        ("on_message", "Event[DeliveryReport | SubscriptionChange]", "Event[Message]"),
        ("on_message", "Message", "Event[Message]"),
        ("on_message", "str", "Event[Message]"),
        ("on_message", "Context[None]", "Event[Message]"),
        ("on_delivery", "Event[Message]", "Event[DeliveryReport]"),
        ("on_subscription", "Event[Message]", "Event[SubscriptionChange]"),
    ],
)
def test_handler_of_other_events(
    tmp_path: Path, future: str, decorator: str, annotation: str, expected: str
) -> None:
    """A handler that is annotated to take other events than it would get is told so."""
    source = f"{future}from receiver.handlers import *\n@{decorator}()\n"
    source += f"def answer(event: {annotation}, context): pass\n"
    [fault] = refused(tmp_path, source)
    line = 3 if future else 2
    told = f"plugins.enabled[0]: FILE:{line}: answer: its decorator gives it {expected}, "
    assert fault.startswith(f"{told}it is annotated to take ")
    assert annotation.partition("[")[0] in fault.removeprefix(told)


def test_handler_of_another_context(tmp_path: Path) -> None:
    """Parameters in the wrong order, or a context that is something else, are told."""
    source = "from receiver.handlers import *\n@on_message()\n"
    source += "def answer(event, context: Event[Message]): pass\n"
    [fault] = refused(tmp_path, source)
    told = "its second parameter is the Context, it is annotated to be Event[Message]"
    assert fault == f"plugins.enabled[0]: FILE:2: answer: {told}"


@pytest.mark.parametrize(
    "annotation",
    [
        "Event",
        "Event[Message]",
        "Event[Any]",
        "Event[T]",
        "Event[Message | DeliveryReport]",
        "Event[Message] | Event[DeliveryReport]",
        "Optional[Event[Message]]",
        "Annotated[Event[Message], 'all of them']",
        "Event['Message']",
        "'Event[Message]'",
        "'Event[NotImportedHere]'",
        "object",
        "Any",
        "T",
        "Protocol",
        "HasData",
    ],
)
def test_annotations_that_can_be_right(tmp_path: Path, annotation: str) -> None:
    """Whatever a message's event may be taken for passes, as does what cannot be read."""
    source = f"""\
        from typing import *
        from receiver.handlers import *
        T = TypeVar("T")
        class HasData(Protocol):
            data: Any

        @on_message()
        def answer(event: {annotation}, context: Context[T]) -> None: pass

        @on_delivery()
        def other(event: Event[DeliveryReport], context: "Context[None]") -> None: pass
    """
    write(tmp_path / "plugins", "mine", source)
    assert load(configuration(tmp_path, "mine"))


@pytest.mark.parametrize(
    ("above", "below"),
    [
        ("", ""),
        ("@staticmethod\n    ", ""),
        ("", "@staticmethod\n    "),
        ("", "@classmethod\n    "),
    ],
)
def test_method_is_no_handler(tmp_path: Path, above: str, below: str) -> None:
    """A handler in a class would never be found, so it is refused where it stands."""
    source = "from receiver.handlers import on_message\n\nclass Bot:\n"
    source += f"    {above}@on_message()\n    {below}def answer(self, event, context): pass\n"
    [fault] = refused(tmp_path, source)
    assert re.fullmatch(
        r"plugins\.enabled\[0\]: FILE:[45]: TypeError: Bot\.answer is in a class;"
        r" a handler is a function at the top of its file",
        fault,
    )


def test_async_generator_is_no_handler(tmp_path: Path) -> None:
    """A handler that yields on the loop is refused too."""
    source = (
        "from receiver.handlers import *\n@on_message()\nasync def answer(event, context): yield"
    )
    [fault] = refused(tmp_path, source)
    assert fault.endswith("FILE:2: answer must return what it wants, not yield it")


def test_decorator_above_ours(tmp_path: Path) -> None:
    """A decorator above ours would never be called, so it is refused."""
    source = """\
        from functools import wraps
        from receiver.handlers import on_message

        def logged(function):
            @wraps(function)
            def wrapper(event, context):
                return function(event, context)
            return wrapper

        @logged
        @on_message()
        def answer(event, context): pass
    """
    [fault] = refused(tmp_path, dedent(source))
    told = "answer: on_message and its like must stand above all other decorators"
    assert fault == f"plugins.enabled[0]: FILE:10: {told}"


def test_decorator_below_ours(tmp_path: Path) -> None:
    """A decorator below ours is the handler."""
    source = """
        def loud(function):
            def louder(event, context):
                return function(event, context).upper()
            return louder

        @on_delivery()
        @loud
        def answer_loudly(event, context): return "yes"
        """
    assert loaded(tmp_path, source).handlers[1].function(None, None) == "YES"


def test_handlers_of_one_name(tmp_path: Path) -> None:
    """Waiting work names its handler, so no two have the same name."""
    source = """
        def made():
            @on_message()
            def reply(event, context): pass
            return reply

        one, two = made(), made()
        """
    [fault] = refused(tmp_path, dedent(HANDLER) + dedent(source))
    assert fault == "plugins.enabled[0]: FILE: several handlers are named reply"


def test_plugin_without_a_handler(tmp_path: Path) -> None:
    """A file that decorates nothing is a mistake."""
    assert refused(tmp_path, "def answer(event, context): pass") == [
        "plugins.enabled[0]: FILE: no handler; decorate a function with on_message or its like"
    ]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def setup(): pass", "FILE:8: expected def setup(settings)"),
        ("def setup(*, settings): pass", "FILE:8: expected def setup(settings)"),
        ("def lint(): pass", "FILE:8: expected def lint(context)"),
        ("async def lint(context): pass", "FILE:8: expected def lint(context)"),
        ("def start(): pass", "FILE:8: expected def start(context)"),
        ("async def stop(one, two): pass", "FILE:8: expected def stop(context)"),
        ("async def targets(settings): pass", "FILE:8: expected def targets(settings)"),
        ("start = True", "FILE: expected def start(context)"),
        ("async def setup(settings): pass", "FILE:8: expected def setup(settings)"),
        ("setup = 1", "FILE: expected def setup(settings)"),
        ("setup = dict", "FILE: expected def setup(settings)"),
        ("def explain(event): pass", "FILE:8: expected def explain(event, context)"),
        ("class Settings: pass", "FILE: Settings must be a msgspec.Struct"),
        ("Settings = {}", "FILE: Settings must be a msgspec.Struct"),
    ],
)
def test_hook_that_cannot_work(tmp_path: Path, source: str, expected: str) -> None:
    """Settings and each hook have their form."""
    assert refused(tmp_path, dedent(HANDLER) + source) == [f"plugins.enabled[0]: {expected}"]


SETTINGS = """
class Settings(msgspec.Struct):
    greeting: str
    times: int = 1

    def __post_init__(self):
        if self.times > 9:
            raise ValueError("too often")
"""


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["plugins.mine.greeting: missing, and it has no default"]),
        (
            {"greeting": 1, "tmies": 2, "times": "x"},
            [
                "plugins.mine.tmies: unknown key; did you mean times?",
                "plugins.mine.greeting: expected a text, got an integer",
                "plugins.mine.times: expected an integer, got a text",
            ],
        ),
        ({"greeting": "hi", "times": 10}, ["plugins.mine: too often"]),
    ],
)
def test_wrong_settings(tmp_path: Path, settings: dict[str, Any], expected: list[str]) -> None:
    """Every fault of settings is told with its key."""
    assert refused(tmp_path, dedent(HANDLER) + SETTINGS, **settings) == expected


def test_settings_that_cannot_be_read(tmp_path: Path) -> None:
    """A type that the file does not import is told, like any other fault."""
    source = "from __future__ import annotations\nimport msgspec\nfrom receiver.handlers import *\n"
    source += "class Settings(msgspec.Struct):\n    day: date\n"
    source += "@on_message()\ndef answer(event, context): pass\n"
    [fault] = refused(tmp_path, source)
    assert fault == "plugins.mine: FILE: NameError: name 'date' is not defined"


def test_settings_that_would_end_the_program(tmp_path: Path) -> None:
    """What they raise when they are made is a fault, too."""
    source = "import msgspec\nfrom receiver.handlers import *\n"
    source += "class Settings(msgspec.Struct):\n    def __post_init__(self): raise SystemExit(1)\n"
    source += "@on_message()\ndef answer(event, context): pass\n"
    [fault] = refused(tmp_path, source)
    assert fault == "plugins.mine: FILE:4: RuntimeError: it raised SystemExit(1)"


def test_settings_of_a_plugin_that_has_none(tmp_path: Path) -> None:
    """A table for a plugin without settings is a mistake, also an empty one."""
    write(tmp_path / "plugins", "mine", HANDLER)
    for table in ({"a": 1}, {}):
        found = faults(configuration(tmp_path, "mine", mine=table))
        assert found == ["plugins.mine: this plugin has no settings"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("raise SettingsError('rules[2].reply', 'no')", ["plugins.mine.rules[2].reply: no"]),
        ("raise SettingsError('', 'nothing to do')", ["plugins.mine: nothing to do"]),
        (
            """
            some = ExceptionGroup('some', [SettingsError('b', '2'), ValueError('3')])
            raise ExceptionGroup('all', [SettingsError('a', '1'), some])
            """,
            ["plugins.mine.a: 1", "plugins.mine.b: 2", "plugins.mine: FILE: ValueError: 3"],
        ),
        ("return {}['key']", ["plugins.mine: FILE:9: KeyError: 'key'"]),
        ("raise SystemExit(1)", ["plugins.mine: FILE:9: RuntimeError: it raised SystemExit(1)"]),
        (
            "raise KeyboardInterrupt",
            ["plugins.mine: FILE:9: RuntimeError: it raised KeyboardInterrupt()"],
        ),
        ("raise ValueError('\\ud800')", ["plugins.mine: FILE:9: ValueError: ?"]),
        (
            "import nowhere",
            ["plugins.mine: FILE:9: ModuleNotFoundError: No module named 'nowhere'"],
        ),
    ],
)
def test_setup_that_refuses(tmp_path: Path, body: str, expected: list[str]) -> None:
    """What setup raises is told with its key, or with file and line."""
    source = f"def setup(settings):\n{indent(dedent(body), '    ')}\n"
    assert refused(tmp_path, dedent(HANDLER) + source) == expected


def test_targets_are_targets(tmp_path: Path) -> None:
    """Anything else in their list is a fault of the plugin, told with its key."""
    source = "def targets(settings): return ['https://crm.example.com/events']\n"
    [fault] = refused(tmp_path, dedent(HANDLER) + source)
    assert fault.endswith("WrongItems: expected a list of Target or Stream, got str in it")


def test_every_fault_of_every_plugin_is_told(tmp_path: Path) -> None:
    """One fault hides no other, neither of the same plugin nor of the next."""
    folder = tmp_path / "plugins"
    write(folder, "broken", "import no_such_module")
    write(folder, "wrong", dedent(HANDLER) + SETTINGS + "def setup(): pass\ndef explain(): pass\n")
    write(folder, "fine", HANDLER)
    raw = {"wrong": {"zzz": 1}, "fine": {"zzz": 1}}
    found = faults(configuration(tmp_path, "broken", "fine", "zzz", "wrong", **raw))
    assert [fault.split(":")[0] for fault in found] == [
        "plugins.enabled[0]",
        "plugins.fine",
        "plugins.enabled[2]",
        "plugins.enabled[3]",
        "plugins.enabled[3]",
        "plugins.wrong.zzz",
        "plugins.wrong.greeting",
    ]


# The guide


def blocks(language: str) -> list[str]:
    """The code blocks of docs/plugins.md in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def guide(tmp_path: Path) -> Path:
    """A folder with the files of docs/plugins.md, each named by its first line."""
    for block in blocks("python"):
        name, _, _ = block.removeprefix("# ").partition("\n")
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(block, "utf-8")
    return tmp_path


def configurations() -> list[dict[str, Any]]:
    """The configurations in docs/plugins.md."""
    tables = map(tomllib.loads, blocks("toml"))
    return [raw for raw in tables if "plugins" in raw]


@pytest.mark.parametrize("raw", configurations(), ids=lambda raw: raw["plugins"]["enabled"][-1])
def test_configuration_of_the_guide(guide: Path, raw: dict[str, Any]) -> None:
    """The configurations in docs/plugins.md load the plugins that are written there."""
    names = [plugin.name for plugin in load(config.parse(raw, guide / "receiver.toml"))]
    assert names == raw["plugins"]["enabled"]


def test_plugins_of_the_guide_are_all_configured(guide: Path) -> None:
    """No plugin in docs/plugins.md is without a configuration beside it."""
    enabled = {name for raw in configurations() for name in raw["plugins"]["enabled"]}
    assert {file.stem for file in (guide / "plugins").iterdir()} <= enabled


def test_tests_of_the_guide(guide: Path) -> None:
    """Every plugin in docs/plugins.md has a test there, and it passes."""
    tested = {file.stem.removeprefix("test_") for file in guide.glob("test_*.py")}
    assert tested == {file.stem for file in (guide / "plugins").iterdir()}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(guide)],
        cwd=guide,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    assert "5 passed" in run.stdout


class _Ledger(BaseHTTPRequestHandler):
    """Says how much somebody has; slow for one number, broken for another."""

    def do_GET(self) -> None:
        """Answers by the number that is asked about."""
        number = parse_qs(urlsplit(self.path).query)["msisdn"][0]
        body = {"+254711000001": b"{}", "+254711000002": b"<html>"}.get(number, b'{"amount": 70}')
        self.send_response(500 if number == "+254711000003" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name
        """Says nothing."""


@pytest.fixture
def ledger() -> Iterator[str]:
    """The URL of a ledger on a free port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Ledger)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/balance"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_balance_of_the_guide(guide: Path, ledger: str) -> None:
    """Over a real connection: the amount, a warning to somebody of ours, and an apology."""
    balance = guide / "plugins" / "balance.py"
    plugin = testing.load(balance, url=ledger, warn="+254712345678")
    with testing.running(plugin) as started:
        enough = testing.load(balance, url=ledger, low=50)
        assert started.ask(testing.message("balance")).actions == (
            Reply("Your balance is 70."),
            Send(to="+254712345678", text="A balance is down to 70."),
        )
        for n in (1, 2, 3):
            asked = started.ask(testing.message("Balance?", from_=f"+25471100000{n}"))
            assert asked.reply == plugin.handlers[0].function.__globals__["SORRY"]
        assert started.ask(testing.message("balance", to="70700")).actions == ()
    assert testing.ask(enough, testing.message("balance")).reply == "Your balance is 70."


def test_a_slow_ledger_of_the_guide(guide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that takes the connection and says nothing costs the person its time, no more."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        plugin = testing.load(guide / "plugins" / "balance.py", url=url)
        names = plugin.handlers[0].function.__globals__
        monkeypatch.setitem(names, "PATIENCE", 0.05)
        assert testing.ask(plugin, testing.message("balance")).reply == names["SORRY"]


def test_poll_of_the_guide_explains_and_warns(guide: Path) -> None:
    """Whose vote it is, without counting it; and that one choice is too few."""
    file = guide / "plugins" / "poll.py"
    plugin = testing.load(file, choices=["Achieng", "Mwangi"])
    assert plugin.lint is not None
    assert plugin.lint(plugin.context) == []
    whys = [explain(plugin, message(text))[0].why for text in ("vote MWANGI", "vote", "hello")]
    assert whys[0] == "a vote for Mwangi"
    assert whys[1] == "a vote for nobody who stands for election"
    assert whys[2] == "it does not begin with VOTE"
    single = testing.load(file, choices=["Achieng"])
    assert single.lint is not None
    assert [finding.key for finding in single.lint(single.context)] == ["choices"]


def test_a_plugin_has_a_folder_beside_the_store(tmp_path: Path) -> None:
    """It is made when it is first asked for, for the service's user alone."""
    context = loaded(tmp_path, "").context
    assert not list(tmp_path.glob("*.plugins"))
    assert context.data == tmp_path / "receiver.db.plugins" / "mine"
    assert context.data.stat().st_mode & 0o077 == 0


@pytest.mark.anyio
async def test_quiz_of_the_guide_survives_a_restart(guide: Path) -> None:
    """Answered by the whole service out of what its store knows, before a restart and after."""
    [raw] = [raw for raw in configurations() if "quiz" in raw["plugins"]]
    raw = settings(plugins={**raw["plugins"], "keyword_reply": {"rules": []}})
    del raw["plugins"]["keyword_reply"]
    replies = []
    for n, text in enumerate(["quiz", "Victoria", "nile", "Kenya"]):
        async with opened(guide, raw) as service:
            body = inbound(n, text, shortcode="70700")
            replies.append(json.loads((await take(service, body)).body)["result_message"])
    assert replies == [
        "Which lake is the largest in Africa?",
        "Right! Which river leaves it at Jinja?",
        "Right! Which river leaves it at Jinja?",
        "No. Points: 3.",
    ]


def test_numbers_of_the_guide() -> None:
    """What docs/plugins.md says about attempts and patience is what the program does."""
    text = " ".join(GUIDE.split())
    assert f"takes longer than {TIMEOUT:g} seconds, is tried again {len(PAUSES)} times" in text
    assert f"`start` that raises or takes longer than {START_TIMEOUT:g} seconds keeps" in text
    assert f"`stop` has {STOP_TIMEOUT:g} seconds" in text
