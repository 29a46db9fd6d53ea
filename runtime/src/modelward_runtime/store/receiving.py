"""Streams one file into a folder, hashed as it is written, and counts how far the fetch is.

`lanes.py` receives a whole model with it, from a store or from the volume that pods share. It must not judge what a digest should be,
except where the store itself has said it.
"""

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import msgspec

from modelward_runtime.errors import LoadReason
from modelward_runtime.store.locate import fetch_error
from modelward_runtime.store.remote import Readable, RemoteFile
from modelward_runtime.store.verify import Touch

Room = Callable[[int], None]  # called with the bytes that will come; raises when there is no room for them


class Progress(msgspec.Struct):
    """How far the fetch is: written by its thread, read by the event loop."""

    clock: Callable[[], float] = time.monotonic
    received: int = 0  # bytes
    total: int = 0  # bytes, 0 while unknown
    cancelled: bool = False
    moved: float = 0.0  # when the last byte came
    _lock: threading.Lock = msgspec.field(default_factory=threading.Lock)  # several lanes count

    def __post_init__(self) -> None:
        self.moved = self.clock()

    def touch(self, count: int = 0) -> None:
        """Bytes came, or the store answered."""
        if self.cancelled:
            raise InterruptedError("the fetch was given up")
        with self._lock:
            self.received += count
        self.moved = self.clock()

    def idle(self) -> float:
        """Seconds since the last byte."""
        return self.clock() - self.moved


def stream(store: Readable, file: RemoteFile, target: Path, touch: Touch, room: Room, *, hashed: bool) -> str:
    """Write one file below `target`; its hex SHA-256, empty when it is not `hashed`."""
    path = inside(target, file.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    reading = store.read(file)
    if reading.size > file.size:
        room(reading.size)  # a single object is not listed: its size is known only now
    digest, received = hashlib.sha256(), 0
    with path.open("xb", buffering=0) as sink:
        for piece in reading.pieces:
            view = memoryview(piece)
            if hashed or file.sha256:
                digest.update(view)
            write(sink.fileno(), view, received, path)
            received += len(view)
            touch(len(view))
    check_size(file, received, reading.size)
    check_digest(file, digest.hexdigest())
    return digest.hexdigest() if hashed else ""


def write(descriptor: int, view: memoryview, offset: int, path: Path) -> None:
    """Write all of a piece where it belongs; OSError names the file: whoever reads of a full volume must know which."""
    try:
        while view:
            count = os.pwrite(descriptor, view, offset)
            view, offset = view[count:], offset + count
    except OSError as error:
        error.filename = str(path)
        raise


def check_size(file: RemoteFile, received: int, announced: int) -> None:
    """LoadError Truncated when other than the announced bytes came."""
    if received != announced:
        raise fetch_error(
            LoadReason.TRUNCATED,
            f"{file.key}: {received} bytes came, {announced} were announced",
            permanent=False,
        )


def check_digest(file: RemoteFile, digest: str) -> None:
    """LoadError DigestMismatch when the store has promised other bytes; `digest` is in hex."""
    if file.sha256 not in {"", digest}:
        raise fetch_error(
            LoadReason.DIGEST_MISMATCH,
            f"{file.name}: bytes with the digest sha256:{digest} came for {file.key}",
        )


def empty(folder: Path) -> None:
    """Remove what is in a folder."""
    for path in list(folder.iterdir()):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def check_room(folder: Path, needed: int) -> None:
    """LoadError OutOfSpace when the disk has no room for so many bytes more."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise fetch_error(
            LoadReason.OUT_OF_SPACE,
            f"the model has {needed} bytes and {folder.parent} has room for {free}",
        )


def inside(folder: Path, name: str) -> Path:
    """Where a file goes; a file whose name would leave the folder is refused."""
    if not name or name.startswith("/") or any(part in {"", ".", ".."} for part in name.split("/")) or "\0" in name:
        raise fetch_error(LoadReason.INVALID_MODEL, f"the name {name!r} is not a path below the model's folder")
    return folder / PurePosixPath(name)
