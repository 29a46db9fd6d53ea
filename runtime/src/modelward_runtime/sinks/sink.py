"""The seam between who writes records and where they go.

`outlet.py` calls `write` on its thread, `keeping.py` the rest on another. Implemented by `stdout.py`, `file.py` and `s3.py`. A piece is a
file or an object; the pieces of one writer, in their order, are a series.
"""

import hashlib
import itertools
import re
import socket
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

SUFFIX = ".jsonl"
PAYLOADS = "_payloads"  # ends the pod's name in a payload log; no pod's own name has an underscore


class SinkFailed(Exception):
    """Nothing of what was to be written counts as written. The text says what is wrong, and holds no record."""


class Numbering:
    """Numbers the batches of one writer over all its sinks: a log that moves, or comes back, never takes a name again."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)  # `next` is atomic: while a log moves, two threads may ask
        self._began: float | None = None

    def begin(self, now: float) -> None:
        """From now on, by a clock that does not jump, hours are counted; only the first call counts."""
        if self._began is None:
            self._began = now

    def hour(self, now: float) -> int:
        """Whole hours since `begin`."""
        return int((now - (now if self._began is None else self._began)) / 3600)

    def next(self) -> int:
        """The next number."""
        return next(self._numbers)


@dataclass(frozen=True)
class Writer:
    """One writer of a series: the pod, and an id of this start of it that later ones sort behind, as far as clocks allow."""

    pod: str = field(default_factory=lambda: pod_name(socket.gethostname()))
    boot: str = field(default_factory=lambda: new_boot(time.time()))
    numbering: Numbering = field(default_factory=Numbering, compare=False, repr=False)

    @property
    def series(self) -> str:
        """As names of pieces begin."""
        return f"{self.pod}.{self.boot}"

    def is_kin(self, pod: str) -> bool:
        """Whether that pod's pieces are of this kind of log: audit and payload logs may share a place, not a retention."""
        return self.pod.endswith(PAYLOADS) == pod.endswith(PAYLOADS)

    def is_own(self, boot: str) -> bool:
        """Whether that start was one of this writer's model: models may share a place, too, and each has its own retention."""
        return _model_in(boot) == _model_in(self.boot)


@dataclass(frozen=True)
class Piece:
    """A file or object that no one writes to any more; `first` and `last` are when its records were made, seconds since the epoch."""

    name: str
    series: str
    first: float
    last: float


class Sink(Protocol):
    """Where lines go."""

    def write(self, lines: Sequence[bytes], *, fresh: bool) -> None:
        """Make the lines safe; `fresh`: in a new piece. SinkFailed: none of them is, and the same call may be made again."""

    def close(self) -> None:
        """Nothing more will be written."""


class Store(Sink, Protocol):
    """A sink whose pieces can be found again."""

    def heads(self) -> list[bytes]:
        """The last whole line of every series that is there, in the order of their starts, this writer's own excepted. SinkFailed."""

    def pieces(self, before: float) -> list[Piece]:
        """Of every series of this writer's model the oldest pieces, in order, as long as they ended before.

        Never what is written to now. SinkFailed.
        """

    def tail(self, piece: Piece) -> bytes:
        """The last whole line of a piece, or nothing. SinkFailed."""

    def remove(self, piece: Piece) -> None:
        """Delete it; it may be gone already. SinkFailed."""

    def server_time(self) -> float | None:
        """The store's own clock, where it has one that is known. SinkFailed."""


def pod_name(host: str) -> str:
    """A host's name as part of a file's name: dots separate the parts of ours."""
    return re.sub(r"[^A-Za-z0-9-]", "-", host)[:128] or "unknown"


def new_boot(wall: float, model: str = "") -> str:
    """An id of a start that sorts by time, to the millisecond, and that tells the model of `model_id`."""
    began = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(wall))}{int(wall * 1000) % 1000:03}Z"
    return "-".join(part for part in (began, model, uuid.uuid4().hex[:8]) if part)


def model_id(namespace: str, name: str) -> str:
    """A model as part of a file's name: of one length, and without what a name may not hold."""
    return hashlib.sha256(f"{namespace}/{name}".encode()).hexdigest()[:12]


def _model_in(boot: str) -> str:
    """As `new_boot` puts it there; empty for what has none."""
    _began, _, rest = boot.partition("-")
    return rest.rpartition("-")[0]
