"""JSON logs: one object a line on stderr, with one correlation id per reconcile pass.

main.py calls `configure` once and `correlate` around each pass; everybody else uses `logging` as usual and puts facts in
`extra={"model": ..., ...}`. Nothing here may log object bodies: they may carry what users think private.
"""

import contextlib
import itertools
import json
import logging
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, TextIO

STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_context: ContextVar[dict[str, str]] = ContextVar("log_context", default={})  # noqa: B039  -- never changed in place
_passes = itertools.count(1)


class JsonFormatter(logging.Formatter):
    """A record as one JSON object: time, level, logger, message, the pass's context, then the record's extras."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_context.get(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


@contextlib.contextmanager
def correlate(key: object, identity: str) -> Iterator[str]:
    """Give every line logged inside the same `pass` id, unique among the operator's replicas, and the model's key."""
    number = f"{identity}-{next(_passes)}"
    token = _context.set({"pass": number, "key": str(key)})
    try:
        yield number
    finally:
        _context.reset(token)


def configure(level: int, stream: TextIO | None = None) -> None:
    """Send all logs to `stream` (stderr by default) as JSON; libraries speak from WARNING on."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("kopf", "aiohttp", "asyncio", "kubernetes"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
