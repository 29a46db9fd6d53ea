"""Files in a directory: `POD.BOOT.NUMBER.jsonl`, each begun by its writer and continued by nobody else.

A restart never writes into a file that it finds: its end may be torn. A failed write is taken back by cutting the file to what was safe,
which needs no space, so that a full disk leaves whole lines and the same batch can be tried again.

A directory with a limit is one that somebody deletes when it holds more (the kubelet, with the pod): it counts as full at nine tenths, by
the blocks that its files take, which is what is measured there.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from modelward_runtime.sinks.lines import time_of
from modelward_runtime.sinks.sink import SUFFIX, Piece, SinkFailed, Writer

_NAME = re.compile(r"^(?P<series>(?P<pod>[A-Za-z0-9_-]+)\.[A-Za-z0-9-]+)\.(?P<number>\d{6,})\.jsonl$")
_MOST_LINE = 1 << 20  # bytes looked at for a first or a last line
_BLOCK = 512  # of `st_blocks`, whatever the file system's own are
_PAGE = 4096  # what most file systems give at a time


class FileSink:
    """The files of one writer, and those of others beside them."""

    def __init__(self, directory: Path, writer: Writer, *, limit: int = 0) -> None:
        self._directory = directory
        self._writer = writer
        self._limit = limit  # bytes; 0: none
        self._beside = -1  # bytes of all other files, as they were counted last; negative: not yet
        self._descriptor = -1
        self._path = directory
        self._size = 0
        with _explained(directory):
            directory.mkdir(parents=True, exist_ok=True)
            own = [number for series, number, _ in self._files() if series == writer.series]
            self._number = max(own, default=0)
            if not os.access(directory, os.W_OK | os.X_OK):
                raise SinkFailed(f"{directory}: not writable")

    def write(self, lines: Sequence[bytes], *, fresh: bool) -> None:
        """Append and fsync; nothing of a failed batch stays in the file."""
        content = b"".join(lines)
        if self._limit:
            self._find_room(len(content))
        if fresh or self._descriptor < 0:
            self._begin(content)
            return
        with _explained(self._path):
            try:
                _write(self._descriptor, content)
            except OSError:
                with suppress(OSError):  # the first error is the one to tell
                    os.ftruncate(self._descriptor, self._size)
                raise
        self._size += len(content)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def heads(self) -> list[bytes]:
        """The last whole line of every other series, those that began last at the end."""
        with _explained(self._directory):
            others = (file for file in self._files() if file[0] != self._writer.series)
            last = {series: path for series, _, path in others if path.stat().st_size}  # of each the last one stays
            by_start = sorted(last, key=lambda series: series.partition(".")[2])  # a boot's id begins with its time
            return [line for series in by_start if (line := _last_line(last[series]))]

    def pieces(self, before: float) -> list[Piece]:
        """The oldest files of every series of this model, as long as they ended before; never the one that is written to."""
        with _explained(self._directory):
            series: dict[str, list[Path]] = {}
            for name, _, path in self._files():
                if self._writer.is_own(name.partition(".")[2]):
                    series.setdefault(name, []).append(path)
            return [
                piece
                for name, paths in series.items()
                for piece in _ended(name, paths, before)
                if self._directory / piece.name != self._path
            ]

    def tail(self, piece: Piece) -> bytes:
        """Its last whole line."""
        with _explained(self._directory / piece.name):
            return _last_line(self._directory / piece.name)

    def remove(self, piece: Piece) -> None:
        """Delete the file."""
        with _explained(self._directory / piece.name):
            (self._directory / piece.name).unlink(missing_ok=True)

    def server_time(self) -> None:
        """A file system's clock is this machine's, or nobody knows whose."""

    def _find_room(self, size: int) -> None:
        """SinkFailed where so much more would come too close to the limit."""
        most, size = self._limit * 9 // 10, -(-size // _PAGE) * _PAGE
        with _explained(self._directory):
            own = _taken(os.fstat(self._descriptor)) if self._descriptor >= 0 else 0
            if self._beside < 0 or self._beside + own + size > most:  # by now somebody may have taken files away
                self._beside = sum(_sizes(self._directory)) - own
        if (taken := self._beside + own) + size > most:
            raise SinkFailed(
                f"{self._directory}: {taken} bytes are taken, and at {self._limit} (sizeLimit) all would be deleted, with the pod: "
                "copy the records and replace the pod, or give the sink more, or a claim"
            )

    def _begin(self, content: bytes) -> None:
        """The next file, with its first batch; it is gone again if that fails."""
        while (path := self._directory / f"{self._writer.series}.{self._number + 1:06}{SUFFIX}").exists():
            self._number += 1  # by the sink of the policy before, into the same directory
        with _explained(path):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o640)
            try:
                _write(descriptor, content)
                _sync_directory(self._directory)
            except OSError:
                os.close(descriptor)
                with suppress(OSError):  # as above
                    path.unlink()
                raise
        self.close()
        self._descriptor, self._path, self._size = descriptor, path, len(content)
        self._beside = -1
        self._number += 1

    def _files(self) -> list[tuple[str, int, Path]]:
        """Series, number and path of all that are of our kind, in order. A link, a pipe or a folder of such a name is no file of a log."""
        with os.scandir(self._directory) as entries:
            found = [
                (_NAME.match(each.name), Path(each.path)) for each in entries if each.is_file(follow_symlinks=False)
            ]
        ours = [(match, path) for match, path in found if match and self._writer.is_kin(match["pod"])]
        return sorted((match["series"], int(match["number"]), path) for match, path in ours)


def _ended(series: str, paths: Sequence[Path], before: float) -> Iterator[Piece]:
    """A file's end is never put earlier than what is known of its neighbours: a clock that ran behind makes nothing old."""
    last = 0.0
    firsts = [_first_time(path) for path in paths]
    for number, path in enumerate(paths):
        modified = path.stat().st_mtime
        following = firsts[number + 1] if number + 1 < len(paths) else 0.0
        last = max(last, modified, time_of(_last_line(path)), following)
        if last >= before:
            return
        yield Piece(path.name, series, firsts[number] or modified, last)


def _write(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.fdatasync(descriptor)


def _sizes(directory: Path) -> Iterator[int]:
    for file in os.scandir(directory):
        with suppress(FileNotFoundError):  # retention is at it
            yield _taken(file.stat())


def _taken(of: os.stat_result) -> int:
    """Bytes of the disk that a file takes."""
    return max(of.st_blocks * _BLOCK, of.st_size)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _first_time(path: Path) -> float:
    with path.open("rb") as source:
        return time_of(source.readline(_MOST_LINE))


def _last_line(path: Path) -> bytes:
    """The last line that has its end."""
    with path.open("rb") as source:
        size = source.seek(0, os.SEEK_END)
        source.seek(max(0, size - _MOST_LINE))
        whole = source.read().rpartition(b"\n")[0]
    return whole.rpartition(b"\n")[2]


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SinkFailed(f"{path}: {error.strerror}") from error
