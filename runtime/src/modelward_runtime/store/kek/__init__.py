"""Key-encryption keys: one file per provider, one line each in `PROVIDERS`.

A data key never leaves this process unwrapped: `wrap` and `unwrap` hand it to the provider, or bring the provider's key to it.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class WrappedKey:
    """A data key as `keys.json` holds it."""

    provider: str
    """`Secret`, `Vault` or `AWSKMS`."""
    kek_id: str
    """Which key-encryption key: a name of 1 to 253 letters, digits and `-_.:/`."""
    kek_version: str
    """Which version of it, in the provider's own words; for a Secret, the first 8 hex digits of the key's check value."""
    wrapped: bytes


class KeyEncryptionKey(Protocol):
    """One provider's key. Raises `errors.LoadError` of stage `decrypt` with a `Key…` reason."""

    def wrap(self, data_key: bytes, context: bytes) -> WrappedKey:
        """Wrap 32 bytes. `context` (32 bytes) is authenticated and must be the same at `unwrap`."""

    def unwrap(self, wrapped: WrappedKey, context: bytes) -> bytes:
        """Return the 32 bytes. The caller checks them against the manifest's commitment."""
