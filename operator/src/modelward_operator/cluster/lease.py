"""Leadership by a coordination.k8s.io/Lease: of several replicas one writes; the others watch, ready to take over.

    follower ──lease free, released, or not renewed for 15 s by our own clock──▶ leader
    leader ──renewed every 2 s──▶ leader ──not renewed for 10 s──▶ LeaseLost: the process exits
    leader ──SIGTERM──▶ released: the next one takes it within a second

As in client-go, times written by others are never compared with our clock: a follower counts from when it saw the record change, so
clocks may differ; the clock goes on while the machine sleeps. A leader stops before (10 s) anyone else may start (15 s):

    renewed                        no new write begins        no write under way may still be carried out      another may lead
       ├───────────── 10 s ────────────────┤                                 ├──── 1 s ────┤
       └──────────── 14 s: what `fence` leaves to a write, by our timeout and the API server's ────────────────── 15 s

Never kopf's peering, which freezes everybody at equal priority. main.py gates the workers with it.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from modelward_operator.cluster.client import Client, NotFound
from modelward_operator.cluster.kinds import LEASE
from modelward_operator.errors import Conflict, OperatorError
from modelward_operator.plan.names import FIELD_MANAGER

NAME: Final = "modelward-operator"

logger = logging.getLogger(__name__)


class LeaseLost(OperatorError):
    """This process may not write any more; it exits and starts anew as a follower."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Seconds: how long a lease lasts, how long its leader goes on unrenewed, how often it is renewed; how often others look."""

    duration: float = 15.0
    deadline: float = 10.0
    period: float = 2.0
    look: float = 1.0

    @property
    def margin(self) -> float:
        """How long before another may lead the last write has to be over."""
        return self.duration / 15


def terms_of(seconds: int) -> Terms:
    """Return the terms of a lease that lasts so long, in the proportions of the usual ones."""
    usual = Terms()
    share = seconds / usual.duration
    return Terms(float(seconds), usual.deadline * share, usual.period * share, min(usual.look, usual.look * share))


def ticking() -> float:
    """Return a monotonic clock's seconds that count while the machine is suspended, too."""
    return time.clock_gettime(_CLOCK)


_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Lease:
    """One contender for the lease in `namespace`. `clock` is monotonic; `now` only dresses the record for people."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        identity: str,
        *,
        terms: Terms | None = None,
        clock: Callable[[], float] = ticking,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client, self._namespace, self._identity = client, namespace, identity
        self._terms = terms or Terms()
        self._clock, self._now = clock, now
        self._record: dict[str, Any] = {}
        self._changed_at = float("-inf")
        self._renewed_at = float("-inf")
        self._released = asyncio.Event()
        self._turn = asyncio.Lock()

    @property
    def held(self) -> bool:
        """True while this process may write."""
        return self._clock() - self._renewed_at < self._terms.deadline

    def check(self) -> float:
        """Return how many seconds a write that begins now may take; raise LeaseLost unless this process may write: the fence."""
        age = self._clock() - self._renewed_at
        if age >= self._terms.deadline:
            raise LeaseLost("the lease was not renewed in time")
        return self._terms.duration - self._terms.margin - age

    async def acquire(self) -> None:
        """Wait until this process leads."""
        while not await self._try():
            left = self._runs_out() - self._clock()
            await asyncio.sleep(min(left + 0.01, self._terms.look) if left > 0 else self._terms.look)

    async def keep(self) -> None:
        """Renew for ever; raises LeaseLost when that did not work for `deadline` seconds, or somebody else has it."""
        while True:
            await asyncio.sleep(self._terms.period)
            await self._try()
            if self._record and self._holder() != self._identity:
                raise LeaseLost(f"the lease is held by {self._holder() or 'nobody'}")
            self.check()

    async def release(self) -> None:
        """Give the lease back for good, so that the next one need not wait for it to run out.

        Never raises: it would run out anyway. No write passes the fence from here. A renewal that is under way ends before: it would
        make this write a conflict, or take the lease again after it.
        """
        held = self.held
        self._released.set()
        if not held:
            return
        self._renewed_at = float("-inf")
        try:
            async with asyncio.timeout(self._terms.period), self._turn:
                if self._holder() != self._identity:
                    return  # somebody has taken it, or deleted it: what is there now is not ours to change
                spec = {**self._record["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
                await self._client.update(LEASE, {**self._record, "spec": spec}, manager=FIELD_MANAGER)
        except (OperatorError, TimeoutError) as error:
            logger.warning("lease not released", extra={"error": str(error)})

    async def _try(self) -> bool:
        """Take or renew the lease once, if it may be taken; True when this process leads."""
        async with self._turn:
            begun = self._clock()
            try:
                async with asyncio.timeout(self._terms.deadline / 2):
                    if self._released.is_set() or not await self._see() or self._released.is_set():
                        return False
                    await self._claim()
            except (OperatorError, TimeoutError) as error:
                logger.info("lease not renewed", extra={"error": str(error)})
                return False
            if self._released.is_set():
                return False
            self._renewed_at = begun  # from before the request: others count from after it
            return True

    async def _see(self) -> bool:
        """Read the record; True when it may be claimed."""
        try:
            record = await self._client.get(LEASE, self._namespace, NAME)
        except NotFound:
            self._record = {}
            return True
        if record["metadata"]["resourceVersion"] != self._record.get("metadata", {}).get("resourceVersion"):
            self._record, self._changed_at = record, self._clock()
        return self._holder() in {"", self._identity} or self._clock() > self._runs_out()

    def _runs_out(self) -> float:
        """Return when the lease that was seen last may be taken, on our clock."""
        lasts = self._record.get("spec", {}).get("leaseDurationSeconds") or self._terms.duration
        return self._changed_at + float(lasts)

    async def _claim(self) -> None:
        now = self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = self._record.get("spec", {})
        ours = self._holder() == self._identity
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(self._terms.duration),
            "renewTime": now,
            "acquireTime": before.get("acquireTime", now) if ours else now,
            "leaseTransitions": int(before.get("leaseTransitions", -1)) + (0 if ours else 1),
        }
        if self._record:
            body = {**self._record, "spec": {**before, **spec}}
            self._record = await self._client.update(LEASE, body, manager=FIELD_MANAGER)
            return
        metadata = {"name": NAME, "namespace": self._namespace}
        body = {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": metadata, "spec": spec}
        try:
            self._record = await self._client.create(LEASE, body, manager=FIELD_MANAGER)
        except Conflict:
            self._record = {}
            raise

    def _holder(self) -> str:
        return str(self._record.get("spec", {}).get("holderIdentity") or "")
