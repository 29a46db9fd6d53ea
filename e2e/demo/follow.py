"""Follows the conditions of ModelDeployments live until all are ready, one line per change, and never waits in silence.

Called by the demo with the queue of a watch that was opened before the apply, so that no change is missed.
"""

from __future__ import annotations

import queue
import shutil
import sys
import time
from collections.abc import Iterator

from e2e.demo.kube import Json, Seen, condition
from e2e.demo.paint import paint

HEARTBEAT = 10.0
_STYLES = {"True": ("green",), "False": ("red",), "Unknown": ("yellow",)}


class NotReady(Exception):
    """Some models did not get ready in time; `names` says which."""

    def __init__(self, names: list[str], seconds: float) -> None:
        super().__init__(f"not ready after {seconds:.0f} s: {', '.join(names)}")
        self.names = names


def follow(seen: queue.Queue[Seen], generations: dict[str, int], since: float, limit: float) -> dict[str, float]:
    """Prints each change of a condition; the seconds from `since` (monotonic) until each model was ready.

    `generations` names the models and the generation of the spec that shall be ready, so that an older Ready, seen
    before the apply, does not count. Raises: NotReady after `limit` seconds.
    """
    told: dict[tuple[str, str], tuple[str, str]] = {}
    ready: dict[str, float] = {}
    spoken = time.monotonic()
    while waiting := [name for name in generations if name not in ready]:
        elapsed = time.monotonic() - since
        if elapsed > limit:
            _erase()
            raise NotReady(waiting, elapsed)
        try:
            event = seen.get(timeout=0.1)
        except queue.Empty:
            spoken = _beat(waiting, elapsed, spoken)
            continue
        if event.name not in generations or event.type == "DELETED":
            continue
        for line in changes(event, told, max(event.at - since, 0.0)):
            _erase()
            print(line, flush=True)
            spoken = time.monotonic()
        if is_ready(event.object, generations[event.name]):
            ready.setdefault(event.name, max(event.at - since, 0.0))
    return ready


def is_ready(item: Json, generation: int) -> bool:
    """Ready, and no pod of an older revision answers any more."""
    current = item["metadata"]["generation"] >= generation
    return current and all(condition(item, kind)["status"] == "True" for kind in ("Ready", "RolloutComplete"))


def changes(event: Seen, told: dict[tuple[str, str], tuple[str, str]], elapsed: float) -> Iterator[str]:
    """A line for each condition whose status or reason is not the one in `told`, which is brought up to date."""
    for found in event.object.get("status", {}).get("conditions", []):
        key, value = (event.name, found["type"]), (found["status"], found["reason"])
        if told.get(key) != value:
            told[key] = value
            yield _line(event.name, found, elapsed)


def _line(name: str, found: Json, elapsed: float) -> str:
    status = paint(f"{found['status']:<8}", *_STYLES[found["status"]])
    text = f"{found['reason']}: {found['message']}"
    room = max(shutil.get_terminal_size((140, 24)).columns - 54, 30)
    shown = text if len(text) <= room else text[: room - 1] + "…"
    return f"  {elapsed:6.2f} s  {name:<14} {found['type']:<18} {status} {shown}"


def _beat(waiting: list[str], elapsed: float, spoken: float) -> float:
    """Shows that we are waiting: on a terminal all the time, in a file every ten seconds."""
    line = f"  {elapsed:6.1f} s  … waiting for {', '.join(waiting)}"
    if sys.stdout.isatty():
        sys.stdout.write(f"\r\x1b[2K{line}")
        sys.stdout.flush()
        return spoken
    if time.monotonic() - spoken < HEARTBEAT:
        return spoken
    print(line, flush=True)
    return time.monotonic()


def _erase() -> None:
    if sys.stdout.isatty():
        sys.stdout.write("\r\x1b[2K")
