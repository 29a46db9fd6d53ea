"""Locks between processes that may share nothing but a volume, and that may be killed at any moment.

`shared.py` takes them. They are the kernel's (`flock`): whoever dies lets go, there is nothing to clean up and nothing to time out. A
lock's file may be removed by who holds it alone; who has waited for the old file takes the new one.
"""

import fcntl
import os
import time
from pathlib import Path
from typing import Final

_NOTE: Final = 20  # digits
_PAUSE: Final = 0.02  # seconds


class Lock:
    """A lock that is held. It notes one number, which others may read."""

    def __init__(self, file: Path, descriptor: int) -> None:
        self._file = file
        self._descriptor = descriptor

    @classmethod
    def take(cls, file: Path, *, alone: bool) -> "Lock | None":
        """The lock, alone or with others who want it likewise; None while somebody holds it otherwise. OSError: no locks here."""
        while True:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o660)
            try:
                fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
                if _is_still(file, descriptor):
                    return cls(file, descriptor)
            except BlockingIOError:
                os.close(descriptor)
                return None
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    @classmethod
    def wait(cls, file: Path, seconds: float) -> "Lock | None":
        """The lock alone, of what others hold only for moments; None when they do not let go."""
        until = time.monotonic() + seconds
        while (lock := cls.take(file, alone=True)) is None and time.monotonic() < until:
            time.sleep(_PAUSE)
        return lock

    def note(self, number: int) -> None:
        """Tell others a number."""
        os.pwrite(self._descriptor, f"{number:0{_NOTE}}".encode(), 0)

    def release(self, *, remove: bool = False) -> None:
        """Let go. `remove`: the file as well, for who holds it alone and has removed what it stands for."""
        if self._descriptor < 0:
            return
        if remove:
            self._file.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1


def noted(file: Path) -> int:
    """What the holder of a lock has noted last; 0 for nothing."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return 0
    try:
        content = os.read(descriptor, _NOTE)
    finally:
        os.close(descriptor)
    return int(content) if content.isdigit() else 0


def _is_still(file: Path, descriptor: int) -> bool:
    """Is this the file of that name, or has the last holder removed it while we waited?"""
    try:
        return os.path.samestat(file.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
