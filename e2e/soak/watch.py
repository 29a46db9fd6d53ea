"""Looks at the serving process from outside, once in a while: memory, descriptors, threads, time of the processor."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Sample:
    """The process after so many requests. Bytes; `own` is anonymous memory alone: neither the libraries' pages nor shared ones."""

    requests: int
    seconds: float
    rss: int
    own: int
    descriptors: int
    threads: int
    cpu_seconds: float


def sample(pid: int, requests: int, seconds: float) -> Sample:
    """Look once. Raises `OSError` when there is no such process, or we may not look."""
    process = Path("/proc") / str(pid)
    stat = (process / "stat").read_text().rpartition(")")[2].split()
    rss = int((process / "statm").read_text().split()[1]) * _PAGE
    return Sample(
        requests,
        seconds,
        rss,
        _anonymous(process),
        sum(1 for _ in (process / "fd").iterdir()),
        int(stat[17]),
        (int(stat[11]) + int(stat[12])) / _TICK,
    )


def _anonymous(process: Path) -> int:
    found = re.search(r"^Anonymous: *(\d+) kB", (process / "smaps_rollup").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
