"""CostLedgers at the API server: read them, write one against its version, delete what is too old. Called by accountant.py."""

import logging
from collections import defaultdict

from modelward_operator.api.costledger import MONTH_LABEL
from modelward_operator.cluster.client import Client, Expired, NotFound, Rejected
from modelward_operator.cluster.kinds import COSTS
from modelward_operator.errors import Conflict, Unreadable
from modelward_operator.facts import Json
from modelward_operator.ledger.account import Account
from modelward_operator.ledger.months import kept_months
from modelward_operator.plan.names import FIELD_MANAGER

logger = logging.getLogger(__name__)


class Ledgers:
    """The stored ledgers, through one client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def read(self, now: int, namespace: str = "") -> dict[str, list[Json]]:
        """Return the objects of the kept months by namespace, of one or of all. Raises Unreadable; NotFound without the kind."""
        found = defaultdict[str, list[Json]](list)
        labels = f"{MONTH_LABEL} in ({','.join(kept_months(now))})"
        while True:
            try:
                async for page, _ in self._client.pages(COSTS, namespace, labels=labels):
                    for obj in page:
                        found[obj["metadata"]["namespace"]].append(obj)
            except Expired:  # it took so long that the rest of the listing is gone
                found.clear()
            else:
                return found

    async def store(self, account: Account, obj: Json) -> None:
        """Write one object where it differs from the stored one. Raises Conflict when another wrote it, NotFound without its namespace."""
        body = account.versioned(obj)
        if not body:
            return
        if "resourceVersion" in body["metadata"]:
            try:
                account.stored(await self._client.update(COSTS, body, manager=FIELD_MANAGER))
            except NotFound:
                logger.warning("ledger made anew: somebody deleted it", extra={"ledger": obj["metadata"]["name"]})
                account.lost(obj["metadata"]["name"])
            else:
                return
        account.stored(await self._client.create(COSTS, obj, manager=FIELD_MANAGER))

    async def prune(self, now: int) -> None:
        """Delete the objects of months that are kept no longer; what cannot be deleted now is left for the next time."""
        kept = kept_months(now)
        try:
            async for page, _ in self._client.pages(COSTS, labels=f"{MONTH_LABEL} notin ({','.join(kept)})"):
                for meta in (obj["metadata"] for obj in page if obj["spec"]["day"][:7] < kept[0]):
                    await self._client.delete(COSTS, meta["namespace"], meta["name"], uid=meta["uid"])
        except (Unreadable, Conflict, NotFound, Rejected, Expired) as error:
            logger.warning("old ledgers not deleted", extra={"error": str(error)})
