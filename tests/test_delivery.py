"""Each provider's own way of telling what became of a message, over real sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from receiver.store.health_reads import store_health
from tests import stored
from tests.cli.program import run
from tests.cli.test_send import NUMBER, faking, sources
from tests.harness import TOKEN, serve
from tests.ports import free_port


@pytest.mark.parametrize(
    "provider", ["tilil", "tsconect", "talkntalk", "text-connect", "rayprotech"]
)
def test_a_message_is_followed_to_the_handset(tmp_path: Path, provider: str) -> None:
    """By callback or by asking, signed or with a secret URL, by its id or by person and text."""
    port = free_port()
    hook = f"http://127.0.0.1:{port}/hooks/{provider}"
    options: dict[str, Any] = {"callbacks": {}, "secrets": {}}
    send: dict[str, Any] = {}
    if provider == "tilil":
        options["callbacks"][provider] = f"{hook}/{TOKEN}"
    elif provider == "talkntalk":
        options["callbacks"][provider] = hook
        options["secrets"][provider] = TOKEN
    elif provider == "tsconect":
        send["callback_url"] = f"{hook}/{TOKEN}"
    with faking(**options) as fake:
        raw = sources(fake, provider, **send)
        raw["server"]["port"] = port
        with serve(tmp_path, raw) as service:
            result = run(service.folder, "send", "--to", NUMBER, "--text", "karibu", "--wait")
            assert (result.returncode, result.stderr) == (0, "")
            assert result.stdout.rstrip().endswith("delivered")
            assert len(fake.sent) == 1
        [message] = stored.messages(service.store)
        assert (message.state, message.status) == ("sent", "delivered")
        assert store_health(service.store, ()).unjoined == 0
