"""CPU and memory of processes, as /proc has them; which core they run on, and how urgently. Linux only."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
TICK: Final = 1 / os.sysconf("SC_CLK_TCK")
URGENCY: Final = 3


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has used, with those of its threads."""
    words = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) * TICK


def memory(pid: int) -> tuple[int, int]:
    """Resident bytes now, and the most that ever were."""
    text = (PROC / str(pid) / "status").read_text()
    found = dict(line.split(":", 1) for line in text.splitlines())
    return int(found["VmRSS"].split()[0]) * 1024, int(found["VmHWM"].split()[0]) * 1024


def cores() -> tuple[int, int]:
    """The core of the API server and etcd, and that of who is measured and of the load; the same where there is only one."""
    have = sorted(os.sched_getaffinity(0))
    return have[0], have[min(1, len(have) - 1)]


@contextmanager
def urgent(pids: Iterable[int], *, wanted: bool) -> Iterator[None]:
    """Let processes go before all others while the block lasts, where that is wanted and allowed: others work on this machine too."""
    found = list(pids) if wanted else []
    try:
        for pid in found:
            _schedule(pid, os.SCHED_RR, URGENCY)
        yield
    finally:
        for pid in found:
            _schedule(pid, os.SCHED_OTHER, 0)


def _schedule(pid: int, policy: int, priority: int) -> None:
    """All threads of a process; one that ends meanwhile needs nothing."""
    for thread in (PROC / str(pid) / "task").glob("*"):
        try:
            os.sched_setscheduler(int(thread.name), policy, os.sched_param(priority))
        except ProcessLookupError:
            continue
