"""The Kubernetes API as `reconcile.py` sees it: four verbs over one client and one store. Made by main.py."""

from modelward_operator.cluster.apply import Applier
from modelward_operator.cluster.events import Teller
from modelward_operator.cluster.founder import Founder
from modelward_operator.cluster.gather import Gatherer
from modelward_operator.cluster.issuer import Issuer
from modelward_operator.cluster.status import StatusWriter
from modelward_operator.facts import Applied, Given, Json, Key, Plan
from modelward_operator.status.news import News


class KubernetesCluster:
    """Implements `reconcile.Cluster`."""

    def __init__(
        self,
        gatherer: Gatherer,
        founder: Founder,
        issuer: Issuer,
        applier: Applier,
        writer: StatusWriter,
        teller: Teller,
    ) -> None:
        self._gatherer, self._founder, self._issuer, self._applier = gatherer, founder, issuer, applier
        self._writer, self._teller = writer, teller

    async def gather(self, key: Key) -> Given | None:
        """Return all facts about `key`, or None when the object is gone."""
        return await self._gatherer.gather(key)

    async def apply(self, plan: Plan, given: Given) -> Applied:
        """Make the ledgers that are missing, issue the certificate that the plan orders, then make the children what it says."""
        founded = await self._founder.found(plan.ledgers)
        issued = await self._issuer.issue(plan.certificate, given) if plan.certificate else Applied()
        before = Applied(founded.writes + issued.writes, (*founded.refusals, *issued.refusals))
        return await self._applier.apply(plan, given, before)

    async def write_status(self, given: Given, status: Json) -> bool:
        """Write the status when it differs; say whether it was written."""
        return await self._writer.write(given, status)

    async def tell(self, given: Given, items: list[News]) -> None:
        """Post Events."""
        await self._teller.tell(given, items)
