"""Finds plugins and imports their modules.

A name is searched in the folders of `plugins.path` (NAME.py, or a folder NAME with an
`__init__.py`), then in installed packages (entry points of the group `receiver.plugins`, whose
value is a module), then in the plugins that come with the program.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

from receiver.extensions.modules import ImportFailed, files, imported, installed

GROUP = "receiver.plugins"


def shipped_folder() -> Path:
    """Returns the folder of the shipped plugins: in the package, or beside it."""
    package = Path(__file__).parents[1]
    shipped = package / "shipped"
    return shipped if shipped.is_dir() else package.parent / "plugins"


def available(path: Iterable[Path]) -> dict[str, Path | EntryPoint]:
    """Returns the place of every available plugin, by name."""
    found: dict[str, Path | EntryPoint] = {**files(shipped_folder()), **installed(GROUP)}
    for folder in reversed(list(path)):
        found.update(files(folder))
    return found


def import_module(name: str, origin: Path | EntryPoint) -> ModuleType:
    """Imports the module of a plugin. Raises `ImportFailed` with file and line."""
    ours = isinstance(origin, Path) and origin.is_relative_to(shipped_folder())
    module = imported(name, origin, ours=ours)
    if not isinstance(module, ModuleType):
        file = str(origin) if isinstance(origin, Path) else origin.value
        kind = type(module).__name__
        raise ImportFailed(f"{file}: expected the entry point to be a module, got {kind}")
    return module
