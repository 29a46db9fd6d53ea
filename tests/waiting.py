"""How long an answer kept its caller waiting, without the time in which this machine had no processor for it.

A probe is late because the thread that answers it is busy with something else, because another thread of its process has Python's lock, or
because other programs have the processors. Only the first two say anything about us, and Linux counts what tells them apart for each
thread: how long it ran, how long it was ready to run and did not (proc(5), schedstat), and how often it went to sleep of its own.

    a callback that takes long     the answering thread runs, however long it takes on a busy machine
    Python's lock is held          the answering thread wakes up every switch interval to ask for it, and sleeps again
    a busy machine                 threads queue
"""

import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

_ASKS: Final = 8  # times that a thread goes to sleep, beyond what an answer takes: it asks for Python's lock


class Wait(NamedTuple):
    """Seconds that an answer took by the clock, and those among them that the machine is not to blame for."""

    clock: float
    ours: float


class _Thread(NamedTuple):
    ran: float = 0.0
    queued: float = 0.0
    slept: int = 0

    def since(self, before: "_Thread") -> "_Thread":
        return _Thread(self.ran - before.ran, self.queued - before.queued, self.slept - before.slept)


def wait_for(answer: Callable[[], object], pid: int) -> Wait:
    """Ask a process of this machine once; its first thread answers.

    Whoever waits for Python's lock waits for the thread that has it, and that thread may wait for a processor: so what the other threads
    queue counts as the machine's, also where none of them had the lock, and what is left is rather too little than too much.
    """
    before, began = _threads(pid), time.monotonic()
    answer()
    clock = time.monotonic() - began
    spent = {thread: now.since(before.get(thread, _Thread())) for thread, now in _threads(pid).items()}
    answering = spent.pop(pid, _Thread())
    queued = sum(thread.queued for thread in spent.values())
    queued += answering.queued / (answering.slept if answering.slept > _ASKS else 1)
    return Wait(clock, max(min(answering.ran, clock), clock - queued))


def _threads(pid: int) -> dict[int, _Thread]:
    """What each thread of a process, and of this one, has done so far."""
    found: dict[int, _Thread] = {}
    for process in (os.getpid(), pid):
        with suppress(FileNotFoundError):  # it has ended
            for thread in Path(f"/proc/{process}/task").iterdir():
                with suppress(OSError):  # likewise
                    found[int(thread.name)] = _look(thread)
    return found


def _look(thread: Path) -> _Thread:
    ran, queued, _ = (thread / "schedstat").read_text().split()
    slept = re.search(r"^voluntary_ctxt_switches:\s+(\d+)$", (thread / "status").read_text(), re.MULTILINE)
    return _Thread(int(ran) / 1e9, int(queued) / 1e9, int(slept[1]) if slept else 0)
