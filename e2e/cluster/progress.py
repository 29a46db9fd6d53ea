"""Shows what is going on and for how long, so that no wait is silent: a ticking line on a terminal, plain lines elsewhere.

On a terminal one line is redrawn ten times a second. Where output is a file or a CI log, a step that ends within a
second prints one line; a longer one prints a line at its start, then every ten seconds, and at its end.
"""

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from e2e.cluster.failures import StepFailed

FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
PLAIN_INTERVAL = 10.0
PLAIN_PATIENCE = 1.0


def spell(seconds: float) -> str:
    """A duration as a person would say it: `0.4 s`, `12 s`, `3 min 05 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def _width() -> int:
    """How much of a line fits: one that wrapped could not be redrawn."""
    return max(shutil.get_terminal_size().columns - 4, 20)


class Step:
    """One line on the screen while something is done; `detail` may change while it runs."""

    def __init__(self, title: str, log: Path | None) -> None:
        self.title = title
        self.log = log
        self.detail = ""
        self.started = time.monotonic()

    def elapsed(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self.started

    def line(self) -> str:
        """Title, detail and time so far."""
        detail = f": {self.detail}" if self.detail else ""
        return f"{self.title}{detail}, {spell(self.elapsed())}"

    def wait(self, ready: Callable[[], bool], *, limit: float, doing: str = "", hint: str = "") -> None:
        """Poll `ready` until it is true; raise StepFailed after `limit` seconds."""
        self.detail = doing or self.detail
        deadline = time.monotonic() + limit
        pause = 0.05
        while not ready():
            if time.monotonic() > deadline:
                raise StepFailed(
                    f"{self.title}: not ready after {limit:.0f} s ({self.detail})", log=self.log, hint=hint
                )
            time.sleep(pause)
            pause = min(pause * 1.3, 0.5)


class Screen:
    """Where steps are shown; one per command."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._live = out.isatty()
        self._started = time.monotonic()

    def say(self, text: str) -> None:
        """Print a line of its own."""
        self._out.write(text + "\n")
        self._out.flush()

    def elapsed(self) -> str:
        """Time since the command began."""
        return spell(time.monotonic() - self._started)

    @contextmanager
    def step(self, title: str, log: Path | None = None) -> Iterator[Step]:
        """Show `title` as in progress until the block ends, then as done or failed."""
        step = Step(title, log)
        stop = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(step, stop), daemon=True)
        ticker.start()
        mark = "✘"
        try:
            yield step
            mark = "✔"
        finally:
            stop.set()
            ticker.join()
            self.say(f"{self._clear()}{mark} {step.line()}")

    def _clear(self) -> str:
        return "\r\x1b[2K" if self._live else ""

    def _tick(self, step: Step, stop: threading.Event) -> None:
        frame, patience = 0, PLAIN_PATIENCE
        while not stop.wait(0.1 if self._live else patience):
            if self._live:
                self._out.write(f"\r\x1b[2K{FRAMES[frame % len(FRAMES)]} {step.line()[: _width()]}")
                self._out.flush()
            else:
                self.say(f"… {step.line()}")
            frame, patience = frame + 1, PLAIN_INTERVAL
