"""Brings a model's bytes to this machine's disk, or finds them on a mounted volume.

`load.py` calls `fetch` on a thread of its own, because everything here blocks, and watches `Progress` from the event loop.
A file is streamed: pieces of some 64 KiB are hashed and written as they come, so memory stays flat whatever the size. It
must not judge the bytes (`load.py` compares digests, `engine.py` reads the model).

    s3://, oci://   list ▶ choose the model file ▶ room on the disk? ▶ stream into partial/ ▶ rename ▶ record the hashes
            └ found whole in the cache from before the restart: hashed again, nothing is fetched
    volume, local path   used in place, hashed where it lies

Of a sealed model the manifest is hashed, and no ciphertext: whoever decrypts it hashes the very bytes that are decrypted, and compares
them with the signed manifest. A hash from an earlier reading would prove nothing, and gigabytes would be read twice.
"""

import errno
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from modelward_runtime.config import ModelSource
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store.cache import Cache, Record
from modelward_runtime.store.locate import Location, OciLocation, choose_model_file, fetch_error, parse_uri
from modelward_runtime.store.remote import RemoteFile, Store
from modelward_runtime.store.verify import MANIFEST, combine, digest_of, files_below, is_hashed, is_sealed


@dataclass
class Progress:
    """How far the fetch is: written by its thread, read by the event loop."""

    clock: Callable[[], float] = time.monotonic
    received: int = 0  # bytes
    total: int = 0  # bytes, 0 while unknown
    cancelled: bool = False
    moved: float = field(init=False)  # when the last byte came

    def __post_init__(self) -> None:
        self.moved = self.clock()

    def touch(self, count: int = 0) -> None:
        """Bytes came, or the store answered."""
        if self.cancelled:
            raise InterruptedError("the fetch was given up")
        self.received += count
        self.moved = self.clock()

    def idle(self) -> float:
        """Seconds since the last byte."""
        return self.clock() - self.moved


@dataclass(frozen=True)
class Fetched:
    """A model on disk: its .onnx file, or manifest.json when it is sealed; its digest; the folder, None when it is a single file."""

    file: Path
    digest: str
    size: int  # bytes of all files
    cached: bool = False
    sealed: bool = False
    folder: Path | None = None


def fetch(source: ModelSource, cache: Cache, progress: Progress, stall: float) -> Fetched:
    """The model on disk, with its digest; LoadError says why not. `stall`: seconds after which a silent connection is renewed."""
    try:
        if source.directory:
            return _in_place(Path(source.directory), progress)
        location = parse_uri(source.uri)
        return _recalled(source, location, cache, progress) or _download(source, location, cache, progress, stall)
    except OSError as error:
        raise _explain_disk(error, source) from error


def _in_place(path: Path, progress: Progress) -> Fetched:
    if not path.exists():
        raise fetch_error(LoadReason.MODEL_NOT_FOUND, f"{path} does not exist")
    if not path.is_dir():
        return Fetched(path, digest_of(path, progress.touch), path.stat().st_size)
    names = set(files_below(path))
    file, sealed = _entry(names, str(path))
    progress.total = sum((path / name).stat().st_size for name in names)
    digest = digest_of(path, progress.touch)
    return Fetched(path / file, digest, progress.total, sealed=sealed, folder=path)


def _entry(names: Collection[str], where: str) -> tuple[str, bool]:
    """The file to begin with, and whether the model is sealed."""
    return (MANIFEST, True) if is_sealed(names) else (choose_model_file(names, where), False)


def _recalled(source: ModelSource, location: Location, cache: Cache, progress: Progress) -> Fetched | None:
    record = cache.recall(_identity(source), progress.touch)
    if record is None:
        return None
    fetched = _fetched(location, cache, record.files, cached=True)
    return fetched if source.digest in {None, fetched.digest} else None


def _download(source: ModelSource, location: Location, cache: Cache, progress: Progress, stall: float) -> Fetched:
    store = _connect(source, location, stall)
    files = store.files()
    progress.touch()
    sealed = not location.single and _entry({file.name for file in files}, location.uri)[1]
    target = cache.begin()
    progress.received, progress.total = 0, sum(file.size for file in files)
    try:
        _check_room(target, progress.total)
        hashes = {
            file.name: _stream(store, file, target, progress, hashed=not sealed or is_hashed(file.name))
            for file in files
        }
    except BaseException:
        cache.forget()
        raise
    cache.commit(Record(_identity(source), hashes))
    return _fetched(location, cache, hashes, cached=False)


def _connect(source: ModelSource, location: Location, stall: float) -> Store:
    """The store's client, imported only here: a volume needs none, and each store its own."""
    if isinstance(location, OciLocation):
        from modelward_runtime.store.oci import Repository  # noqa: PLC0415  start-up, as said

        return Repository(location, source.oci, source.ca_bundle_file, stall)
    from modelward_runtime.store.s3 import Bucket  # noqa: PLC0415  start-up, as said

    return Bucket(location, source.s3, source.ca_bundle_file, stall)


def _stream(store: Store, file: RemoteFile, target: Path, progress: Progress, *, hashed: bool) -> str:
    """Write one file below `target`; its hex SHA-256, empty when it is not `hashed`."""
    path = _inside(target, file.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    reading = store.read(file)
    _check_room(target, reading.size)  # a single object is not listed: its size is known only now
    digest, received = hashlib.sha256(), 0
    with path.open("wb", buffering=0) as sink:
        for piece in reading.pieces:
            view = memoryview(piece)
            if hashed or file.sha256:
                digest.update(view)
            sink.write(view)
            received += len(view)
            progress.touch(len(view))
    if received != reading.size:
        raise fetch_error(
            LoadReason.TRUNCATED,
            f"{file.key}: {received} bytes came, {reading.size} were announced",
            permanent=False,
        )
    if file.sha256 not in {"", digest.hexdigest()}:
        raise fetch_error(
            LoadReason.DIGEST_MISMATCH,
            f"{file.name}: bytes with the digest sha256:{digest.hexdigest()} came for {file.key}",
        )
    return digest.hexdigest() if hashed else ""


def _fetched(location: Location, cache: Cache, hashes: dict[str, str], *, cached: bool) -> Fetched:
    size = sum((cache.model / file).stat().st_size for file in hashes)
    if location.single:
        name = next(iter(hashes))
        return Fetched(cache.model / name, f"sha256:{hashes[name]}", size, cached)
    name, sealed = _entry(hashes, location.uri)
    digest = f"sha256:{hashes[name]}" if sealed else combine(hashes)
    return Fetched(cache.model / name, digest, size, cached, sealed, cache.model)


def _identity(source: ModelSource) -> str:
    return f"{source.uri} {source.s3.endpoint or source.oci.endpoint or ''}".strip()


def _inside(folder: Path, name: str) -> Path:
    """Where a file goes; a file whose name would leave the folder is refused."""
    if not name or name.startswith("/") or any(part in {"", ".", ".."} for part in name.split("/")) or "\0" in name:
        raise fetch_error(LoadReason.INVALID_MODEL, f"the name {name!r} is not a path below the model's folder")
    return folder / PurePosixPath(name)


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise fetch_error(
            LoadReason.OUT_OF_SPACE,
            f"the model has {needed} bytes and {folder.parent} has room for {free}",
        )


def _explain_disk(error: OSError, source: ModelSource) -> LoadError:
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return fetch_error(LoadReason.OUT_OF_SPACE, f"{where}the volume is full")
    if isinstance(error, PermissionError):
        who = f"user {os.getuid()}"
        return fetch_error(LoadReason.ACCESS_DENIED, f"{where}{who} may not read or write here")
    if isinstance(error, FileNotFoundError):
        return fetch_error(LoadReason.MODEL_NOT_FOUND, f"{where}{error.strerror}")
    return fetch_error(
        LoadReason.SOURCE_UNREACHABLE, f"{source.uri}: {where}{error.strerror or error}", permanent=False
    )
