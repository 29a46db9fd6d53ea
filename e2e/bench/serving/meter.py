"""What a window of load took of the processors: the server's work, the load generator's core, and what others took of the servers' core."""

import os
import time
from pathlib import Path
from typing import Final

from e2e.bench.serving import tree
from e2e.bench.serving.processes import LOAD_CORE, SERVERS_CORE

TICK: Final = 1 / os.sysconf("SC_CLK_TCK")
STAT: Final = Path("/proc/stat")


class Meter:
    """Begins to count where it is made."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._began, self._before = time.monotonic(), self._now()

    def read(self, requests: int) -> dict[str, float]:
        """`cpu`: seconds of all processes of the server per 1,000 requests. `generator`: share of the window in which the generators' core
        worked. `others`: share of the window that processes other than the server's took of the servers' core.
        """
        lasted = time.monotonic() - self._began
        server, servers_core, load_core = (now - then for now, then in zip(self._now(), self._before, strict=True))
        others = max(servers_core - server, 0.0) / lasted
        return {"cpu": server / requests * 1000, "generator": load_core / lasted, "others": others}

    def _now(self) -> tuple[float, float, float]:
        text = STAT.read_text()
        return tree.cpu_seconds(self._pid), busy_seconds(SERVERS_CORE, text), busy_seconds(LOAD_CORE, text)


def busy_seconds(core: int, text: str) -> float:
    """Seconds that the core has worked since the machine's start, by /proc/stat: user, nice, system, irq, softirq, steal (man 5 proc)."""
    words = next(line.split() for line in text.splitlines() if line.startswith(f"cpu{core} "))
    return sum(int(words[at]) for at in (1, 2, 3, 6, 7, 8)) * TICK
