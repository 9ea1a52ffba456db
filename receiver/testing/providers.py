"""For authors of providers: the promises that every provider keeps, as checks.

    from receiver.testing.providers import PROMISES, keeps

    @pytest.mark.parametrize("promise", PROMISES)
    def test_acme_keeps_its_promises(promise: str) -> None:
        keeps(Acme, promise)

`check` returns every promise that is broken; `receiver providers test` prints them. Settings of a
source, such as `ack_fields="both"`, may be given to both. No network, no store, no pytest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from receiver.providers import ProviderType
from receiver.testing import promises_of_pushes, promises_of_sending
from receiver.testing.subject import Broken, Promise, Subject

__all__ = ["PROMISES", "Broken", "check", "keeps"]

_ALL: tuple[Promise, ...] = (*promises_of_pushes.ALL, *promises_of_sending.ALL)
#: The promises by name; the docstring of each says what is promised.
PROMISES: dict[str, Promise] = {promise.__name__: promise for promise in _ALL}


def keeps(provider: ProviderType, promise: str, **settings: Any) -> None:
    """Raises `Broken`, an AssertionError, with what was expected and what came."""
    PROMISES[promise](Subject(provider, settings))


def check(provider: ProviderType, **settings: Any) -> list[str]:
    """Returns the promises that a provider breaks, each with what was expected and what came."""
    return [
        broken
        for name, promise in PROMISES.items()
        if (broken := _broken(name, promise, Subject(provider, settings)))
    ]


def _broken(name: str, promise: Callable[[Subject], None], subject: Subject) -> str | None:
    try:
        promise(subject)
    except Broken as broken:
        return f"{name}: {broken}"
    except Exception as error:  # noqa: BLE001 - the author's code, which may raise anything
        return (
            f"{name}: expected no exception but ReceiverError, got {type(error).__name__}: {error}"
        )
    return None
