"""What this process writes down about calls, as policy.json wants it: the audit log and the payload log.

Made by `serve.py`; told of each policy by `policy.py`, in two steps: `prepare` refuses what cannot be had and changes nothing, and what it
returns makes it so. It only joins the two, and imports each when a policy first asks for it.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from modelward_runtime.audit.config import Audit
from modelward_runtime.config import Policy
from modelward_runtime.payloads.config import Logging
from modelward_runtime.report import Report

if TYPE_CHECKING:
    from modelward_runtime.audit.auditor import Auditor
    from modelward_runtime.audit.running import AuditLog
    from modelward_runtime.exchange import Exchange
    from modelward_runtime.metrics import Metrics
    from modelward_runtime.payloads.log import PayloadLog
    from modelward_runtime.payloads.running import Payloads

Commit = Callable[[], None]


class Recording:
    """Both logs, and the exchange whose calls they are about."""

    def __init__(self, report: Report, metrics: "Metrics") -> None:
        self._report = report
        self._metrics = metrics
        self._exchange: Exchange | None = None
        self._audit: AuditLog | None = None
        self._payloads: Payloads | None = None
        self._auditor: Auditor | None = None
        self._payload_log: PayloadLog | None = None
        report.audit = self._tell
        report.obstacle = lambda: self._auditor.obstacle if self._auditor else ""

    def prepare(self, policy: Policy) -> Commit:
        """What makes this policy's logs so; LoadError PolicyUnsatisfiable when it cannot be."""
        commits = [self._prepare_audit(policy.audit), self._prepare_payloads(policy.logging)]

        def commit() -> None:
            for one in commits:
                one()

        return commit

    def adopt(self, policy: Policy) -> None:
        """It is so from now on; LoadError PolicyUnsatisfiable: nothing has changed."""
        self.prepare(policy)()

    def attach(self, exchange: "Exchange") -> None:
        """These calls are recorded."""
        self._exchange = exchange
        self._hand_out()

    async def opened(
        self, adopted: "asyncio.Future[None]", stopping: "asyncio.Future[Any]", seconds: float = 5.0
    ) -> None:
        """Wait until the audit log of a policy is open, or for so long, or until the process is to end.

        The first calls need not be refused for the lack of it.
        """
        opening = asyncio.ensure_future(self._open(adopted))
        await asyncio.wait({opening, stopping}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        opening.cancel()

    async def close(self) -> None:
        """The last records; nothing is answered any more."""
        await asyncio.gather(*(part.close() for part in (self._audit, self._payloads) if part))

    async def _open(self, adopted: "asyncio.Future[None]") -> None:
        await asyncio.wait({adopted})
        if self._audit:
            await self._audit.opened()

    def _prepare_audit(self, wanted: Audit | None) -> Commit:
        if self._audit is None:
            if wanted is None:
                return lambda: None
            from modelward_runtime.audit.running import AuditLog  # noqa: PLC0415  start-up, see above

            self._audit = AuditLog(self._report, self._metrics.registry, self._hand_out_auditor)
        return self._audit.prepare(wanted)

    def _prepare_payloads(self, wanted: Logging | None) -> Commit:
        if self._payloads is None:
            if wanted is None:
                return lambda: None
            from modelward_runtime.payloads.running import Payloads  # noqa: PLC0415  start-up, see above

            self._payloads = Payloads(self._report, self._metrics.registry, self._hand_out_payloads)
        return self._payloads.prepare(wanted)

    def _hand_out_auditor(self, auditor: "Auditor | None") -> None:
        self._auditor = auditor
        self._hand_out()

    def _hand_out_payloads(self, payloads: "PayloadLog | None") -> None:
        self._payload_log = payloads
        self._hand_out()

    def _hand_out(self) -> None:
        if self._exchange:
            self._exchange.auditor, self._exchange.payloads = self._auditor, self._payload_log

    def _tell(self) -> dict[str, Any] | None:
        return self._auditor.to_json() if self._auditor else None
