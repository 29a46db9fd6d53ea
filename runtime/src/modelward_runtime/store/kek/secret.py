"""Key-encryption keys that lie in files: a Kubernetes Secret mounted as a directory, or one file on a laptop.

A key file is one line: base64 of 32 random bytes, as `modelward keygen kek` writes it. In a directory a file's name is the key's id.
Files are read at each use, so that a rotation needs no restart. Wrapping is AES-256-GCM with a random 96-bit nonce in front.
"""

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from modelward_runtime.config import SecretKeys
from modelward_runtime.errors import LoadReason
from modelward_runtime.store.kek import WrappedKey
from modelward_runtime.store.sealed.refusals import refuse

PROVIDER: Final = "Secret"
KEY_SIZE: Final = 32
_NONCE = 12
_MOST_BYTES = 1024  # of a key file
_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,252}\Z")


def connect(keys: SecretKeys) -> "SecretDirectory":
    """The keys of a mounted Secret, as boot.json names it."""
    return SecretDirectory(Path(keys.directory))


class SecretDirectory:
    """Every file of a directory is a key under its own name."""

    def __init__(self, directory: Path, wrap_with: str = "") -> None:
        """`wrap_with` is the id of the key that `wrap` uses; a pod only unwraps and needs none."""
        self._directory = directory
        self.kek_id = wrap_with

    def wrap(self, data_key: bytes, context: bytes, tenant: str = "") -> WrappedKey:
        """Wrap a data key with the key named at construction."""
        return SecretFile(self._file(self.kek_id), self.kek_id).wrap(data_key, context)

    def unwrap(self, wrapped: WrappedKey, context: bytes, tenant: str = "") -> bytes:
        """The data key; LoadError KeyNotFound when there is no such file, KeyWrong when it holds another key."""
        return SecretFile(self._file(wrapped.kek_id), wrapped.kek_id).unwrap(wrapped, context)

    def _file(self, kek_id: str) -> Path:
        if not is_id(kek_id):
            raise refuse(LoadReason.KEY_NOT_FOUND, f"the key id {kek_id!r} cannot be the name of a key in a Secret")
        return self._directory / kek_id


class SecretFile:
    """One key in one file. Without `kek_id` it tries to open what is wrapped under any id."""

    def __init__(self, file: Path, kek_id: str = "", random: Callable[[int], bytes] = os.urandom) -> None:
        self._file = file
        self._random = random
        self.kek_id = kek_id

    def wrap(self, data_key: bytes, context: bytes, tenant: str = "") -> WrappedKey:
        """Wrap a data key."""
        if not is_id(self.kek_id):
            raise refuse(
                LoadReason.CONFIG_INVALID,
                f"a key file needs an id of letters, digits, -, _ and ., and {self.kek_id!r} is none: it is the key's name in the Secret",
            )
        key = read_key(self._file)
        nonce = self._random(_NONCE)
        sealed = nonce + AESGCM(key).encrypt(nonce, data_key, context)
        return WrappedKey(PROVIDER, self.kek_id, key_version(key), sealed)

    def unwrap(self, wrapped: WrappedKey, context: bytes, tenant: str = "") -> bytes:
        """The data key; LoadError KeyNotFound or KeyWrong."""
        if wrapped.provider != PROVIDER:
            raise refuse(
                LoadReason.KEY_NOT_FOUND,
                f"the model is wrapped for the {wrapped.provider} key {wrapped.kek_id}, and the key at hand is a Secret's",
            )
        if self.kek_id not in {"", wrapped.kek_id}:
            raise refuse(
                LoadReason.KEY_NOT_FOUND, f"the model is wrapped for the key {wrapped.kek_id}, not {self.kek_id}"
            )
        key = read_key(self._file)
        try:
            return AESGCM(key).decrypt(wrapped.wrapped[:_NONCE], wrapped.wrapped[_NONCE:], context)
        except (InvalidTag, ValueError):
            raise _wrong(self._file, key, wrapped) from None


def read_key(file: Path) -> bytes:
    """The 32 bytes in a key file; LoadError KeyNotFound or KeyWrong."""
    try:
        with file.open("rb") as source:
            content = source.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise refuse(LoadReason.KEY_NOT_FOUND, f"there is no key file {file}") from None
    except OSError as error:
        raise refuse(LoadReason.KEY_DENIED, f"the key file {file} cannot be read: {error.strerror}") from None
    try:
        key = base64.b64decode(content.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_SIZE:
        raise refuse(
            LoadReason.KEY_WRONG,
            f"{file} is no key: one line of base64 of 32 bytes, as `modelward keygen kek` writes it",
        )
    return key


def key_version(key: bytes) -> str:
    """The first 8 hex digits of the key's check value: another key under the same id has another one."""
    return hashlib.sha256(b"modelward kek v1" + key).hexdigest()[:8]


def is_id(kek_id: str) -> bool:
    """Can this be the name of a key in a Secret?"""
    return bool(_ID.match(kek_id))


def _wrong(file: Path, key: bytes, wrapped: WrappedKey) -> Exception:
    version = key_version(key)
    if version != wrapped.kek_version:
        why = f"it holds version {version} of {wrapped.kek_id}, and the model is wrapped for version {wrapped.kek_version}"
    else:
        why = "the wrapped key in keys.json was not made for this manifest.json"
    return refuse(LoadReason.KEY_WRONG, f"the key in {file} does not open the model: {why}")
