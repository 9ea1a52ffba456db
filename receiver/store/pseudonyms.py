"""Makes pseudonyms for the numbers of forgotten people, and for purged keys.

A pseudonym is a keyed hash of the number: with the number its opt-outs can be found, from the store
the number cannot be read. The key is in the store, and all numbers can be tried with it, so this is
no protection against somebody who has the file and the time.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Any

from receiver.store.tx import Tx

#: The first character of every pseudonym; no number begins with it.
MARK = "#"
KEY = "SELECT bytes FROM meta WHERE key = 'pseudonyms'"
# Selects 1 if there is any; `$` is the next character after `#`.
ANY = "SELECT 1 FROM opt_outs WHERE msisdn >= '#' AND msisdn < '$' LIMIT 1"
#: Selects what `alias_of` takes: the key, if there is any pseudonym.
KEY_IF_ANY = f"{KEY} AND EXISTS ({ANY})"


def pseudonym(key: bytes, text: str) -> str:
    """Returns the pseudonym of a text: `#` and 32 hexadecimal digits."""
    return MARK + hmac.digest(key, text.encode(), "sha256")[:16].hex()


def digest(key: bytes, *texts: str) -> bytes:
    """Returns a keyed digest of texts, of eight bytes."""
    return hmac.digest(key, "\0".join(texts).encode(), "sha256")[:8]


def key_of(tx: Tx) -> bytes:
    """Returns the key of this store."""
    (key,) = tx.execute(KEY).fetchone()
    return bytes(key)


def alias_of(keys: Sequence[Any], msisdn: str | None) -> str | None:
    """Returns the pseudonym of a person by what `KEY_IF_ANY` selects; None if that is nothing."""
    return pseudonym(keys[0][0], msisdn) if keys and msisdn else None


def alias(tx: Tx, msisdn: str | None) -> str | None:
    """Returns the pseudonym of a person; None if nobody was forgotten."""
    return alias_of(tx.execute(KEY_IF_ANY).fetchall(), msisdn)


def aliases(tx: Tx, people: list[str]) -> dict[str, str]:
    """Returns people by their pseudonyms."""
    key = key_of(tx)
    return {pseudonym(key, person): person for person in people}
