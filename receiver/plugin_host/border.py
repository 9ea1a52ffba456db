"""The border to plugins' code: whatever it raises or returns, the service goes on.

`call` is how plugin code is called here and now, `awaited` how it is called on the handlers' loop.
Out of both comes what it returned or an `Exception`: never what ends a thread, a loop or the
process, or looks as if we ourselves were stopping. `describe` says what was raised.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_MOST_WORDS = 500
_UNSAID = "(it cannot say what)"


def call(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Calls plugin code. Raises nothing but an `Exception`."""
    try:
        return function(*arguments, **named)
    except Exception:
        raise
    except BaseException as error:  # noqa: BLE001 - other people's code
        raise tamed(error) from None


async def awaited(function: Callable[..., object], *arguments: object) -> object:
    """As `call`, and awaits what comes out of it if it can be.

    Raises CancelledError when we are cancelled ourselves.
    """
    try:
        result = function(*arguments)
        return await result if inspect.isawaitable(result) else result
    except Exception:
        raise
    except BaseException as error:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise  # we stop
        raise tamed(error) from None


def tamed(error: BaseException) -> Exception:
    """The error itself, or one in its place that nobody takes for an order to stop.

    With its place: who wrote the plugin shall find the line.
    """
    if isinstance(error, Exception):
        return error
    if isinstance(error, asyncio.CancelledError):
        words = "it cancelled itself"
    else:
        words = f"it raised {_said(repr, error) or type(error).__name__}"
    return RuntimeError(words).with_traceback(error.__traceback__)


def describe(error: BaseException) -> str:
    """An error as a dead letter shows it, in one bounded line that every file and answer takes."""
    return f"{encodable(type(error).__name__)}: {said(error)}"[:_MOST_WORDS]


def said(error: BaseException) -> str:
    """The text of an error in one line, also of one that fails to tell it."""
    words = _said(str, error)
    return " ".join(words.split()) if words is not None else _UNSAID


def encodable(text: str) -> str:
    """The text with `?` for what has no place in UTF-8: half a character (a lone surrogate)."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _said(how: Callable[[object], str], error: BaseException) -> str | None:
    try:
        return encodable(str.__str__(how(error)))
    except BaseException:  # noqa: BLE001 - other people's code, once more
        return None
