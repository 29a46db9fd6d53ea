"""Post Events about a ModelDeployment or a CostBudget, for `kubectl describe`. Called by adapter.py; a nicety that never fails a pass."""

import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from modelward_operator.cluster.client import Client
from modelward_operator.cluster.kinds import EVENT, MODEL, Resource
from modelward_operator.errors import OperatorError
from modelward_operator.facts import Given, Json
from modelward_operator.plan.names import FIELD_MANAGER, fingerprint
from modelward_operator.status.news import News

QUIET: Final = 60.0
"""Seconds for which the same Event is not posted again: something that flaps must not fill etcd."""
MESSAGE_LIMIT: Final = 1024

logger = logging.getLogger(__name__)


class Teller:
    """Posts Events as `modelward-operator` from one replica."""

    def __init__(
        self,
        client: Client,
        identity: str,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._identity, self._now, self._clock = client, identity, now, clock
        self._posted: dict[str, float] = {}

    async def tell(self, given: Given, items: Sequence[News]) -> None:
        """Post what was not posted in the last minute of a ModelDeployment."""
        await self.tell_of(MODEL, given.raw["metadata"], items)

    async def tell_of(self, resource: Resource, meta: Json, items: Sequence[News]) -> None:
        """Post what was not posted in the last minute of the object with this metadata."""
        for item in items:
            mark = fingerprint([meta["uid"], item.type, item.reason, item.message])
            if self._clock() - self._posted.get(mark, float("-inf")) < QUIET:
                continue
            self._remember(mark)
            try:
                await self._client.create(EVENT, self._event(resource, meta, item, mark), manager=FIELD_MANAGER)
            except OperatorError as error:
                ending = "being terminated" in str(
                    error
                )  # a namespace that ends takes no Events, and nobody would read them
                level = logging.DEBUG if ending else logging.WARNING
                logger.log(level, "event not posted", extra={"reason": item.reason, "error": str(error)})

    def _remember(self, mark: str) -> None:
        if len(self._posted) > 10_000:
            limit = self._clock() - QUIET
            self._posted = {m: at for m, at in self._posted.items() if at > limit}
        self._posted[mark] = self._clock()

    def _event(self, resource: Resource, meta: Json, item: News, mark: str) -> dict[str, object]:
        now = self._now()
        stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{meta['name']}.{int(now.timestamp()):x}{mark[:10]}",
                "namespace": meta["namespace"],
            },
            "involvedObject": {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "namespace": meta["namespace"],
                "name": meta["name"],
                "uid": meta["uid"],
            },
            "type": item.type,
            "reason": item.reason,
            "message": item.message[:MESSAGE_LIMIT],
            "action": "Reconcile",
            "source": {"component": "modelward-operator"},
            "reportingComponent": "modelward-operator",
            "reportingInstance": self._identity,
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
        }
