"""What a pod answers at GET /load, checked: it comes from a pod that may be anything. Used by `track.py` and `sampler.py`.

The runtime's README describes the answer. A pod speaks of itself alone: whatever it says, no other model's number moves, and its own
stays within `maxReplicas`.
"""

import json
from typing import Final, NamedTuple, TypeGuard

LIMIT: Final = 512
"""Bytes of an answer that can be one."""
MOST_REQUESTS: Final = 1e6
"""In flight in one pod: more is taken for so many."""
_MOST: Final = 1e15


class Load(NamedTuple):
    """One answer. Times in seconds, by the pod's own monotonic clock."""

    now: float
    concurrency: float
    """Requests in flight and queued at `now`."""
    busy: float
    """The integral of the concurrency over time."""
    requests: float
    """Requests that ended."""
    idle: float
    """Since the last one ended, or since it was ready; 0 while there are any."""


class Ask(NamedTuple):
    """What is asked for: an answer as soon as `above` requests are in flight, at the latest after `wait` seconds."""

    above: int
    wait: float

    @property
    def query(self) -> str:
        """For the URL."""
        return f"above={self.above}&wait={self.wait:.3f}"


_FIELDS: Final = ("now", "concurrency", "busySeconds", "requests", "idleSeconds")


def parse_load(text: bytes) -> Load | None:
    """Return the answer, or None when it is none."""
    if len(text) > LIMIT:
        return None
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    numbers = [told[field] for field in _FIELDS if is_number(told.get(field))]
    if len(numbers) < len(_FIELDS):
        return None
    now, concurrency, *rest = map(float, numbers)
    return Load(now, min(concurrency, MOST_REQUESTS), *rest)


def is_number(value: object) -> TypeGuard[int | float]:
    """True for a number that can be meant."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST
