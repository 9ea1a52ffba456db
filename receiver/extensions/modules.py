"""Finds the modules of plugins and providers, and imports them.

A module is NAME.py in a folder, a folder NAME with an `__init__.py`, or an entry point of an
installed package. `imported` executes files anew each time, so that a reload takes what they say
now, and what comes with the program from Python's bytecode, as quickly as the program itself.
"""

from __future__ import annotations

import importlib.metadata
import sys
import traceback
import zlib
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.metadata import EntryPoint, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType

from receiver.extensions.border import encodable, error_text


class ImportFailed(Exception):
    """A module cannot be imported."""


class _Loader(SourceFileLoader):
    """Loads the current source of a file; neither reads nor writes bytecode."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


#: The prefix of module names of files and folders.
_PREFIX = "receiver_plugin_"


class _Submodules:
    """Finds modules inside such folders; Python's own finder would write bytecode."""

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Finds `NAME.py` or `NAME/__init__.py` in the folder of the parent module."""
        if not name.startswith(_PREFIX):
            return None
        parent, _, last = name.rpartition(".")
        ours = bool(parent) and type(sys.modules[parent].__loader__) is SourceFileLoader
        for folder in path or ():
            for file in (Path(folder, last, "__init__.py"), Path(folder, f"{last}.py")):
                if file.is_file():
                    return _spec(name, file, ours=ours)
        return None


def _spec(name: str, file: Path, *, ours: bool) -> ModuleSpec:
    loader = SourceFileLoader if ours else _Loader
    spec = spec_from_file_location(name, file, loader=loader(name, str(file)))
    assert spec is not None
    return spec


def installed(group: str) -> dict[str, EntryPoint]:
    """Returns the entry points that installed packages have in a group, by name."""
    return {point.name: point for point in entry_points(group=group)}


def files(folder: Path) -> dict[str, Path]:
    """Returns the modules in a folder; a folder comes before a file of its name, as in Python."""
    found = {file.stem: file for file in folder.glob("[!_.]*.py")}
    return found | {file.parent.name: file for file in folder.glob("[!_.]*/__init__.py")}


def imported(name: str, origin: Path | EntryPoint, *, ours: bool = False) -> object:
    """Returns the module of a file, or what an entry point names.

    `ours`: it comes with the program. Raises `ImportFailed` with file and line.
    """
    try:
        return _import_file(name, origin, ours=ours) if isinstance(origin, Path) else origin.load()
    except BaseException as error:  # noqa: BLE001 - other people's code
        file = str(origin) if isinstance(origin, Path) else origin.value
        raise ImportFailed(describe(error, file)) from None


def _import_file(name: str, file: Path, *, ours: bool) -> ModuleType:
    # msgspec and dataclasses resolve annotations through sys.modules, so the module must be there,
    # under a name of its own: files in different folders may have the same name.
    unique = f"{_PREFIX}{name}_{zlib.crc32(bytes(file)):08x}"
    if _Submodules not in sys.meta_path:
        sys.meta_path.insert(0, _Submodules)
    spec = _spec(unique, file, ours=ours)
    assert spec.loader is not None
    module = module_from_spec(spec)
    before = _forget(unique)
    sys.modules[unique] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        _forget(unique)
        sys.modules.update(before)
        raise
    return module


def _forget(unique: str) -> dict[str, ModuleType]:
    """Removes a module and its submodules from `sys.modules`; returns them."""
    inside = f"{unique}."
    names = [name for name in sys.modules if name == unique or name.startswith(inside)]
    return {name: sys.modules.pop(name) for name in names}


def _own(file: str) -> Callable[[str], bool]:
    """Returns a predicate: True for a file that is part of the module at `file`."""
    folder, _, name = file.rpartition("/")
    if name != "__init__.py":
        return lambda other: other == file
    return lambda other: other.startswith(f"{folder}/")


def describe(error: BaseException, file: str) -> str:
    """Returns the text of an error in the code of others, with file and line."""
    kind = encodable(type(error).__name__)
    if isinstance(error, SyntaxError) and Path(error.filename or "").is_file():
        return f"{error.filename}:{error.lineno}: {kind}: {encodable(error.msg)}"
    frames = list(traceback.extract_tb(error.__traceback__))
    if Path(file).is_file():
        own = _own(file)
        frames = [frame for frame in frames if own(frame.filename)]
    else:  # a module whose file is not known, since it was not imported
        ours = (__file__, importlib.metadata.__file__, importlib.__file__)
        frames = [f for f in frames if f.filename not in ours and not f.filename.startswith("<")]
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else file
    return f"{place}: {kind}: {error_text(error)}"
