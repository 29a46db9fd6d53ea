"""One at a time: two commands that would do the same work wait for each other, visibly."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from e2e.cluster.paths import cache
from e2e.cluster.progress import Screen


@contextmanager
def alone(what: str, screen: Screen) -> Iterator[None]:
    """Hold the lock of this name; it goes with the process, so a killed one leaves nothing locked."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / f"{what}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with screen.step(f"another {what} is running: waiting for it"):
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield
