"""Opens a sealed folder, and verifies a signed plain one: what `load.py` and the commands call, in this order.

    is_sealed ▶ check ▶ unwrap ▶ decrypt          a sealed folder
                verify_plain                      a plain folder with model.sig

Every step raises `errors.LoadError` with the exact reason, and no step trusts what a former one has not proven: sizes are believed
once the signature holds and the files have them, the wrapped key once keys.sig holds, plaintext once every tag and digest was right.
It must not parse models or know where folders come from.
"""

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

import msgspec

from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.memory import anonymous
from modelward_runtime.store.kek import KeyEncryptionKey, WrappedKey
from modelward_runtime.store.sealed import folder as folders
from modelward_runtime.store.sealed import keys, signature
from modelward_runtime.store.sealed import manifest as manifests
from modelward_runtime.store.sealed.decrypt import Allocate, check_digests, decrypt_files
from modelward_runtime.store.sealed.manifest import Manifest
from modelward_runtime.store.sealed.refusals import refuse, seal_invalid, signature_invalid
from modelward_runtime.store.sealed.signature import Signer, Trust
from modelward_runtime.store.verify import hash_file

MODEL_SIGNATURE: Final = "model.sig"
KEYS_SIGNATURE: Final = "keys.sig"
_AROUND: Final = (manifests.NAME, MODEL_SIGNATURE, keys.NAME, KEYS_SIGNATURE)
_SHOWN = 3

# What is told when no entry opened the model, most telling first: trying again may help with the first of them.
_TELLING = (
    LoadReason.KEY_SERVICE_UNREACHABLE,
    LoadReason.KEY_DENIED,
    LoadReason.KEY_WRONG,
    LoadReason.KEY_NOT_FOUND,
)


class Expected(msgspec.Struct, frozen=True):
    """What must hold: the cluster's tenant, the spec's model and version, and whose signatures count."""

    tenant: str
    model: str
    version: str
    trust: Trust


class Checked(msgspec.Struct, frozen=True):
    """A sealed folder whose signatures, manifest, file set and sizes have held; its ciphertexts are not read yet."""

    folder: Path
    manifest: Manifest
    manifest_sha256: str
    keys: tuple[WrappedKey, ...]
    signer: Signer
    keys_signer: Signer

    @property
    def digest(self) -> str:
        """The digest of the model: a rotation of keys does not change it."""
        return f"sha256:{self.manifest_sha256}"

    @property
    def size(self) -> int:
        """Bytes of ciphertext."""
        return sum(file.size for file in self.manifest.files)


class Unwrapped(msgspec.Struct, frozen=True):
    """The data key, and which key-encryption key opened it. `repr` shows no key."""

    data_key: bytes
    key: WrappedKey

    def __repr__(self) -> str:
        return f"Unwrapped({self.key.provider} {self.key.kek_id} {self.key.kek_version})"


def is_sealed(names: Collection[str]) -> bool:
    """Is a folder with these relative paths a sealed model, or meant to be one? Pure."""
    return manifests.NAME in names and (keys.NAME in names or any(name.startswith("data/") for name in names))


def check(folder: Path, expected: Expected) -> Checked:
    """A sealed folder that is signed by someone trusted, whole, and sealed for just this tenant, model and version. Needs no key."""
    checked = check_signed(folder, expected.trust)
    match(checked.manifest, tenant=expected.tenant, model=expected.model, version=expected.version)
    return checked


def check_signed(folder: Path, trust: Trust) -> Checked:
    """As `check`, for whomever it was sealed: the load path calls `check`, the commands call this and `match`."""
    listed = folders.listing(folder)
    signer, signed = _signature(folder, listed, MODEL_SIGNATURE, trust)
    content = _signed_file(folder, listed, manifests.NAME, manifests.MOST_BYTES, signed, MODEL_SIGNATURE)
    manifest = manifests.parse(content)
    _check_files(manifest, signed, listed)
    keys_signer, signed_keys = _signature(folder, listed, KEYS_SIGNATURE, trust)
    if set(signed_keys) != {keys.NAME}:
        raise signature_invalid(f"{KEYS_SIGNATURE} must be over {keys.NAME} alone, and is over {_some(signed_keys)}")
    wrapped = _signed_file(folder, listed, keys.NAME, keys.MOST_BYTES, signed_keys, KEYS_SIGNATURE)
    digest = manifests.digest(content)
    return Checked(folder, manifest, digest, keys.parse(wrapped, digest), signer, keys_signer)


def match(manifest: Manifest, **expected: str) -> None:
    """Compare `tenant`, `model` and `version`, those that are given; LoadError SealMismatch."""
    for field, wanted in expected.items():
        found = getattr(manifest, field)
        if found != wanted:
            raise refuse(
                LoadReason.SEAL_MISMATCH, f"the model was sealed for the {field} {found!r}, and {wanted!r} is expected"
            )


def unwrap(checked: Checked, kek: KeyEncryptionKey) -> Unwrapped:
    """The data key, from whichever entry of keys.json this key-encryption key opens; LoadError with a Key… reason."""
    refusals: list[LoadError] = []
    for entry in checked.keys:
        try:
            data_key = kek.unwrap(entry, keys.context(checked.manifest_sha256, entry.kek_id), checked.manifest.tenant)
        except LoadError as error:
            refusals.append(error)
            continue
        if len(data_key) == keys.DATA_KEY_SIZE and keys.commitment(data_key) == checked.manifest.key_commitment:
            return Unwrapped(data_key, entry)
        refusals.append(
            refuse(
                LoadReason.KEY_WRONG,
                f"{entry.provider} key {entry.kek_id}: what it unwraps is not the data key that {manifests.NAME} commits to",
            )
        )
    raise min(refusals, key=lambda error: _TELLING.index(error.reason) if error.reason in _TELLING else -1)


def decrypt(
    checked: Checked, data_key: bytes, threads: int, allocate: Allocate = lambda _, size: anonymous(size)
) -> dict[str, memoryview]:
    """The plaintext of every file by its path, in anonymous memory; `decrypt.wipe` overwrites and frees it.

    Hashing and decryption overlap; nothing is returned before both have ended well. LoadError SealInvalid or DecryptionFailed, and
    then every buffer was overwritten.
    """
    return decrypt_files(checked.folder, checked.manifest, data_key, threads, allocate)


def verify_data(checked: Checked, threads: int) -> None:
    """Hash every ciphertext, without a key: what `modelward verify` adds to `check_signed`. LoadError SealInvalid."""
    check_digests(checked.folder, checked.manifest, threads)


def verify_plain(folder: Path, trust: Trust) -> Signer:
    """Who signed a plain folder: model.sig over every other file, no more and no less. Hashes every file."""
    listed = folders.listing(folder)
    signer, signed = _signature(folder, listed, MODEL_SIGNATURE, trust)
    there = set(listed) - {MODEL_SIGNATURE}
    if unsigned := there - set(signed):
        raise signature_invalid(
            f"{_some(unsigned)} lies in the folder and is not signed: remove it, or sign the folder again"
        )
    if missing := set(signed) - there:
        raise signature_invalid(f"{_some(missing)} is signed and missing")
    for name, digest in signed.items():
        if _hash(folder, name) != digest:
            raise signature_invalid(f"{name} is not the file that {signer.name} signed: it was changed after signing")
    return signer


def _hash(folder: Path, name: str) -> str:
    try:
        return hash_file(folder / name)
    except OSError as error:
        raise signature_invalid(f"{name} cannot be read: {error.strerror}") from None


def _signature(folder: Path, listed: Collection[str], name: str, trust: Trust) -> tuple[Signer, Mapping[str, str]]:
    if name not in listed:
        raise refuse(LoadReason.SIGNATURE_MISSING, f"there is no {name} in {folder}: the model is not signed")
    is_sealed_folder = is_sealed(listed)
    return signature.verify(folders.read(folder, name, signature.MOST_BYTES), trust, name, low_s=is_sealed_folder)


def _signed_file(
    folder: Path, listed: Collection[str], name: str, most: int, signed: Mapping[str, str], by: str
) -> bytes:
    """The bytes of a file, which must be those that were signed."""
    if name not in listed:
        raise seal_invalid(f"{name} is missing")
    content = folders.read(folder, name, most)
    if signed.get(name) != hashlib.sha256(content).hexdigest():
        raise signature_invalid(
            f"{name} is not the file that {by} signs: it was changed after signing, or belongs to another model"
        )
    return content


def _check_files(manifest: Manifest, signed: Mapping[str, str], listed: Mapping[str, int]) -> None:
    """The set of files, their sizes, and that signature and manifest speak of the same ones."""
    data = dict(zip(manifest.data_names, manifest.files, strict=True))
    if extra := set(listed) - set(data) - set(_AROUND):
        raise seal_invalid(f"{_some(extra)} does not belong to the sealed model: remove it, or seal the folder again")
    if missing := {*data, *_AROUND} - set(listed) - {KEYS_SIGNATURE}:
        raise seal_invalid(f"{_some(missing)} is missing")
    if {name: signed[name] for name in signed if name != manifests.NAME} != {
        n: file.sha256 for n, file in data.items()
    }:
        raise seal_invalid(f"{MODEL_SIGNATURE} and {manifests.NAME} do not speak of the same files")
    for name, file in data.items():
        if listed[name] != file.size:
            raise seal_invalid(
                f"{name} ({file.path}) has {listed[name]} bytes, and {manifests.NAME} says {file.size}: was it cut?"
            )


def _some(names: Collection[str]) -> str:
    some = sorted(names)[:_SHOWN]
    more = len(names) - len(some)
    return ", ".join(folders.shown(name) for name in some) + (f" and {more} more" if more else "")
