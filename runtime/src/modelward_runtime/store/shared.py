"""Models on a volume that several pods write to, each under its digest: what is whole, who loads it, what has to go.

`sharing.py` fills it and reads it. Nothing here is believed: an entry is only a folder of plain files that claims to have a digest, and
who uses it compares. Pods race, and are killed at any moment: an entry appears by rename, and the kernel lets go of a dead pod's locks.

    CLAIM/entries/HEX/…    a whole model, as it was stored; the time of the folder is that of its last use
    CLAIM/partial/HEX/…    being written, by who holds HEX alone; whoever comes later removes what a dead one left
    CLAIM/locks/HEX        held with others: being read. Held alone: being written, replaced or removed; notes the bytes to come
    CLAIM/catalogue        held alone for moments: counting, and making room
"""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from modelward_runtime.store.locks import Lock, noted
from modelward_runtime.store.verify import MOST_ENTRIES

_PATIENCE: Final = 10.0  # seconds, for who counts


class SpoiltError(Exception):
    """An entry that holds what nobody would have put there."""


class NoRoomError(Exception):
    """The models that pods hold leave no room."""


class Lease:
    """An entry that nobody removes while this is held."""

    def __init__(self, folder: Path, lock: Lock) -> None:
        self.folder = folder
        self._lock = lock

    def files(self, *, single: bool) -> dict[str, int]:
        """The size of each file by its relative path, one or more; SpoiltError names what is no plain file."""
        found: dict[str, int] = {}
        for name, info in _below(self.folder):
            if not stat.S_ISREG(info.st_mode):
                raise SpoiltError(f"{name} is no plain file")
            found[name] = info.st_size
            if len(found) > MOST_ENTRIES:
                raise SpoiltError(f"it holds more than {MOST_ENTRIES} files")
        if not found or (single and len(found) > 1):
            raise SpoiltError(f"it holds {len(found)} files")
        return found

    def use(self) -> None:
        """It was of use just now."""
        os.utime(self.folder)

    def release(self) -> None:
        """Be done with it."""
        self._lock.release()


class Draft:
    """An entry in the making, by one pod alone."""

    def __init__(self, shared: "Shared", digest: str, lock: Lock) -> None:
        self.folder = shared.partial / digest
        self._shared = shared
        self._digest = digest
        self._lock = lock

    @property
    def is_done(self) -> bool:
        """Has somebody else made the entry meanwhile?"""
        return _is_folder(self._shared.entries / self._digest)

    def begin(self) -> None:
        """An empty folder to write into; what a dead pod has left there, and an entry that was refused, are gone."""
        remove(self.folder)
        remove(self._shared.entries / self._digest)
        self._lock.note(0)
        self.folder.mkdir()

    def reserve(self, size: int) -> None:
        """Have room for so many bytes, all in all; NoRoomError when there is none."""
        self._shared.make_room(self._digest, size, self._lock)

    def commit(self) -> None:
        """It is whole: an entry from now on."""
        self.folder.rename(self._shared.entries / self._digest)
        self._lock.note(0)
        self._lock.release()

    def release(self) -> None:
        """Leave all as it is."""
        self._lock.release()

    def abandon(self) -> None:
        """Leave nothing."""
        try:
            remove(self.folder)
        finally:
            self._lock.release(remove=True)


class Shared:
    """The folder of the volume, and how many bytes its models may have together."""

    def __init__(self, folder: Path, most: int) -> None:
        self._folder = folder
        self._most = most
        self.entries, self.partial, self._locks = (folder / name for name in ("entries", "partial", "locks"))
        for path in (self.entries, self.partial, self._locks):
            path.mkdir(exist_ok=True)
            if not stat.S_ISDIR(path.lstat().st_mode):
                raise NotADirectoryError(20, "is a link, and nothing is written through it", str(path))

    def lease(self, digest: str) -> Lease | None:
        """The entry of a digest, to read; None when there is none, or somebody is changing it."""
        lock = Lock.take(self._locks / digest, alone=False)
        if lock is None:
            return None
        folder = self.entries / digest
        if _is_folder(folder):
            return Lease(folder, lock)
        lock.release()
        return None

    def draft(self, digest: str) -> Draft | None:
        """The right to write the entry of a digest; None while somebody else writes or reads it."""
        lock = Lock.take(self._locks / digest, alone=True)
        return None if lock is None else Draft(self, digest, lock)

    def written(self, digest: str) -> int:
        """How far the pod is that writes the entry, in bytes."""
        return _size(self.partial / digest)

    def discard(self, digest: str) -> bool:
        """Remove an entry; False when somebody reads it, and it stays."""
        lock = Lock.take(self._locks / digest, alone=True)
        if lock is None:
            return False
        try:
            remove(self.entries / digest)
        finally:
            lock.release(remove=True)
        return True

    def make_room(self, digest: str, size: int, lock: Lock) -> None:
        """Note on `lock` that `size` bytes of `digest` will come, once there is room for them; NoRoomError."""
        catalogue = Lock.wait(self._folder / "catalogue", _PATIENCE)
        if catalogue is None:
            raise NoRoomError("somebody counts for too long")
        try:
            self._sweep()
            taken = self._taken(digest)
            if size > min(self._most, shutil.disk_usage(self._folder).free + taken):
                raise NoRoomError(f"{size} bytes are needed, more than the volume can hold")
            for oldest in self._by_use():
                if self._fits(taken, size):
                    break
                gone = _size(self.entries / oldest)
                taken -= gone if self.discard(oldest) else 0
            if not self._fits(taken, size):
                raise NoRoomError(f"{size} bytes are needed, {taken} of {self._most} are held by pods")
            lock.note(size)
        finally:
            catalogue.release()

    def _fits(self, taken: int, size: int) -> bool:
        return taken + size <= self._most and size <= shutil.disk_usage(self._folder).free

    def _taken(self, own: str) -> int:
        """Bytes of those to come but for one's own, and of all entries: so, what is renamed meanwhile counts twice, not never."""
        coming = [path for path in self.partial.iterdir() if path.name != own]
        reserved = sum(max(_size(path), noted(self._locks / path.name)) for path in coming)
        return reserved + sum(_size(path) for path in self.entries.iterdir())

    def _by_use(self) -> list[str]:
        """The entries, the one that nobody has used for longest first."""
        return [path.name for path in sorted(self.entries.iterdir(), key=lambda path: path.lstat().st_mtime_ns)]

    def _sweep(self) -> None:
        """Remove what pods that died were writing, and locks that stand for nothing."""
        dead = {path.name for path in self.partial.iterdir()}
        dead |= {path.name for path in self._locks.iterdir()} - {path.name for path in self.entries.iterdir()}
        for name in dead:
            lock = Lock.take(self._locks / name, alone=True)
            if lock is not None:
                try:
                    remove(self.partial / name)
                finally:
                    lock.release(remove=True)


def remove(path: Path) -> None:
    """Remove a folder with all in it, or whatever somebody has put in its place; a link's target stays."""
    if _is_folder(path):
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _size(path: Path) -> int:
    """Bytes below a folder; what vanishes meanwhile counts for nothing."""
    try:
        return sum(info.st_size for _, info in _below(path)) if _is_folder(path) else 0
    except FileNotFoundError:
        return 0


def _below(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Relative path and description of everything below a folder that is no folder itself; no link is followed."""
    pending = [""]
    while pending:
        below = pending.pop()
        with os.scandir(folder / below) as entries:
            for entry in entries:
                info = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(info.st_mode):
                    pending.append(f"{below}{entry.name}/")
                else:
                    yield below + entry.name, info
