"""The audit log's life: opened, moved, kept to its retention and closed as the section `audit` of policy.json wants it.

Made by `recording.py`, on the event loop's thread. It knows when; `journal.py` and `auditor.py` know what.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from prometheus_client import CollectorRegistry

from modelward_runtime.audit.auditor import Auditor
from modelward_runtime.audit.config import Audit
from modelward_runtime.audit.journal import Journal, Terms
from modelward_runtime.audit.keys import load_input_key, load_signing_key
from modelward_runtime.audit.reading import head_of
from modelward_runtime.audit.records import Head
from modelward_runtime.errors import unsatisfiable
from modelward_runtime.serving import Serving, new_writer
from modelward_runtime.sinks.config import Stdout
from modelward_runtime.sinks.keeping import Keeper, tend
from modelward_runtime.sinks.metrics import OutletMetrics
from modelward_runtime.sinks.opening import linger, longest_piece, open_sink
from modelward_runtime.sinks.sink import SinkFailed, Store, Writer
from modelward_runtime.threads import in_thread

CREDENTIALS: Final = "MODELWARD_AUDIT_"
FLUSH_SECONDS: Final = 5.0  # that the last records may take
_RETRY_SECONDS: Final = 2.0
_STRAGGLERS_SECONDS: Final = 1.0
Commit = Callable[[], None]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Plan:
    """A policy that can be satisfied."""

    wanted: Audit
    terms: Terms
    input_key: bytes
    writer: Writer


class AuditLog:
    """The audit log, or none. `hand_out` is told who audits calls from now on."""

    def __init__(
        self, report: Serving, registry: CollectorRegistry, hand_out: Callable[[Auditor | None], None]
    ) -> None:
        self._report = report
        self._hand_out = hand_out
        self._metrics = OutletMetrics("modelward_audit", "Audit records")
        self._metrics.waiting = lambda: self._journal.waiting if self._journal else 0
        self._metrics.failing = lambda: bool(self._journal and self._journal.failure)
        registry.register(self._metrics)
        self._plan: _Plan | None = None
        self._opening: asyncio.Task[None] | None = None
        self._tending: asyncio.Task[None] | None = None
        self._patience = math.inf  # until when calls in flight may still hand in their records
        self._closing: set[asyncio.Task[None]] = set()
        self.auditor: Auditor | None = None

    def prepare(self, wanted: Audit | None) -> Commit:
        """What makes it so; LoadError PolicyUnsatisfiable when a key or the sink cannot be had."""
        if wanted is None:
            return self._end
        key = load_signing_key(Path(wanted.signing_key_file))
        input_key = load_input_key(Path(wanted.input_hash_key_file)) if wanted.input_hash_key_file else b""
        before = self._plan
        writer = before.writer if before else new_writer(self._report.boot)
        if before and before.wanted.sink == wanted.sink and before.terms.key.fingerprint == key.fingerprint:
            sink = before.terms.sink
        else:
            try:
                sink = open_sink(wanted.sink, writer, CREDENTIALS)
            except SinkFailed as error:
                raise unsatisfiable(f"audit.sink: {error}") from error
        terms = Terms(
            key=key,
            sink=sink,
            linger=0.0 if wanted.synchronous else linger(wanted.sink),
            longest=longest_piece(wanted.sink),
            checkpoint_records=wanted.checkpoint_records,
            checkpoint_seconds=wanted.checkpoint_seconds,
        )
        plan = _Plan(wanted, terms, input_key, writer)
        return lambda: self._take(plan)

    async def opened(self) -> None:
        """Wait until there is a chain."""
        if self._opening:
            await asyncio.wait({self._opening})

    async def close(self) -> None:
        """The last records: of calls that were given up, too. Nothing is answered any more."""
        self._patience = time.monotonic() + _STRAGGLERS_SECONDS
        self._end()
        await asyncio.gather(*self._closing)

    @property
    def _journal(self) -> Journal | None:
        return self.auditor.journal if self.auditor else None

    def _take(self, plan: _Plan) -> None:
        before, self._plan = self._plan, plan
        if self.auditor is None:
            self.auditor = Auditor(self._report)
        self.auditor.adopt(plan.wanted, plan.input_key)
        self._hand_out(self.auditor)
        journal = self._journal
        if journal is None:
            self._stop()
            self._opening = asyncio.ensure_future(self._open(self.auditor, plan))
            return
        if before and before.terms.sink is plan.terms.sink:
            journal.retune(plan.terms)
        else:
            journal.move(plan.terms)
        if not before or before.terms.sink is not plan.terms.sink or before.wanted.retention != plan.wanted.retention:
            self._tend(journal, plan)

    async def _open(self, auditor: Auditor, plan: _Plan) -> None:
        try:
            found = await self._find(auditor, plan)
        except Exception:
            log.exception("the audit log cannot be opened: this is a bug")
            auditor.unopened("internal error")
            raise
        journal = Journal(plan.writer, plan.terms, self._metrics)
        journal.begin(found)
        auditor.opened(journal)
        self._tend(journal, plan)

    async def _find(self, auditor: Auditor, plan: _Plan) -> list[Head]:
        """The ends of the chains in the sink. A log that is required waits until the sink can be asked."""
        if isinstance(plan.wanted.sink, Stdout):
            return []
        store = cast("Store", plan.terms.sink)
        while True:
            try:
                lines = await in_thread(store.heads, "audit")
                return [head for line in lines if (head := head_of(line))]
            except SinkFailed as error:
                auditor.unopened(str(error))
                log.error("the audit log cannot be opened", extra={"cause": str(error)})  # noqa: TRY400  the cause is enough
                if not plan.wanted.required:
                    return []
            await asyncio.sleep(_RETRY_SECONDS)

    def _tend(self, journal: Journal, plan: _Plan) -> None:
        if self._tending:
            self._tending.cancel()
        retention, keeper = plan.wanted.retention, None
        if retention:
            keeper = Keeper(cast("Store", plan.terms.sink), retention, journal.expire)
        self._tending = asyncio.ensure_future(tend(journal.beat, keeper))

    def _stop(self) -> None:
        for task in (self._opening, self._tending):
            if task:
                task.cancel()

    def _end(self) -> None:
        self._stop()
        if self.auditor:
            self.auditor.tell_refusals(at_once=True)
        auditor, self.auditor, self._plan = self.auditor, None, None
        self._hand_out(None)
        if auditor and auditor.journal:
            closing = asyncio.ensure_future(self._finish(auditor, auditor.journal))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def _finish(self, auditor: Auditor, journal: Journal) -> None:
        """Calls that began under this log are recorded in it, however its policy has changed meanwhile; then it ends."""
        auditor.catch_up()
        while journal.reserved and time.monotonic() < self._patience:  # noqa: ASYNC110  an event would cost every call
            await asyncio.sleep(0.01)
        auditor.catch_up()
        await journal.close(FLUSH_SECONDS)
