"""What an input may cost. Used around every run of a target."""

import re
import time
from pathlib import Path

SECONDS = 2.0  # of a processor, for some kilobytes
MEGABYTES = 256  # that the process may grow by
_SELF = Path("/proc/self")
_MIB = 1 << 20


class Costly(Exception):
    """An input took too long, or too much memory."""


class Bounds:
    """A context manager: raises `Costly` when the block cost too much.

    The most that the process held is counted from the block's begin: the kernel forgets it then, or only the largest of all inputs
    before would be seen.
    """

    def __enter__(self) -> "Bounds":
        (_SELF / "clear_refs").write_text("5")  # proc(5): the peak is what is resident now
        self._cpu, self._resident = time.process_time(), _peak()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            return
        if (cpu := time.process_time() - self._cpu) > SECONDS:
            raise Costly(f"{cpu:.1f} s of a processor")
        if (grown := _peak() - self._resident) > MEGABYTES * _MIB:
            raise Costly(f"{grown // _MIB} MiB")


def _peak() -> int:
    """The most bytes that were resident since the peak was forgotten."""
    found = re.search(r"VmHWM:\s+(\d+) kB", (_SELF / "status").read_text())
    return int(found[1]) * 1024 if found else 0
