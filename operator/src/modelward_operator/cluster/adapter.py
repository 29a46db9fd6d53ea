"""The Kubernetes API as `reconcile.py` sees it: four verbs over one client and one store. Made by main.py."""

from dataclasses import replace

from modelward_operator.cluster.adoption import Adopter
from modelward_operator.cluster.apply import Applier
from modelward_operator.cluster.events import Teller
from modelward_operator.cluster.founder import Founder
from modelward_operator.cluster.gather import Gatherer
from modelward_operator.cluster.historian import Historian
from modelward_operator.cluster.issuer import Issuer
from modelward_operator.cluster.status import StatusWriter
from modelward_operator.cluster.switchboard import Switchboard
from modelward_operator.facts import Applied, Given, Json, Key, Plan
from modelward_operator.status.news import News


class KubernetesCluster:
    """Implements `reconcile.Cluster`."""

    def __init__(
        self,
        gatherer: Gatherer,
        adopter: Adopter,
        founder: Founder,
        issuer: Issuer,
        applier: Applier,
        historian: Historian,
        writer: StatusWriter,
        teller: Teller,
        switchboard: Switchboard | None = None,
    ) -> None:
        self._gatherer, self._adopter = gatherer, adopter
        self._founder, self._issuer, self._applier = founder, issuer, applier
        self._historian, self._writer, self._teller, self._switchboard = historian, writer, teller, switchboard

    async def gather(self, key: Key) -> Given | None:
        """Return all facts about `key`, or None when the object is gone. What an earlier one of its name left behind is its own by then."""
        given = await self._gatherer.gather(key)
        if given and await self._adopter.take_back(given):
            given = await self._gatherer.gather(key)
        if given is None and self._switchboard:
            self._switchboard.post(key, None)
        return given

    async def apply(self, plan: Plan, given: Given) -> Applied:
        """Make the ledgers that are missing, issue the ordered certificate, make the children what the plan says, note down what serves."""
        if self._switchboard and not plan.partial:
            self._switchboard.post(given.key, plan.route)
        founded = await self._founder.found(plan.ledgers)
        issued = await self._issuer.issue(plan.certificate, given) if plan.certificate else Applied()
        applied = await self._applier.apply(plan, given, founded + issued)
        told = await self._historian.record(plan.history, given)
        writes = applied.writes + told.writes
        return replace(applied, writes=writes, revision=told.revision, unrecorded=told.unrecorded)

    async def write_status(self, given: Given, status: Json) -> bool:
        """Write the status when it differs; say whether it was written."""
        return await self._writer.write(given, status)

    async def tell(self, given: Given, items: list[News]) -> None:
        """Post Events."""
        await self._teller.tell(given, items)
