"""The payload log's life: opened, moved, kept to its retention and closed as the section `logging` of policy.json wants it.

Made by `recording.py`, on the event loop's thread.
"""

import asyncio
from collections.abc import Callable
from typing import Final, cast

from prometheus_client import CollectorRegistry

from modelward_runtime.errors import unsatisfiable
from modelward_runtime.payloads.config import Logging
from modelward_runtime.payloads.log import PayloadLog
from modelward_runtime.privacy.pii import fold
from modelward_runtime.serving import Serving, new_writer
from modelward_runtime.sinks.keeping import Keeper, tend
from modelward_runtime.sinks.metrics import OutletMetrics
from modelward_runtime.sinks.opening import linger, longest_piece, open_sink
from modelward_runtime.sinks.sink import PAYLOADS, Piece, Sink, SinkFailed, Store, Writer

CREDENTIALS: Final = "MODELWARD_LOGGING_"
FLUSH_SECONDS: Final = 5.0  # that the last records may take
Commit = Callable[[], None]


class Payloads:
    """The payload log, or none. `hand_out` is told who logs calls from now on."""

    def __init__(
        self, report: Serving, registry: CollectorRegistry, hand_out: Callable[[PayloadLog | None], None]
    ) -> None:
        self._report = report
        self._hand_out = hand_out
        self._metrics = OutletMetrics("modelward_payload_log", "Payload records")
        self._metrics.waiting = lambda: self._log.waiting if self._log else 0
        registry.register(self._metrics)
        self._log: PayloadLog | None = None
        self._wanted: Logging | None = None
        self._sink: Sink | None = None
        self._writer = _writer(report)
        self._tending: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Future[int] | asyncio.Task[None]] = set()

    def prepare(self, wanted: Logging | None) -> Commit:
        """What makes it so; LoadError PolicyUnsatisfiable when the sink cannot be had."""
        if wanted is None:
            return self._end
        if wanted.mode == "Redacted":
            fold.prepare()
        if self._sink and self._wanted and self._wanted.sink == wanted.sink:
            sink = self._sink
        else:
            try:
                sink = open_sink(wanted.sink, self._writer, CREDENTIALS)
            except SinkFailed as error:
                raise unsatisfiable(f"logging.sink: {error}") from error
        return lambda: self._take(wanted, sink)

    async def close(self) -> None:
        """The last records; nothing is answered any more."""
        self._end()
        await asyncio.gather(*self._closing)

    def _take(self, wanted: Logging, sink: Sink) -> None:
        if self._log is None:
            self._log = PayloadLog(self._writer, self._report, self._metrics)
        self._log.adopt(wanted)
        if sink is not self._sink and (before := self._log.move(sink, linger(wanted.sink), longest_piece(wanted.sink))):
            self._await(asyncio.ensure_future(before.close(FLUSH_SECONDS)))
        self._wanted, self._sink = wanted, sink
        self._stop()
        keeper = Keeper(cast("Store", sink), wanted.retention, _no_note) if wanted.retention else None
        self._tending = asyncio.ensure_future(tend(self._log.beat, keeper))
        self._hand_out(self._log)

    def _stop(self) -> None:
        if self._tending:
            self._tending.cancel()

    def _end(self) -> None:
        self._stop()
        ended, self._log, self._wanted, self._sink = self._log, None, None, None
        self._hand_out(None)
        if ended:
            self._await(asyncio.ensure_future(ended.close(FLUSH_SECONDS)))
            self._writer = _writer(self._report)

    def _await(self, closing: "asyncio.Future[int] | asyncio.Task[None]") -> None:
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


def _writer(report: Serving) -> Writer:
    """Named apart, so that both logs may share a directory."""
    named = new_writer(report.boot)
    return Writer(named.pod + PAYLOADS, named.boot)


async def _no_note(pieces: list[Piece], last: bytes) -> bool:
    """A payload log tells nothing about what it deletes."""
    return True
