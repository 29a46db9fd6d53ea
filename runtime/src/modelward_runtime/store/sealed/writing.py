"""Writes a sealed folder, and new keys into one: what `modelward seal` and `modelward rewrap` do.

Memory stays flat whatever the model's size, plaintext is written nowhere, and a folder that was not finished never has the name that
was asked for. It must not know what the files mean: they come as sources.
"""

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric import ec

from modelward_runtime.store.kek import KeyEncryptionKey, WrappedKey
from modelward_runtime.store.sealed import canonical, keys, manifest, signature
from modelward_runtime.store.sealed.manifest import Manifest, SealedFile
from modelward_runtime.store.sealed.opening import KEYS_SIGNATURE, MODEL_SIGNATURE
from modelward_runtime.store.sealed.stream import Encryptor

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
    """With which keys; `kek_id` is the id of `kek`."""

    kek: KeyEncryptionKey
    kek_id: str
    sign_key: ec.EllipticCurvePrivateKey
    random: Random = secrets.token_bytes


def seal(
    sources: Sequence[Source],
    destination: Path,
    identity: Identity,
    sealer: Sealer,
    progress: Progress = lambda _: None,
) -> str:
    """Write the folder `destination` and return its digest; FileExistsError, or LoadError for what cannot be sealed."""
    ordered = sorted(sources, key=lambda source: source.path)
    manifest.check_paths([source.path for source in ordered])
    data_key = sealer.random(keys.DATA_KEY_SIZE)
    with _draft(destination) as folder:
        (folder / "data").mkdir()
        content = canonical.encode(
            Manifest(
                tenant=identity.tenant,
                model=identity.model,
                version=identity.version,
                key_commitment=keys.commitment(data_key),
                files=tuple(
                    _seal_file(source, folder / "data" / str(index), identity, data_key, sealer.random, progress)
                    for index, source in enumerate(ordered)
                ),
            )
        )
        sealed, digest = manifest.parse(content), manifest.digest(content)
        _write(folder / manifest.NAME, content)
        for name, made in keys_files(digest, [wrap(digest, data_key, sealer)], sealer.sign_key).items():
            _write(folder / name, made)
        signed = {manifest.NAME: digest, **dict(zip(sealed.data_names, (f.sha256 for f in sealed.files), strict=True))}
        _write(folder / MODEL_SIGNATURE, signature.sign(sealer.sign_key, signed, identity.model, _NOT_MODEL))
        sync(folder / "data")
    return f"sha256:{digest}"


def wrap(manifest_sha256: str, data_key: bytes, sealer: Sealer) -> WrappedKey:
    """The data key for one key-encryption key and one manifest."""
    return sealer.kek.wrap(data_key, keys.context(manifest_sha256, sealer.kek_id))


def keys_files(
    manifest_sha256: str, wrapped: Sequence[WrappedKey], sign_key: ec.EllipticCurvePrivateKey
) -> Mapping[str, bytes]:
    """keys.json and keys.sig, the two files that a rotation replaces."""
    content = keys.encode(manifest_sha256, wrapped)
    digest = hashlib.sha256(content).hexdigest()
    return {
        keys.NAME: content,
        KEYS_SIGNATURE: signature.sign(sign_key, {keys.NAME: digest}, "keys", _NOT_KEYS),
    }


def replace_keys(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put new keys.json and keys.sig into a sealed folder, by two renames.

    Both are written and synced beside the folder first. A crash between the renames leaves a keys.json that keys.sig does not sign,
    which every reader refuses; `finish_replacing` completes it.
    """
    beside = _beside(folder)
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    for name in (keys.NAME, KEYS_SIGNATURE):
        _write(beside / name, files[name])
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


def sync(path: Path) -> None:
    """Have a file's bytes or a folder's names on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _move(beside: Path, folder: Path) -> None:
    for name in (keys.NAME, KEYS_SIGNATURE):
        if (beside / name).exists():
            (beside / name).rename(folder / name)
    sync(folder)
    beside.rmdir()


def _beside(folder: Path) -> Path:
    real = folder.resolve()
    return real.parent / f".{real.name}.rewrap"


@contextmanager
def _draft(destination: Path) -> Iterator[Path]:
    """A new folder beside the destination, which takes its name at the end and is gone if that does not come."""
    if os.path.lexists(destination):
        raise FileExistsError(17, "there is something already; give a name that is free", str(destination))
    folder = destination.parent / f".{destination.name}.{secrets.token_hex(4)}.sealing"
    folder.mkdir()
    try:
        yield folder
        sync(folder)
        folder.rename(destination)
        sync(destination.parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _seal_file(
    source: Source, target: Path, identity: Identity, data_key: bytes, random: Random, progress: Progress
) -> SealedFile:
    bound = manifest.associated_data(identity.tenant, identity.model, identity.version, source.path)
    digest = hashlib.sha256()
    plain = 0
    with target.open("xb", buffering=0) as file:

        def sink(ciphertext: bytes) -> None:
            digest.update(ciphertext)
            view = memoryview(ciphertext)
            while view:
                view = view[file.write(view) :]

        encryptor = Encryptor(data_key, bound, sink, random)
        for chunk in source.chunks():
            encryptor.write(chunk)
            plain += len(chunk)
            progress(len(chunk))
        encryptor.finish()
        os.fsync(file.fileno())
        size = file.tell()
    return SealedFile(path=source.path, plaintext_size=plain, size=size, sha256=digest.hexdigest())


def _write(file: Path, content: bytes) -> None:
    with file.open("xb") as target:
        target.write(content)
        target.flush()
        os.fsync(target.fileno())
