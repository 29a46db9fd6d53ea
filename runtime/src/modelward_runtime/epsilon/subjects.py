"""What subjects are called in the ledger: by a keyed hash, so that whoever may read it cannot tell who has called.

Used by `ledger.py`. The key is a Secret's; without it nobody can tell whether a name that they guess is there. With another key every
subject would be a new one, so the ledger remembers a check value of the key and no other key is ever written under.
"""

import hashlib
import hmac
from pathlib import Path
from typing import Final

from modelward_runtime.epsilon.config import LedgerPlace

LEAST_KEY: Final = 16  # bytes
EVERYBODY: Final = "all"  # the one row, and the one shard, of scope All


class KeyUnusable(Exception):
    """The key cannot be read, or is too short to hide anything."""


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
        if len(key) < LEAST_KEY:
            raise KeyUnusable(f"{place.key_file}: the key has {len(key)} bytes, {LEAST_KEY} are needed")
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
    if place.key_file is None:
        return Everybody()
    try:
        return Named(place, Path(place.key_file).read_bytes())
    except OSError as error:
        raise KeyUnusable(f"{place.key_file}: {error.strerror}") from None
