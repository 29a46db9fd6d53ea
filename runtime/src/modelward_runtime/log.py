"""Logging: one JSON object a line to stderr in a pod, plain lines on a terminal.

`cli.py` calls `configure` once; everybody else uses `logging.getLogger(__name__)` and passes fields by `extra={...}`. It
must never be given a payload, a tensor or a credential.

A line is written at once, but for those of `Unhurried` records and those that are given as lines (`lines_only`): all of one turn of the
event loop are written together at its end.

Schema: `time` (RFC 3339, UTC, milliseconds), `level` (debug info warning error), `logger`, `message`, then the fields that
the caller gave in `extra`, and `error` (the traceback) where there is one.
"""

import asyncio
import logging
import os
import sys
import threading
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO

import msgspec

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}

_root = logging.getLogger()
_BLANK = vars(logging.LogRecord("", logging.INFO, "", 0, "", None, None))


def configure(*, human: bool | None = None, level: str | None = None) -> None:
    """Send the root logger to stderr. `human` None: plain lines when stderr is a terminal; level: env LOG_LEVEL, else info."""
    handler = LineHandler(sys.stderr)
    plain = sys.stderr.isatty() if human is None else human
    handler.setFormatter(PlainFormatter() if plain else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    wanted = (level or os.environ.get("LOG_LEVEL") or "info").upper()
    root.setLevel(wanted if wanted in logging.getLevelNamesMapping() else "INFO")
    logging.captureWarnings(capture=True)


class Unhurried(logging.LogRecord):
    """An INFO record that may wait for the end of the loop's turn; `told` are its fields, one at least, name and message our own words.

    Made without asking the stack, the thread and the process for what nobody reads, at a fifth of the cost.
    """

    __slots__ = ("told",)

    def __init__(self, name: str, message: str, told: dict[str, Any]) -> None:
        self.told = told
        self.__dict__.update(_BLANK, name=name, msg=message, created=time.time(), **told)

    def getMessage(self) -> str:  # noqa: N802  as logging has it
        """As it is."""
        return str(self.msg)


class LineHandler(logging.Handler):
    """Writes a line for each record; on an event loop's thread, one write for all the unhurried ones of a turn."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._kept: list[str] = []
        self._keeping = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep or write; what is kept goes first."""
        try:
            if isinstance(record, Unhurried):
                self.keep(self.format(record))
                return
            self._kept.append(self.format(record))
            self.flush()
        except Exception:  # noqa: BLE001  as every handler of logging does
            self.handleError(record)

    def keep(self, line: str) -> None:
        """Write it at the end of this turn."""
        with self._keeping:
            self._kept.append(line)
            if len(self._kept) > 1:
                return
        try:
            asyncio.get_running_loop().call_soon(self.flush)
        except RuntimeError:  # no loop on this thread
            self.flush()

    def flush(self) -> None:
        """Write what is kept."""
        self.acquire()
        try:
            with self._keeping:
                kept, self._kept = self._kept, []
            if kept:
                self._stream.write("\n".join(kept) + "\n")
                self._stream.flush()
        finally:
            self.release()


def lines_only() -> LineHandler | None:
    """Where a line of JSON is all that becomes of a record, who writes it; None where others want to see the record itself."""
    handlers = _root.handlers
    if (
        len(handlers) != 1
        or not isinstance(handlers[0], LineHandler)
        or not isinstance(handlers[0].formatter, JsonFormatter)
    ):
        return None
    return handlers[0]


class JsonFormatter(logging.Formatter):
    """A record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        if isinstance(record, Unhurried):
            head = f'{{"time":"{timestamp(record.created)}","level":"info","logger":"{record.name}","message":"{record.msg}",'
            return head + msgspec.json.encode(record.told).decode()[1:]
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
    whole = int(seconds // 1)
    return f"{_second(whole)}.{int((seconds - whole) * 1000):03d}Z"


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    if isinstance(record, Unhurried):
        return record.told
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}
