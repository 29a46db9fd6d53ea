"""Key-encryption keys: one file per provider, one line each in `PROVIDERS`.

A data key never leaves this process unwrapped: `wrap` and `unwrap` hand it to the provider, or bring the provider's key to it.
"""

import importlib
from collections.abc import Mapping
from typing import Final, Protocol, cast

import msgspec

from modelward_runtime.config import AwsKmsKeys, SecretKeys, VaultKeys

PROVIDERS: Final[Mapping[type, str]] = {
    SecretKeys: "modelward_runtime.store.kek.secret",  # files of a mounted Secret
    VaultKeys: "modelward_runtime.store.kek.vault",  # Vault's Transit engine
    AwsKmsKeys: "modelward_runtime.store.kek.awskms",  # AWS KMS; the extra `aws`
}
"""The module of each provider, by its section in boot.json. A module has `connect(keys)`; only the one that is used is imported."""


class WrappedKey(msgspec.Struct, frozen=True):
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

    kek_id: str
    """What `wrap` calls it; empty where there is none to wrap with: a file without a given id, a directory of keys."""

    def wrap(self, data_key: bytes, context: bytes, tenant: str = "") -> WrappedKey:
        """Wrap 32 bytes. `context` (32 bytes) is authenticated and must be the same at `unwrap`.

        It binds the tenant too; `tenant` is for services whose policies can ask for it, and must be the same then as well.
        """

    def unwrap(self, wrapped: WrappedKey, context: bytes, tenant: str = "") -> bytes:
        """Return the 32 bytes. The caller checks them against the manifest's commitment."""


def connect(keys: SecretKeys | VaultKeys | AwsKmsKeys) -> KeyEncryptionKey:
    """The keys that boot.json names. Nothing is asked of a service before the first use."""
    return cast("KeyEncryptionKey", importlib.import_module(PROVIDERS[type(keys)]).connect(keys))
