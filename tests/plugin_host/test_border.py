"""The border to plugins' code: whatever it raises becomes an ordinary error, told safely."""

from __future__ import annotations

import asyncio

import pytest

from receiver.extensions import border

pytestmark = pytest.mark.anyio


class Mute(Exception):
    """An error that cannot say what it is."""

    def __str__(self) -> str:
        raise SystemExit("no words")

    __repr__ = __str__


class MuteOrder(BaseException):
    """The same of what is no ordinary error."""

    def __repr__(self) -> str:
        raise ValueError("no words")


ORDERS = (SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, MuteOrder)


@pytest.mark.parametrize("kind", ORDERS)
async def test_an_order_to_stop_becomes_an_error(kind: type[BaseException]) -> None:
    """With its place; whoever calls plugin code need not know of anything but `Exception`."""

    def plain() -> None:
        raise kind

    async def waiting() -> None:
        raise kind

    for attempt in (lambda: border.call(plain), lambda: asyncio.run(border.awaited(waiting))):
        with pytest.raises(RuntimeError, match=r"^it (raised|cancelled itself)") as caught:
            await asyncio.to_thread(attempt)
        places = [entry.name for entry in caught.traceback]
        assert {"plain", "waiting"}.intersection(places)


def test_ordinary_errors_pass_as_they_are() -> None:
    """With the cause that the plugin gave them."""
    cause = KeyError("b")

    def plain() -> None:
        raise ValueError("a") from cause

    with pytest.raises(ValueError, match="a") as caught:
        border.call(plain)
    assert caught.value.__cause__ is cause


async def test_our_own_stopping_is_no_error_of_the_plugin() -> None:
    """Who cancels the call sees it cancelled."""
    begun = asyncio.Event()

    async def waits() -> None:
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(border.awaited(waits))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("one\ntwo"), "ValueError: one two"),
        (ValueError("half \ud800 of it"), "ValueError: half ? of it"),
        (Mute(), "Mute: (it cannot say what)"),
        (ValueError("x" * 1000), f"ValueError: {'x' * 488}"),
    ],
)
def test_every_error_can_be_told(error: Exception, told: str) -> None:
    """In one line, of bounded length, that UTF-8 takes."""
    assert border.describe(error) == told
    border.describe(error).encode()
