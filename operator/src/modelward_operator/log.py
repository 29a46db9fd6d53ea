"""JSON logs: one object a line on stderr, with one correlation id from the event that rang for a pass to the writes of the pass.

    watch event ─within─▶ "rung" {pass, key, event, kind, …} ─▶ queue ─▶ correlate ─▶ the pass's lines {pass, key} ─▶ "write" {…, auditID}

main.py calls `configure` once and `correlate` around each pass, watch.py `within` around a ring, client.py `name_write` for each write;
everybody else uses `logging` as usual and puts facts in `extra={"model": ..., ...}`. Every field is in the chart's index template
(helm/modelward/files/logs/index-template.json). Nothing here may log object bodies: they may carry what users think private.
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
_ENCODER: Final = json.JSONEncoder(default=str, ensure_ascii=False)
_context: ContextVar[dict[str, str]] = ContextVar("log_context", default={})  # noqa: B039  -- never changed in place
_writes: ContextVar[Iterator[int] | None] = ContextVar("log_writes", default=None)


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
        return _ENCODER.encode(line)


@contextlib.contextmanager
def within(**facts: str) -> Iterator[None]:
    """Give every line logged inside these facts as well."""
    token = _context.set({**_context.get(), **facts})
    try:
        yield
    finally:
        _context.reset(token)


@contextlib.contextmanager
def correlate(key: object, number: str) -> Iterator[None]:
    """Give every line logged inside the id of the pass and the model's key, and every write an id that begins with the pass's."""
    token = _writes.set(itertools.count(1))
    try:
        with within(**{"pass": number, "key": str(key)}):
            yield
    finally:
        _writes.reset(token)


def name_write() -> str:
    """Return the next id of a write within a pass, an empty string outside of one. The API server's audit log takes it over."""
    count = _writes.get()
    return f"{_context.get().get('pass', '')}.{next(count)}" if count else ""


def configure(level: int, stream: TextIO | None = None) -> None:
    """Send all logs to `stream` (stderr by default) as JSON; libraries speak from WARNING on.

    No line says from which line of code it comes, so that is not looked up: it took a third of the time of each write's line.
    """
    logging._srcfile = None  # noqa: SLF001  -- as the logging HOWTO has it, under "Optimization"
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    handler.addFilter(_calm)
    for name in ("kopf", "aiohttp", "asyncio", "kubernetes"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def _calm(record: logging.LogRecord) -> bool:
    """kopf calls a request that it is about to repeat an error: a warning, or alerts go off whenever an API server is replaced."""
    if record.levelno == logging.ERROR and record.name.startswith("kopf.") and "will retry" in record.getMessage():
        record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
    return True
