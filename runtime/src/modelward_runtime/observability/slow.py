"""The slow-request log: one line for each inference that took longer than a threshold, with what each stage took.

`follower.py` hands every finished `Trail` over. Lines go to the logger `modelward.slow` in whatever form `log.py` gives them. It must not
flood: a second has so many lines at most, and one more that says how many were left out.
"""

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Any, Final

from modelward_runtime.observability.trail import Trail

MOST_LINES: Final = 10
"""Lines a second."""
_SECOND: Final = 1.0
_PARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_log = logging.getLogger("modelward.slow")

Later = Callable[[float, Callable[[], None]], object]


class SlowLog:
    """Bounded lines about what took `threshold` seconds or longer. `later` runs a function after so many seconds."""

    def __init__(self, threshold: float, later: Later | None = None) -> None:
        self.threshold = threshold
        self._later: Later = later or (lambda delay, call: asyncio.get_running_loop().call_later(delay, call))
        self._written = 0
        self._left_out = 0

    def see(self, trail: Trail, trace_id: str) -> None:
        """One request ended. `trace_id` is empty where it is not traced here."""
        if trail.seconds < self.threshold:
            return
        if not self._written:
            self._later(_SECOND, self._turn)
        if self._written >= MOST_LINES:
            self._left_out += 1
            return
        self._written += 1
        _log.warning("slow request", extra=_fields(trail, trace_id or trace_id_of(trail.traceparent)))

    def _turn(self) -> None:
        """A second is over: as many lines are free again."""
        self._written = 0
        if self._left_out:
            _log.warning("slow requests were left out of the log", extra={"leftOut": self._left_out})
            self._left_out = 0


def trace_id_of(traceparent: str) -> str:
    """The trace that a W3C `traceparent` names, empty where it names none. 32 hex digits, whatever was sent."""
    found = _PARENT.fullmatch(traceparent.strip())
    return found[1] if found and found[1].strip("0") else ""


def _fields(trail: Trail, trace_id: str) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "transport": trail.transport,
        "model": trail.model,
        "version": trail.version,
        "code": trail.code,
        "seconds": round(trail.seconds, 6),
        "stageSeconds": trail.stage_seconds(),
        "requestBytes": trail.received,
        "responseBytes": trail.sent,
    }
    if trail.run:
        fields |= {"batchRequests": trail.run.requests, "batchRows": trail.run.rows}
    return fields | ({"traceId": trace_id} if trace_id else {})
