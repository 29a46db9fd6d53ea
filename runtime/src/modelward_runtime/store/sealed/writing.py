"""Writes a sealed folder, and new keys into one: what `modelward seal` and `modelward rewrap` do.

Memory stays flat whatever the model's size, plaintext is written nowhere, and a folder that was not finished never has the name that
was asked for. It must not know what the files mean: they come as sources.
"""

import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric import ec

from modelward_runtime.errors import LoadReason
from modelward_runtime.store.kek import KeyEncryptionKey, WrappedKey
from modelward_runtime.store.sealed import canonical, keys, manifest, signature
from modelward_runtime.store.sealed.manifest import Manifest, SealedFile
from modelward_runtime.store.sealed.opening import KEYS_SIGNATURE, MODEL_SIGNATURE
from modelward_runtime.store.sealed.refusals import refuse
from modelward_runtime.store.sealed.stream import Encryptor
from modelward_runtime.store.sealed.targets import Target, in_folder, new_folder, sync, write_file

Progress = Callable[[int], object]  # called with the number of plaintext bytes just sealed
Random = Callable[[int], bytes]
_NOT_MODEL: Final = (keys.NAME, KEYS_SIGNATURE, MODEL_SIGNATURE)
_NOT_KEYS: Final = ("data", manifest.NAME, KEYS_SIGNATURE, MODEL_SIGNATURE)


class Source(Protocol):
    """A file of the model."""

    @property
    def path(self) -> str:
        """Where it is in the sealed model."""

    def chunks(self) -> Iterator[bytes | memoryview]:
        """The plaintext, in pieces; each is used before the next is asked for."""


@dataclass(frozen=True)
class Identity:
    """What a sealed model is bound to."""

    tenant: str
    model: str
    version: str


@dataclass(frozen=True)
class Sealer:
    """With which keys; `kek_id` is the id of `kek`. `certificates` in DER, the signing key's own first: none for key mode."""

    kek: KeyEncryptionKey
    kek_id: str
    sign_key: ec.EllipticCurvePrivateKey
    random: Random = secrets.token_bytes
    certificates: tuple[bytes, ...] = ()


def seal(
    sources: Sequence[Source],
    destination: Path,
    identity: Identity,
    sealer: Sealer,
    progress: Progress = lambda _: None,
) -> str:
    """Write the folder `destination` and return its digest; FileExistsError, or LoadError for what cannot be sealed."""
    with new_folder(destination) as target:
        return seal_into(target, sources, identity, sealer, progress)


def seal_into(
    target: Target, sources: Sequence[Source], identity: Identity, sealer: Sealer, progress: Progress = lambda _: None
) -> str:
    """Write a sealed model's files, model.sig last, and return its digest."""
    ordered = sorted(sources, key=lambda source: source.path)
    check(identity)
    manifest.check_paths([source.path for source in ordered])
    data_key = sealer.random(keys.DATA_KEY_SIZE)
    files = tuple(
        _seal_file(target, f"data/{index}", source, identity, data_key, sealer.random, progress)
        for index, source in enumerate(ordered)
    )
    content = canonical.encode(
        Manifest(
            tenant=identity.tenant,
            model=identity.model,
            version=identity.version,
            key_commitment=keys.commitment(data_key),
            files=files,
        )
    )
    sealed, digest = manifest.parse(content), manifest.digest(content)
    write_file(target, manifest.NAME, content)
    wrapped = [wrap(digest, identity.tenant, data_key, sealer)]
    for name, made in keys_files(digest, wrapped, sealer.sign_key, sealer.certificates).items():
        write_file(target, name, made)
    signed = {manifest.NAME: digest, **dict(zip(sealed.data_names, (file.sha256 for file in files), strict=True))}
    signature_file = signature.sign(sealer.sign_key, signed, identity.model, _NOT_MODEL, sealer.certificates)
    write_file(target, MODEL_SIGNATURE, signature_file)
    return f"sha256:{digest}"


def check(identity: Identity) -> None:
    """Refuse what no manifest can say; LoadError SealInvalid."""
    manifest.check_words(tenant=identity.tenant, model=identity.model, version=identity.version)


def wrap(manifest_sha256: str, tenant: str, data_key: bytes, sealer: Sealer) -> WrappedKey:
    """The data key for one key-encryption key and one manifest; LoadError ConfigInvalid when the key has another id."""
    wrapped = sealer.kek.wrap(data_key, keys.context(manifest_sha256, sealer.kek_id), tenant)
    if wrapped.kek_id != sealer.kek_id:
        raise refuse(
            LoadReason.CONFIG_INVALID,
            f"the {wrapped.provider} key is called {wrapped.kek_id}, and {sealer.kek_id} was given as its id",
        )
    return wrapped


def keys_files(
    manifest_sha256: str,
    wrapped: Sequence[WrappedKey],
    sign_key: ec.EllipticCurvePrivateKey,
    certificates: tuple[bytes, ...] = (),
) -> Mapping[str, bytes]:
    """keys.json and keys.sig, the two files that a rotation replaces."""
    content = keys.encode(manifest_sha256, wrapped)
    digest = hashlib.sha256(content).hexdigest()
    return {
        keys.NAME: content,
        KEYS_SIGNATURE: signature.sign(sign_key, {keys.NAME: digest}, "keys", _NOT_KEYS, certificates),
    }


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One rewrap of a folder at a time: two would mix one's keys.json with the other's keys.sig, and nobody could open it again.

    The others wait. On a file system without locks nobody does. OSError when there is no such folder.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def replace_keys(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put new keys.json and keys.sig into a sealed folder, by two renames, for a caller who is `alone`.

    Both are written and synced beside the folder first. A crash between the renames leaves a keys.json that keys.sig does not sign,
    which every reader refuses; `finish_replacing` completes it.
    """
    beside = _beside(folder)
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    for name in (keys.NAME, KEYS_SIGNATURE):
        write_file(in_folder(beside), name, files[name])
    sync(beside)
    _move(beside, folder)


def finish_replacing(folder: Path) -> bool:
    """Complete a replacement that a crash has cut between its two renames; False when there is none."""
    beside = _beside(folder)
    if not beside.is_dir():
        return False
    halfway = (beside / KEYS_SIGNATURE).is_file() and not (beside / keys.NAME).exists()
    if halfway:
        _move(beside, folder)
    shutil.rmtree(beside, ignore_errors=True)
    return halfway


def _move(beside: Path, folder: Path) -> None:
    for name in (keys.NAME, KEYS_SIGNATURE):
        if (beside / name).exists():
            (beside / name).rename(folder / name)
    sync(folder)
    beside.rmdir()


def _beside(folder: Path) -> Path:
    real = folder.resolve()
    return real.parent / f".{real.name}.rewrap"


def _seal_file(
    target: Target, name: str, source: Source, identity: Identity, data_key: bytes, random: Random, progress: Progress
) -> SealedFile:
    bound = manifest.associated_data(identity.tenant, identity.model, identity.version, source.path)
    digest = hashlib.sha256()
    plain = size = 0
    with target.open(name) as file:

        def sink(ciphertext: bytes) -> None:
            nonlocal size
            digest.update(ciphertext)
            file.write(ciphertext)
            size += len(ciphertext)

        encryptor = Encryptor(data_key, bound, sink, random)
        for chunk in source.chunks():
            encryptor.write(chunk)
            plain += len(chunk)
            progress(len(chunk))
        encryptor.finish()
    return SealedFile(path=source.path, plaintext_size=plain, size=size, sha256=digest.hexdigest())
