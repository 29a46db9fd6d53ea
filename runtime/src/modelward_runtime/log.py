"""Logging: one JSON object a line to stderr in a pod, plain lines on a terminal.

`cli.py` calls `configure` once; everybody else uses `logging.getLogger(__name__)` and passes fields by `extra={...}`. It
must never be given a payload, a tensor or a credential.

Schema: `time` (RFC 3339, UTC, milliseconds), `level` (debug info warning error), `logger`, `message`, then the fields that
the caller gave in `extra`, and `error` (the traceback) where there is one.
"""

import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def configure(*, human: bool | None = None, level: str | None = None) -> None:
    """Send the root logger to stderr. `human` None: plain lines when stderr is a terminal; level: env LOG_LEVEL, else info."""
    handler = logging.StreamHandler(sys.stderr)
    plain = sys.stderr.isatty() if human is None else human
    handler.setFormatter(PlainFormatter() if plain else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    wanted = (level or os.environ.get("LOG_LEVEL") or "info").upper()
    root.setLevel(wanted if wanted in logging.getLevelNamesMapping() else "INFO")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


class JsonFormatter(logging.Formatter):
    """A record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "time": timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= _fields(record)
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


class PlainFormatter(logging.Formatter):
    """A record for a person: time of day, level where it matters, message, fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        clock = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        fields = "".join(f" {key}={value}" for key, value in _fields(record).items())
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return f"{clock} {level}{record.getMessage()}{fields}{trace}"


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC with milliseconds, of seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}
