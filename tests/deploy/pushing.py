"""Clients with a connection for each push, as providers have; until their input ends.

    python -m tests.deploy.pushing http://127.0.0.1:8080/hooks/tilil NAME < credential

Prints what was answered as JSON: how often which status or error, and the ids that got a 200.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import sys
import threading
from collections import Counter
from urllib.parse import urlsplit

from tests.harness import inbound

_CLIENTS = 8


def main(url: str, name: str) -> None:
    """Pushes until there is no more input; its first line is the credential."""
    token = sys.stdin.readline().strip()
    outcomes: Counter[str] = Counter()
    acked: list[str] = []
    done = threading.Event()

    def client(number: int) -> None:
        n = 0
        while not done.is_set():
            n += 1
            id_ = f"{name}-{number}-{n}"
            outcome = _push(url, inbound(id_, "GAME", api_token=token))
            outcomes[outcome] += 1
            if outcome == "200":
                acked.append(id_)
            if n == 1:
                sys.stdout.write("pushing\n")
                sys.stdout.flush()

    clients = [threading.Thread(target=client, args=(number,)) for number in range(_CLIENTS)]
    for thread in clients:
        thread.start()
    sys.stdin.read()
    done.set()
    for thread in clients:
        thread.join()
    sys.stdout.write(json.dumps({"outcomes": outcomes, "acked": acked}))


def _push(url: str, body: bytes) -> str:
    """The status, or what went wrong."""
    place = urlsplit(url)
    assert place.hostname
    connection = http.client.HTTPConnection(place.hostname)
    try:
        # The name is known to the other machine alone.
        plain = socket.create_connection(("127.0.0.1", place.port or 443), 30)
        tls = place.scheme == "https"
        wrap = ssl._create_unverified_context().wrap_socket
        connection.sock = wrap(plain, server_hostname=place.hostname) if tls else plain
        connection.request("POST", place.path, body)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()
    return str(answer.status)


if __name__ == "__main__":
    main(*sys.argv[1:])
