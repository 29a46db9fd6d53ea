"""Has a model on disk changed, and is whoever changes it done? By looking again and again, which sees every way to change a file.

Used by `following.py` and `library.py`. A copy that is still growing, or a folder of which half the files are new, must not be loaded: a
change counts once two looks in a row see the same sizes and times. It works on any file system, for a rename or a link that is turned
as well as for a copy, where notifications of the kernel would miss what another machine writes.
"""

from pathlib import Path
from typing import Final, Generic, TypeVar

from modelward_runtime.errors import LoadError
from modelward_runtime.store.verify import files_below

T = TypeVar("T")
Look = frozenset[tuple[str, int, int, int, int]]
"""Of each file: its path within the model, device and inode, size in bytes, time of its last change in ns."""

NOTHING: Final[Look] = frozenset()


def look_at(path: Path) -> Look:
    """A file, or every file below a folder, following links; empty where nothing is there, or nothing that can be looked at."""
    try:
        names = list(files_below(path)) if path.is_dir() else [""]
        return frozenset(_of(path / name if name else path, name) for name in names)
    except (OSError, LoadError):
        return NOTHING


def _of(file: Path, name: str) -> tuple[str, int, int, int, int]:
    status = file.stat()
    return name, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class Settling(Generic[T]):
    """What is served, what was seen last, and whether that is to be loaded."""

    def __init__(self, served: T) -> None:
        self._known = self._last = served

    def see(self, now: T) -> bool:
        """Look once more. Is it another model than the one that is known, and did it stand still since the last look?"""
        still = now == self._last
        self._last = now
        return still and now != self._known

    def know(self, look: T) -> None:
        """This one is served, or was tried and refused: it is not tried again before it changes."""
        self._known = look
