"""Raw abuse of the public port, all of it against one service: no error of ours, bounded memory.

What each kind is answered stands in tests/http/test_protocol.py; behind the shipped proxies
tests/deploy/test_abuse.py runs the same series.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import stored
from tests.battery import abuse
from tests.battery.abuse import BOMB, HEAD, MEBIBYTE, SERIES, Pieces, endure
from tests.harness import Running, hook, inbound, serve, settings

#: What the whole series may cost.
GROWTH = 64 * MEBIBYTE


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One service for the whole series, which costs it little memory and never an exception."""
    raw = settings(server={"request_timeout": 2.0})
    with serve(tmp_path_factory.mktemp("abused"), raw) as running:
        assert running.post(inbound("first")).status == 200
        before = running.resident()
        yield running
        assert running.resident() - before < GROWTH
        assert running.post(inbound("last")).status == 200
        assert "exception" not in running.log
        assert "failed" not in running.log


@pytest.mark.parametrize("pieces", SERIES.values(), ids=SERIES)
def test_abuse_makes_no_error_of_ours(service: Running, pieces: Pieces) -> None:
    """It is answered with 4xx, or the connection ends; what may be a push is one, and no more."""
    outcome = endure(service.wire().socket, pieces())
    assert outcome.ended
    assert not [status for status in outcome.statuses if status >= 500]
    assert "message:smuggled" not in stored.keys(service.store)


@pytest.mark.parametrize("pieces", abuse.SMUGGLING.values(), ids=abuse.SMUGGLING)
def test_a_request_of_two_meanings_is_none(service: Running, pieces: Pieces) -> None:
    """It is refused as a whole, and nothing after it on its connection is read."""
    outcome = endure(service.wire().socket, pieces())
    assert len(outcome.statuses) <= 1
    assert 200 not in outcome.statuses


@pytest.mark.parametrize("pieces", abuse.TRICKS.values(), ids=abuse.TRICKS)
def test_tricks_come_to_nothing(service: Running, pieces: Pieces) -> None:
    """What looks like a push is taken, and none of what else it says is believed."""
    assert set(endure(service.wire().socket, pieces()).statuses) == {200}
    assert stored.clients(service.store) == {"127.0.0.1"}


@pytest.mark.parametrize("pieces", abuse.CODED.values(), ids=abuse.CODED)
def test_an_encoded_body_is_refused(service: Running, pieces: Pieces) -> None:
    """415 for whatever stands beside `identity`, in one header or two."""
    assert endure(service.wire().socket, pieces()).statuses == [415]


def test_nothing_is_decompressed(service: Running) -> None:
    """Fifty megabytes in sixty kilobytes stay sixty, called gzip or not called anything."""
    before = service.resident()
    for n in range(20):
        named = {"content_encoding": "gzip"} if n % 2 else {}
        assert service.post(BOMB, hook("tilil"), **named).status in (400, 415)
    assert service.resident() - before < 16 * MEBIBYTE


@pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
def test_what_is_only_called_encoded_is_taken(service: Running, encoding: str) -> None:
    """`identity` and an empty header mean the body as it is."""
    pushed = abuse.plain(
        f"plain {encoding}", HEAD + b"Content-Encoding: %b\r\n" % encoding.encode()
    )
    assert endure(service.wire().socket, [pushed]).statuses == [200]
