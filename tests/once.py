"""Makes once what most tests would make anew, and each time the same.

- Plugins are compiled once: a loader still reads the file, and compiles what it has not seen.
- Installed packages are asked once for plugins, and again when `sys.path` is another one.
- A new store is a copy of one that the migrations have made. Old stores are upgraded as always.
  Its commits do not wait for the disk: only a machine that goes down would tell the difference.
- The certificates that are trusted are read once, and again where the environment names others.
- The program is put together once for each command. A run of it has a context of its own.

Modules of plugins are still executed each time, and each store has a node of its own. What the
tests start as a process, and `open_writer` itself, are as they are.
"""

from __future__ import annotations

import os
import sqlite3
import ssl
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from importlib.metadata import EntryPoints, entry_points
from pathlib import Path
from types import CodeType

import pytest
import typer

from receiver import cli
from receiver.extensions import modules
from receiver.jobs import calling
from receiver.net import client
from receiver.store.engine.sqlite import connection
from receiver.store.engine.sqlite.database import open_writer


@contextmanager
def made_once() -> Iterator[None]:
    """Holds while the block runs."""
    trusted = _trusted_once()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modules._Loader, "source_to_code", _compiled_once())
        patch.setattr(modules, "SourceFileLoader", modules._Loader)  # reads bytecode each time
        patch.setattr(modules, "entry_points", _listed_once())
        patch.setattr(connection, "open_writer", _migrated_once())
        for module in client, calling:
            patch.setattr(module, "tls_context", trusted)
        patch.setattr(cli, "application", _put_together_once())
        patch.setattr(cli, "get_command", cache(typer.main.get_command))
        yield


def _compiled_once() -> Callable[[modules._Loader, bytes, str], CodeType]:
    compile_ = modules._Loader.source_to_code

    @cache
    def compiled(data: bytes, path: str) -> CodeType:
        return compile_(modules._Loader("", path), data, path)

    return lambda _, data, path: compiled(data, path)


def _listed_once() -> Callable[..., EntryPoints]:
    @cache
    def listed(group: str, _path: tuple[str, ...]) -> EntryPoints:
        return entry_points(group=group)

    return lambda *, group: listed(group, tuple(sys.path))


def _migrated_once() -> Callable[[Path], sqlite3.Connection]:
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "receiver.db")
        with closing(open_writer(made)) as db:
            db.execute("DELETE FROM meta WHERE key = 'node'")
        new = made.read_bytes()

    def opened(path: Path) -> sqlite3.Connection:
        if not path.exists() and path.parent.is_dir():
            path.touch(0o600)
            path.write_bytes(new)
        db = open_writer(path)
        db.execute("PRAGMA synchronous = 0")
        return db

    return opened


def _trusted_once() -> Callable[[], ssl.SSLContext]:
    read = client.tls_context

    @cache
    def trusted(*_: str | None) -> ssl.SSLContext:
        return read()

    return lambda: trusted(*map(os.environ.get, ("SSL_CERT_FILE", "SSL_CERT_DIR")))


def _put_together_once() -> Callable[[list[str]], typer.Typer]:
    application = cli.application

    @cache
    def made(command: str) -> typer.Typer:
        return application([command])

    return lambda arguments: made(next(iter(arguments), ""))
