"""What KEDA, the HPA controller and the garbage collector do to a model's objects, one act at a time, on the test's API server.

There are no controllers in this ring. The acts follow KEDA 2.21's `scaledobject_controller.go` in what a hand-over can meet: its finalizer,
its own HPA with the ScaledObject's labels, and the pause. The real ones run in `e2e/cases/test_autoscalers.py`.
"""

import contextlib
from typing import Any

from modelward_operator.cluster.client import Client, NotFound
from modelward_operator.cluster.kinds import DEPLOYMENT, HPA, SCALED_OBJECT, Resource
from modelward_operator.errors import Conflict
from modelward_operator.plan.names import PAUSED_REPLICAS

FINALIZER = "finalizer.keda.sh"
NAME = "fraud"
KEDAS_HPA = f"keda-hpa-{NAME}"


class Others:
    """Acts as everybody else in one namespace."""

    def __init__(self, admin: Client, namespace: str) -> None:
        self._admin, self._namespace = admin, namespace

    async def scale(self, replicas: int) -> None:
        """Write the Deployment's number through /scale, as every autoscaler does."""
        body = {"spec": {"replicas": replicas}}
        await self._admin.patch(
            DEPLOYMENT, self._namespace, NAME, body, manager="kube-controller-manager", subresource="scale"
        )

    async def keda(self) -> None:
        """One reconcile of KEDA's."""
        scaled = await self._find(SCALED_OBJECT, NAME)
        if not scaled:
            return
        if "deletionTimestamp" in scaled["metadata"]:
            await self._set_finalizers(scaled, [])
            return
        if FINALIZER not in scaled["metadata"].get("finalizers", ()):
            await self._set_finalizers(scaled, [FINALIZER])
        paused = scaled["metadata"].get("annotations", {}).get(PAUSED_REPLICAS)
        if paused is None:
            await self._make_hpa(scaled)
            return
        await self._delete(HPA, KEDAS_HPA)
        live = await self._find(DEPLOYMENT, NAME)
        if live and live["spec"]["replicas"] != int(paused):
            await self.scale(int(paused))

    async def collect(self) -> None:
        """One round of the garbage collector's."""
        hpa = await self._find(HPA, KEDAS_HPA)
        scaled = await self._find(SCALED_OBJECT, NAME)
        owner = hpa["metadata"]["ownerReferences"][0]["uid"] if hpa else ""
        if hpa and owner != scaled.get("metadata", {}).get("uid"):
            await self._delete(HPA, KEDAS_HPA)

    async def _make_hpa(self, scaled: dict[str, Any]) -> None:
        meta, spec = scaled["metadata"], scaled["spec"]
        owner = {"apiVersion": scaled["apiVersion"], "kind": scaled["kind"], "name": NAME, "uid": meta["uid"]}
        body = {
            "apiVersion": "autoscaling/v2",
            "kind": HPA.kind,
            "metadata": {
                "name": KEDAS_HPA,
                "namespace": self._namespace,
                "labels": meta["labels"],
                "annotations": meta.get("annotations", {}),
                "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
            },
            "spec": {
                "scaleTargetRef": spec["scaleTargetRef"],
                "minReplicas": max(spec["minReplicaCount"], 1),
                "maxReplicas": spec["maxReplicaCount"],
            },
        }
        with contextlib.suppress(Conflict):  # it is there
            await self._admin.create(HPA, body, manager="keda")

    async def _set_finalizers(self, scaled: dict[str, Any], finalizers: list[str]) -> None:
        meta = {"finalizers": finalizers, "resourceVersion": scaled["metadata"]["resourceVersion"]}
        with contextlib.suppress(Conflict, NotFound):
            await self._admin.patch(SCALED_OBJECT, self._namespace, NAME, {"metadata": meta}, manager="keda")

    async def _find(self, resource: Resource, name: str) -> dict[str, Any]:
        try:
            return await self._admin.get(resource, self._namespace, name)
        except NotFound:
            return {}

    async def _delete(self, resource: Resource, name: str) -> None:
        live = await self._find(resource, name)
        if live:
            with contextlib.suppress(Conflict, NotFound):
                await self._admin.delete(resource, self._namespace, name, uid=live["metadata"]["uid"])
