"""`keys.json`: the data key, wrapped for one key-encryption key or more; signed apart so that a rotation touches nothing else.

Written by `writing.py` and `rewrap`, read by `opening.py`. It must not do I/O and knows no provider: that is `store/kek/`.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from modelward_runtime.store.kek import WrappedKey
from modelward_runtime.store.sealed import canonical
from modelward_runtime.store.sealed.binding import bind
from modelward_runtime.store.sealed.manifest import Hex32
from modelward_runtime.store.sealed.refusals import seal_invalid

FORMAT: Final = "modelward.keys/v1"
NAME: Final = "keys.json"
MOST_BYTES: Final = 1 << 20
MOST_KEYS: Final = 16
DATA_KEY_SIZE: Final = 32
_COMMITMENT_INFO = b"modelward.sealed/v1 commitment"


class KeyEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """The data key wrapped for one key-encryption key."""

    provider: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z][A-Za-z0-9]{0,31}\Z")]
    kek_id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.:/-]{1,253}\Z")]
    kek_version: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.:/-]{1,253}\Z")]
    wrapped: Annotated[str, msgspec.Meta(min_length=4, max_length=16384)]


class Keys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """The whole of keys.json."""

    format: Literal["modelward.keys/v1"] = FORMAT
    manifest_sha256: Hex32
    keys: Annotated[tuple[KeyEntry, ...], msgspec.Meta(min_length=1, max_length=MOST_KEYS)]


def encode(manifest_sha256: str, wrapped: Sequence[WrappedKey]) -> bytes:
    """The bytes of keys.json."""
    entries = tuple(
        KeyEntry(
            provider=key.provider,
            kek_id=key.kek_id,
            kek_version=key.kek_version,
            wrapped=base64.b64encode(key.wrapped).decode(),
        )
        for key in wrapped
    )
    content = canonical.encode(Keys(manifest_sha256=manifest_sha256, keys=entries))
    parse(content, manifest_sha256)
    return content


def parse(content: bytes, manifest_sha256: str) -> tuple[WrappedKey, ...]:
    """The wrapped keys of the manifest with this digest; LoadError SealInvalid says what is wrong."""
    found = canonical.decode(content, Keys, NAME)
    if found.manifest_sha256 != manifest_sha256:
        raise seal_invalid(f"{NAME} belongs to another manifest.json: it holds the key of another model or version")
    wrapped = tuple(
        WrappedKey(entry.provider, entry.kek_id, entry.kek_version, _bytes(entry.wrapped)) for entry in found.keys
    )
    names = [(key.provider, key.kek_id, key.kek_version) for key in wrapped]
    if len(set(names)) != len(names):
        raise seal_invalid(f"{NAME} names the same key-encryption key twice")
    return wrapped


def context(manifest_sha256: str, kek_id: str) -> bytes:
    """What a wrapped key is bound to: this manifest, this key-encryption key."""
    return bind(FORMAT, manifest_sha256, kek_id)


def commitment(data_key: bytes) -> str:
    """What the manifest says about the data key: AES-GCM by itself opens the same bytes under more than one key."""
    derived = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=_COMMITMENT_INFO).derive(data_key)
    return derived.hex()


def _bytes(text: str) -> bytes:
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        content = b""
    if base64.b64encode(content).decode() != text:
        raise seal_invalid(f"{NAME} holds a wrapped key that is not canonical base64")
    return content
