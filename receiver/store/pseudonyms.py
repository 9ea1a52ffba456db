"""Makes pseudonyms for the numbers of people who were forgotten, and for purged keys.

A keyed hash of the number: who asks for the number finds its opt-outs, who reads the store does not
find the number. There are few enough numbers to try all of them with the key, which is in the
store; so this keeps numbers from being seen, not from somebody who has the file and the time.
"""

from __future__ import annotations

import hmac

from receiver.store.tx import Tx

#: The first character of every pseudonym, and of no number.
MARK = "#"
KEY = "SELECT value FROM meta WHERE key = 'pseudonyms'"
# Whether there is any. `$` follows `#`.
ANY = "SELECT 1 FROM opt_outs WHERE msisdn >= '#' AND msisdn < '$' LIMIT 1"


def pseudonym(key: bytes, text: str) -> str:
    """The name that stands for `text`: `#` and 32 hexadecimal digits."""
    return MARK + hmac.digest(key, text.encode(), "sha256")[:16].hex()


def digest(key: bytes, *texts: str) -> bytes:
    """Eight bytes that stand for texts: equal for equal ones, and nothing without the key."""
    return hmac.digest(key, "\0".join(texts).encode(), "sha256")[:8]


def key_of(tx: Tx) -> bytes:
    """The key of this store."""
    (key,) = tx.execute(KEY).fetchone()
    return bytes(key)


def alias(tx: Tx, msisdn: str | None) -> str | None:
    """The pseudonym that a person's opt-outs may stand under; None where nobody was forgotten."""
    if not msisdn or tx.execute(ANY).fetchone() is None:
        return None
    return pseudonym(key_of(tx), msisdn)


def aliases(tx: Tx, people: list[str]) -> dict[str, str]:
    """People by the pseudonyms that their opt-outs may stand under; empty as for `alias`."""
    if not people or tx.execute(ANY).fetchone() is None:
        return {}
    key = key_of(tx)
    return {pseudonym(key, person): person for person in people}
