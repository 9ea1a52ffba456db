"""What all tests share; helpers to call are in `tests.harness`."""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
import structlog

import tests.examples  # noqa: F401 - its profiles
from tests.once import made_once
from tests.postgresql.databases import Databases
from tests.postgresql.servers import binaries, single


@pytest.fixture(scope="session", autouse=True)
def _plain_logs() -> None:
    """Logs of failing tests are shown, without frames drawn around them."""
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["level", "event"]),
        ]
    )


@pytest.fixture(scope="session", autouse=True)
def _zone() -> None:
    """Times are shown in the zone of the terminal: here and in programs that tests start, UTC."""
    os.environ["TZ"] = "UTC"
    time.tzset()


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_is_heard() -> None:
    """A shell starts what is to run in the background deaf to Ctrl-C, and its children are, too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Tests, and what they load, share what costs much and is the same for all of them."""
    shared = ExitStack()
    shared.enter_context(made_once())
    config.add_cleanup(shared.close)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected stays: it is no garbage, and there is much of it to look through."""
    gc.disable()
    collected = yield
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    gc.enable()
    return collected


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Tests marked `anyio` run on the loop that the service runs on."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="session")
def postgresql() -> None:
    """PostgreSQL's programs are there; tests that ask for it have the mark of this name."""
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed: `apt-get install postgresql`")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Marks what needs PostgreSQL."""
    if "postgresql" in getattr(item, "fixturenames", ()):
        item.add_marker("postgresql")


@pytest.fixture(scope="session")
def databases(postgresql: None) -> Iterator[Databases]:
    """Stores in PostgreSQL, on a server that is there while the tests of this process run."""
    with single() as server, closing(Databases(server)) as made:
        yield made
