"""Streams a model's files into a folder, hashed as they are written; memory stays flat whatever the size.

`fetch.py` and `sharing.py` receive with it, from a store or from the volume that pods share. It must not judge what a digest should be,
except where the store itself has said it.
"""

import hashlib
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from modelward_runtime.errors import LoadReason
from modelward_runtime.store.found import entry
from modelward_runtime.store.locate import Location, fetch_error
from modelward_runtime.store.remote import Readable, RemoteFile
from modelward_runtime.store.verify import is_hashed

Room = Callable[[int], None]  # called with the bytes that will come; raises when there is no room for them


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


def receive(
    store: Readable, files: Sequence[RemoteFile], location: Location, target: Path, progress: Progress, room: Room
) -> dict[str, str]:
    """Write the files below `target`; the hex SHA-256 of each, empty for the ciphertext of a sealed model."""
    sealed = not location.single and entry({file.name for file in files}, location.uri)[1]
    progress.received, progress.total = 0, sum(file.size for file in files)
    room(progress.total)
    return {
        file.name: stream(store, file, target, progress, room, hashed=not sealed or is_hashed(file.name))
        for file in files
    }


def stream(store: Readable, file: RemoteFile, target: Path, progress: Progress, room: Room, *, hashed: bool) -> str:
    """Write one file below `target`; its hex SHA-256, empty when it is not `hashed`."""
    path = _inside(target, file.name)
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


def check_room(folder: Path, needed: int) -> None:
    """LoadError OutOfSpace when the disk has no room for so many bytes more."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise fetch_error(
            LoadReason.OUT_OF_SPACE,
            f"the model has {needed} bytes and {folder.parent} has room for {free}",
        )


def _inside(folder: Path, name: str) -> Path:
    """Where a file goes; a file whose name would leave the folder is refused."""
    if not name or name.startswith("/") or any(part in {"", ".", ".."} for part in name.split("/")) or "\0" in name:
        raise fetch_error(LoadReason.INVALID_MODEL, f"the name {name!r} is not a path below the model's folder")
    return folder / PurePosixPath(name)
