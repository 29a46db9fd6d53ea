"""What subjects are called in the ledger: by a keyed hash, so that whoever may read it cannot tell who has called.

Used by `ledger.py`. The key is a Secret's; without it nobody can tell whether a name that they guess is there. With another key every
subject would be a new one, so the ledger remembers a check value of the key and no other key is ever written under.
"""

import hashlib
import hmac
from typing import Final

from modelward_runtime.epsilon.config import LedgerPlace
from modelward_runtime.hmackey import read_key

EVERYBODY: Final = "all"  # the one row, and the one shard, of scope All


class Everybody:
    """Scope All: one row for whoever calls."""

    check: Final = "all"

    def name(self, subject: str) -> str:
        """The row of a subject."""
        return EVERYBODY

    def shard(self, row: str) -> str:
        """The shard of a row."""
        return row


class Named:
    """Scope Subject: a row for each, among sixteen shards by its first digit."""

    def __init__(self, place: LedgerPlace, key: bytes) -> None:
        self._key = hmac.digest(key, f"epsilon\0{place.namespace}\0{place.policy}".encode(), hashlib.sha256)
        self.check = self._digest(b"check")[:16]

    def name(self, subject: str) -> str:
        """The row of a subject: 128 bits. Two of one name would share a budget, which counts too much."""
        return self._digest(b"subject\0" + subject.encode())[:32]

    def shard(self, row: str) -> str:
        """The shard of a row."""
        return row[0]

    def _digest(self, message: bytes) -> str:
        return hmac.digest(self._key, message, hashlib.sha256).hex()


def subjects_of(place: LedgerPlace) -> Everybody | Named:
    """How this ledger names subjects. Raises `KeyUnusable`."""
    return Everybody() if place.key_file is None else Named(place, read_key(place.key_file))
