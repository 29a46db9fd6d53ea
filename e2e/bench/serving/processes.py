"""Starts a server on the servers' core, waits for its first correct answer, pauses it while others are measured, ends all it started.

Called by `suite.py`. What is started and how it is asked are `servers.py`'s and `asking.py`'s.
"""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from e2e.bench.serving import tree
from e2e.bench.serving.failures import ImpossibleError, NotServedError

SERVERS_CORE, LOAD_CORE = 0, 1
STARTING: Final = 180.0
"""Seconds within which a server must answer."""
PATIENCE: Final = 10.0
"""Seconds between SIGTERM and SIGKILL."""
SPOILT: Final = ("PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "VIRTUAL_ENV")
"""What make and virtual environments set, and a server's start would suffer from: its modules are compiled where they lie."""


class Running:
    """One server that runs."""

    def __init__(self, root: "subprocess.Popen[bytes]", log: Path) -> None:
        self._root = root
        self._log = log
        self._began = time.monotonic()

    @property
    def pid(self) -> int:
        """Of the root of its processes."""
        return self._root.pid

    def check_alive(self) -> None:
        """NotServedError with its last words when it has ended."""
        if (code := self._root.poll()) is not None:
            raise NotServedError(f"ended with {code}: {self.last_words()}")

    def last_words(self) -> str:
        """The last line that it wrote."""
        lines = [line.strip() for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1][:200] if lines else "without a word"

    def wait_for(self, answers: Callable[[], bool]) -> float:
        """Seconds from its start until `answers` is true; NotServedError when it ends before, or takes too long."""
        while time.monotonic() - self._began < STARTING:
            self.check_alive()
            with contextlib.suppress(OSError):
                if answers():
                    return time.monotonic() - self._began
            time.sleep(0.005)
        raise NotServedError(f"no answer within {STARTING:.0f} s: {self.last_words()}")

    @contextlib.contextmanager
    def awake(self) -> Iterator[None]:
        """Paused before and after, running in between."""
        tree.resume(self.pid)
        try:
            yield
        finally:
            tree.pause(self.pid)


@contextlib.contextmanager
def running(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Iterator[Running]:
    """The command, in a folder of its own, until the block ends; whatever it started ends with it."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: text for name, text in os.environ.items() if name not in SPOILT}
    log = folder / "log"
    with log.open("wb") as out, on_core(SERVERS_CORE):
        root = subprocess.Popen(
            command,
            cwd=folder,
            env={**kept, "HOME": str(folder), **environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Running(root, log)
    finally:
        tree.ask_to_end(root.pid)
        tree.end(root.pid, PATIENCE)
        root.wait(PATIENCE)


def pin_load() -> None:
    """This process, and the load generators that it starts, to their core; ImpossibleError: the machine has one core only."""
    if not {SERVERS_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        raise ImpossibleError("suite serving needs two cores: one for the servers, one for the load")
    os.sched_setaffinity(0, {LOAD_CORE})


def taken(ports: Iterable[int]) -> list[int]:
    """Those of the ports on which somebody listens."""
    return [port for port in ports if not _is_free(port)]


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """What is started here inherits the core of the thread that starts it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
