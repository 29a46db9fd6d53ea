"""What this thread, most often the event loop's, works for something: the least of several tries.

Told in its processor time, which leaves out what it waits for. But it leaves in what the machine adds: cold caches, a neighbour on the
same core, the collection of other tests' garbage. All of that only adds, and not every time: what something costs is the least that it
has cost, and garbage is not looked for meanwhile.
"""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

BRIEF: Final = 0.15
"""Seconds of a processor that a probe would not notice."""
_TRIES: Final = 5


class Work:
    """What one try has cost."""

    def __init__(self) -> None:
        self.seconds = float("inf")

    @contextmanager
    def measured(self) -> Iterator[None]:
        """This block is what is asked about; others of the same try leave out what they prepare."""
        looks = gc.isenabled()
        gc.disable()
        before = time.thread_time()
        try:
            yield
        finally:
            self.seconds = time.thread_time() - before
            if looks:
                gc.enable()


def brief(most: float = BRIEF) -> Iterator[Work]:
    """Try until one try has cost less than so many seconds; each is to be done wholly anew. Raises AssertionError when none has."""
    tries = [Work() for _ in range(_TRIES)]
    for work in tries:
        yield work
        if work.seconds < most:
            return
    raise AssertionError(f"it has to cost less than {most} s, and cost {[round(work.seconds, 3) for work in tries]}")
