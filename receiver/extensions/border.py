"""Calls the code of others: whatever it raises or returns, the service goes on.

`call` calls plugin code at once, `awaited` on the plugin's loop. Both return its result or raise an
`Exception`: never an error that ends a thread, a loop or the process, or looks like our own
cancellation. `describe` returns the text of an error.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from receiver.errors import HandlerError

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
        raise as_exception(error) from None


async def awaited(function: Callable[..., object], *arguments: object) -> object:
    """Calls plugin code and awaits its result if that is awaitable.

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
            raise  # the service stops
        raise as_exception(error) from None


def as_exception(error: BaseException) -> Exception:
    """Returns the error, or a RuntimeError in place of one that would end more than the call.

    Keeps the traceback, so that the plugin's author finds the line.
    """
    if isinstance(error, Exception):
        return error
    if isinstance(error, asyncio.CancelledError):
        words = "it cancelled itself"
    else:
        words = f"it raised {_said(repr, error) or type(error).__name__}"
    return RuntimeError(words).with_traceback(error.__traceback__)


def describe(error: BaseException) -> str:
    """Returns an error as a dead letter shows it: one bounded line of valid UTF-8."""
    if isinstance(error, HandlerError):  # its words are written for this
        return error_text(error)[:_MOST_WORDS]
    return f"{encodable(type(error).__name__)}: {error_text(error)}"[:_MOST_WORDS]


def error_text(error: BaseException) -> str:
    """Returns the text of an error in one line, even if its `__str__` fails."""
    words = _said(str, error)
    return " ".join(words.split()) if words is not None else _UNSAID


def encodable(text: str) -> str:
    """Returns the text with `?` for lone surrogates, which UTF-8 cannot encode."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _said(how: Callable[[object], str], error: BaseException) -> str | None:
    try:
        return encodable(str.__str__(how(error)))
    except BaseException:  # noqa: BLE001 - other people's code, once more
        return None
