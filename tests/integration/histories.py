"""A model whose pods say that they serve, so that it comes to have a history: there is no kubelet in this ring."""

import dataclasses
from typing import Any

from modelward_operator.cluster.kinds import MODEL, REVISION
from modelward_operator.facts import Given, Json
from modelward_operator.plan import names
from modelward_operator.plan.draw import draw
from modelward_operator.policies.rooms import rule
from modelward_operator.status.summarise import summarise
from tests.integration.rig import Rig
from tests.makers import READY_REPORT, make_pod, parsed

DIGESTS = ["sha256:" + digit * 64 for digit in "0123456789abcdef"]


@dataclasses.dataclass
class Model:
    """Passes of the operator, with its own rights, over a model that serves."""

    rig: Rig

    async def serve(self, digest: str) -> Json:
        """One pass in which a pod of the present template says this digest; `status.revision` after it."""
        given = await self.given(digest)
        spec = parsed(given)
        ruling = rule(given, spec)
        plan = draw(given, spec, ruling)
        applied = await self.rig.cluster.apply(plan, given)
        await self.rig.cluster.write_status(given, summarise(given, spec, ruling, plan, applied))
        assert not applied.unrecorded
        return applied.revision

    async def given(self, digest: str) -> Given:
        await self.rig.heard_all()
        given = await self.rig.cluster.gather(self.rig.key())
        assert given is not None
        template = self.rig.live("Deployment")["spec"]["template"]["metadata"]["annotations"]
        report = {**READY_REPORT, "model": {**READY_REPORT["model"], "digest": digest}}
        pod = make_pod(revision=template[names.REVISION], is_ready=True, report=report)
        return dataclasses.replace(given, pods=(pod,))

    async def change(self, uri: str, cause: str = "") -> None:
        """Change the model, and let the operator roll it."""
        await self.rig.change({"model": {"uri": uri}})
        if cause:
            body = {"metadata": {"annotations": {names.CHANGE_CAUSE: cause}}}
            live = await self.rig.admin.patch(MODEL, self.rig.namespace, "fraud", body, manager="user")
            await self.rig.heard(MODEL.kind, "fraud", int(live["metadata"]["resourceVersion"]))
        await self.rig.reconcile()

    async def entries(self) -> dict[int, dict[str, Any]]:
        found: dict[int, dict[str, Any]] = {}
        async for page, _ in self.rig.admin.pages(REVISION, self.rig.namespace):
            found |= {one["revision"]: one for one in page}
        return dict(sorted(found.items()))
