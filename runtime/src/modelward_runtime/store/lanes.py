"""Several connections at once, each with a part of a large file or a small file of its own; every byte goes to its place at once.

`fetch.py` and `sharing.py` receive a model by it. A SHA-256 is of bytes in their order, and parts come in any: of a large file one thread
reads back, from the page cache, what has come without a gap, and hashes it while the rest is on its way. Buffers are a piece per lane and
one of the hasher.

    files ─▶ jobs ─┬─ lane: ask ▶ piece ▶ pwrite ─┐ how far the file is whole
                   ├─ lane …                      ├─▶ hasher: pread ▶ SHA-256
                   └─ lane …                      ┘
    the first that fails stops all of them; a lane that hangs in a connection is not waited for, and keeps its file open until it ends
"""

import hashlib
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from modelward_runtime.errors import LoadReason
from modelward_runtime.store import receiving
from modelward_runtime.store.found import entry
from modelward_runtime.store.locate import Location, fetch_error
from modelward_runtime.store.receiving import Progress, Room
from modelward_runtime.store.remote import LANES, ChangedError, Divisible, Readable, RemoteFile
from modelward_runtime.store.verify import is_hashed

log = logging.getLogger(__name__)
PART: Final = 16 << 20  # bytes that are asked for at a time
_STEP: Final = 1 << 20  # bytes that are hashed at a time
_PATIENCE: Final = 1.0  # seconds for lanes to notice that all is over


def receive(
    store: Readable, files: Sequence[RemoteFile], location: Location, target: Path, progress: Progress, room: Room
) -> dict[str, str]:
    """Write the files below `target`; the hex SHA-256 of each, empty for the ciphertext of a sealed model."""
    sealed = not location.single and entry({file.name for file in files}, location.uri)[1]
    hashed = {file.name: not sealed or is_hashed(file.name) for file in files}
    progress.received, progress.total = 0, sum(file.size for file in files)
    room(progress.total)
    try:
        return Lanes(store, target, progress, room, hashed).run(files)
    except ChangedError as error:
        log.warning("what came were parts of several files, it is read anew as a whole", extra={"cause": str(error)})
    receiving.empty(target)
    progress.received = 0
    try:
        return Lanes(store, target, progress, room, hashed, divide=False).run(files)
    except ChangedError as error:
        raise fetch_error(
            LoadReason.TRUNCATED, f"{error}; a broken connection cannot be taken up", permanent=False
        ) from error


class StoppedError(Exception):
    """Another lane has failed; what it said counts."""


class Large(msgspec.Struct):
    """A large file on its way."""

    file: RemoteFile
    path: Path
    divided: bool
    hashed: bool
    descriptor: int = -1
    positions: list[int] = []  # per part, where its next byte goes
    whole: int = 0  # bytes that are there from the start on, without a gap
    size: int = 0
    digest: str = ""
    _first: int = 0  # the part that is not whole yet

    def __post_init__(self) -> None:
        self.size = self.file.size
        self.positions = list(range(0, self.size, PART)) if self.divided else [0]

    def end(self, part: int) -> int:
        """Where a part ends."""
        return min((part + 1) * PART, self.size) if self.divided else self.size

    def move(self, part: int, at: int) -> None:
        """The bytes of a part are there up to `at`."""
        self.positions[part] = at
        while self._first < len(self.positions) and self.positions[self._first] == self.end(self._first):
            self._first += 1
        self.whole = self.positions[self._first] if self._first < len(self.positions) else self.size


class Job(NamedTuple):
    """What a lane does next: a small file, or a part of a large one."""

    file: RemoteFile
    large: Large | None = None
    part: int = 0


class Lanes:
    """One download."""

    def __init__(
        self,
        store: Readable,
        target: Path,
        progress: Progress,
        room: Room,
        hashed: Mapping[str, bool],
        *,
        divide: bool = True,
    ) -> None:
        self._store = store
        self._target = target
        self._progress = progress
        self._room = room
        self._hashed = hashed
        self._divide = divide and isinstance(store, Divisible)
        self._jobs: deque[Job] = deque()
        self._larges: list[Large] = []
        self._digests: dict[str, str] = {}
        self._news = threading.Condition()
        self._failure: BaseException | None = None
        self._working = 0

    def run(self, files: Sequence[RemoteFile]) -> dict[str, str]:
        """Write the files; the hex SHA-256 of each by its name, empty where none is wanted."""
        for file in files:
            self._jobs.extend(self._plan(file))
        count = min(LANES, len(self._jobs))
        workers = [self._lane] * count + [self._hash] * bool(self._larges)
        if len(workers) == 1:
            workers[0]()
        else:
            self._together(workers)
        if self._failure:
            raise self._failure
        return {file.name: self._digests[file.name] for file in files}

    def _plan(self, file: RemoteFile) -> Iterator[Job]:
        if file.size <= PART:
            yield Job(file)
            return
        path = receiving.inside(self._target, file.name)
        large = Large(file, path, self._divide and file.divisible, self._hashed[file.name])
        self._larges.append(large)
        yield from (Job(file, large, part) for part in range(len(large.positions)))

    def _together(self, workers: Sequence[Callable[[], None]]) -> None:
        self._working = len(workers)
        threads = [threading.Thread(target=self._enter, args=(work,), name="fetch", daemon=True) for work in workers]
        for thread in threads:
            thread.start()
        with self._news:
            self._news.wait_for(lambda: not self._working or self._failure)
            self._news.wait_for(lambda: not self._working, _PATIENCE)

    def _enter(self, work: Callable[[], None]) -> None:
        try:
            work()
        finally:
            with self._news:
                self._working -= 1
                if not self._working:
                    self._close()
                self._news.notify_all()

    def _close(self) -> None:
        for large in self._larges:
            if large.descriptor >= 0:
                os.close(large.descriptor)
                large.descriptor = -1

    # ── what lanes do ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _lane(self) -> None:
        try:
            while not self._failure:
                try:
                    job = self._jobs.popleft()
                except IndexError:
                    return
                self._do(job)
        except StoppedError:
            return
        except BaseException as error:  # noqa: BLE001  carried over to who waits
            self._fail(error)

    def _do(self, job: Job) -> None:
        if job.large is None:
            self._digests[job.file.name] = receiving.stream(
                self._store, job.file, self._target, self._touch, self._room, hashed=self._hashed[job.file.name]
            )
            return
        large, start = job.large, job.large.positions[job.part]
        self._create(large)
        at, end = start, large.end(job.part)
        for piece in self._pieces(large, start, end):
            view = memoryview(piece)
            receiving.write(large.descriptor, view, at, large.path)
            at += len(view)
            self._touch(len(view))
            self._tell(large, job.part, min(at, end))
        receiving.check_size(large.file, at, end)

    def _create(self, large: Large) -> None:
        with self._news:
            if large.descriptor < 0:
                large.path.parent.mkdir(parents=True, exist_ok=True)
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
                large.descriptor = os.open(large.path, flags, 0o644)

    def _pieces(self, large: Large, start: int, end: int) -> Iterator[bytes] | Iterator[memoryview]:
        if large.divided and isinstance(self._store, Divisible):
            return self._store.part(large.file, start, end)
        reading = self._store.read(large.file)
        receiving.check_size(large.file, reading.size, large.size)
        return reading.pieces

    def _tell(self, large: Large, part: int, at: int) -> None:
        with self._news:
            before = large.whole
            large.move(part, at)
            if large.whole // _STEP > before // _STEP or large.whole == large.size:
                self._news.notify_all()

    def _touch(self, count: int) -> None:
        if self._failure:
            raise StoppedError
        self._progress.touch(count)

    def _fail(self, error: BaseException) -> None:
        with self._news:
            self._failure = self._failure or error
            self._news.notify_all()

    # ── what the hasher does ──────────────────────────────────────────────────────────────────────────────────────────

    def _hash(self) -> None:
        try:
            for large in self._larges:
                wanted = large.hashed or bool(large.file.sha256)
                digest = self._follow(large) if wanted else self._await(large)
                if wanted:
                    receiving.check_digest(large.file, digest)
                self._digests[large.file.name] = digest if large.hashed else ""
        except StoppedError:
            return
        except BaseException as error:  # noqa: BLE001  carried over to who waits
            self._fail(error)

    def _follow(self, large: Large) -> str:
        """The hex SHA-256 of a file that grows, once it is whole."""
        digest, buffer, at = hashlib.sha256(), memoryview(bytearray(_STEP)), 0
        while at < large.size:
            with self._news:
                self._news.wait_for(lambda: self._failure or large.whole >= min(at + _STEP, large.size))  # noqa: B023  called at once
                ready = large.whole
            if self._failure:
                raise StoppedError
            while at < ready:
                count = os.preadv(large.descriptor, [buffer[: ready - at]], at)
                if not count:
                    raise OSError(5, "what was just written is gone", str(large.path))
                digest.update(buffer[:count])
                at += count
        return digest.hexdigest()

    def _await(self, large: Large) -> str:
        with self._news:
            self._news.wait_for(lambda: self._failure or large.whole == large.size)
        if self._failure:
            raise StoppedError
        return ""
