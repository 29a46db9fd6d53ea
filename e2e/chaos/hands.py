"""What the controllers, the kubelet and the garbage collector of a cluster would do, where there is none.

They look ten times in three seconds.

For each Deployment a ReplicaSet of its present template and so many ready pods, whose runtimes (a server on an address of the loopback
stands for all) say that they serve; pods of another template go when the new ones are ready. What has lost its owner goes.

Two things may be away: the store, and then pods that are made meanwhile do not load, and their runtimes say so; and the node, whose pods
then are not ready, as the node's controller has it, and new ones do not start.
"""

import asyncio
import contextlib
import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiohttp import web

from e2e.chaos.money import Bill
from modelward_operator.cluster.client import Client, NotFound
from modelward_operator.cluster.kinds import BY_KIND, DEPLOYMENT, MODEL, NODE, POD, REPLICA_SET, Resource
from modelward_operator.errors import OperatorError
from modelward_operator.plan.names import ADMIN_PORT
from tests.kubelet import pod_status
from tests.makers import READY_REPORT, failing

Json = dict[str, Any]
ADDRESS, ADDRESS_OF_THE_LATE = "127.77.0.9", "127.77.0.10"
"""Of pods, and of those that were made while the store was away."""
UNREACHABLE: Final = "the object store at 10.0.0.9:9000 does not answer"
NODE_NAME: Final = "chaos-1"
_OWNED: Final = (
    "ServiceAccount",
    "ConfigMap",
    "Service",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "Role",
    "RoleBinding",
)


FAILED_REPORT: Final[Json] = {
    **READY_REPORT,
    "state": "Loading",
    "failure": failing("SourceUnreachable", UNREACHABLE, permanent=False),
}


class Administrator(Client):
    """May do everything, and end a pod as its kubelet does."""

    async def end_pod(self, namespace: str, name: str) -> None:
        """At once."""
        await self._request("delete", POD, POD.path(namespace, name), body={"gracePeriodSeconds": 0})


class Hands:
    """They do what is to be done in one namespace until they are cancelled."""

    def __init__(self, admin: Administrator, namespace: str) -> None:
        self._admin = admin
        self._namespace = namespace
        self.templates: defaultdict[str, list[str]] = defaultdict(list)
        """By the UID of a model: the templates that its pods were given, in order."""
        self.names: dict[str, str] = {}
        """Of these models, by UID: a fault is longer than some of them live."""
        self.bill = Bill()
        self.trouble = ""
        """What the last look ended with, early."""
        self.store_away = False
        self.node_away = False
        self._loaded: set[str] = set()
        """UIDs of pods: what is loaded stays so, whatever is away then."""
        self._waiting: dict[str, float] = {}
        self._serving: set[str] = set()
        self._present: set[str] = set()

    async def serve_reports(self) -> web.AppRunner:
        """The admin port of every pod."""
        app = web.Application()

        async def report(request: web.Request) -> web.Response:
            is_late = request.transport is not None and request.transport.get_extra_info("sockname")[0] != ADDRESS
            return web.json_response(FAILED_REPORT if is_late and self.store_away else dict(READY_REPORT))

        app.router.add_get("/report", report)
        runner = web.AppRunner(app)
        await runner.setup()
        for address in (ADDRESS, ADDRESS_OF_THE_LATE):
            await web.TCPSite(runner, address, ADMIN_PORT).start()
        return runner

    def waiting(self, at_least: float = 3.0) -> dict[str, float]:
        """Models of which a present pod has waited for the store for so many seconds; since when, by name."""
        limit = time.monotonic() - at_least
        return {name: since for name, since in self._waiting.items() if since <= limit}

    def serving(self) -> set[str]:
        """The models of which a pod is ready, as of the last look."""
        return set(self._serving)

    def lost(self, before: set[str]) -> list[str]:
        """Of the models that served before and are still there those of which no pod is ready any more."""
        return [f"{name} served, and no pod of it is ready" for name in sorted(before & self._present - self._serving)]

    async def make_node(self) -> None:
        """The one that all pods run on."""
        body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE_NAME}}
        await self._admin.apply(NODE, body, manager="kubelet", force=True)
        has = {"cpu": "64", "memory": "256Gi", "pods": "110"}
        said = {"status": {"capacity": has, "allocatable": has}}
        await self._admin.patch(NODE, "", NODE_NAME, said, manager="kubelet", subresource="status")

    async def work(self) -> None:
        """For ever; what cannot be done now, because the API server is away, is done later."""
        while True:
            try:
                await self._look()
            except OperatorError as error:
                self.trouble = str(error)
            else:
                self.trouble = ""
            await asyncio.sleep(0.3)

    async def _look(self) -> None:
        models = {one["metadata"]["uid"] for one in await self._all(MODEL)}
        deployments = await self._all(DEPLOYMENT)
        sets, pods = await self._all(REPLICA_SET), await self._all(POD)
        self.bill.see(pods)
        self._present = {one["metadata"]["name"] for one in deployments if _owner(one) in models}
        self._waiting = {name: since for name, since in self._waiting.items() if name in self._present}
        alive = models | {one["metadata"]["uid"] for one in [*deployments, *sets]}
        for resource, found in ((DEPLOYMENT, deployments), (REPLICA_SET, sets), (POD, pods)):
            await self._collect(resource, found, alive)
        for kind in _OWNED:
            await self._collect(BY_KIND[kind], await self._all(BY_KIND[kind]), alive)
        for deployment in deployments:
            if _owner(deployment) in models:
                await self._roll(deployment, sets, pods)

    async def _roll(self, deployment: Json, sets: Sequence[Json], pods: Sequence[Json]) -> None:
        template, wanted = deployment["spec"]["template"], deployment["spec"].get("replicas", 1)
        digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:8]
        given = self.templates[_owner(deployment)]
        self.names[_owner(deployment)] = deployment["metadata"]["name"]
        if not given or given[-1] != digest:
            given.append(digest)
        uid, name = deployment["metadata"]["uid"], f"{deployment['metadata']['name']}-{digest}"
        ours = {one["metadata"]["name"]: one for one in sets if _owner(one) == uid}
        current = ours.get(name) or await self._make_set(deployment, name, digest, wanted)
        have = [one for one in pods if _owner(one) == current["metadata"]["uid"]]
        others = {one["metadata"]["uid"] for one in ours.values()} - {current["metadata"]["uid"]}
        former = [one for one in pods if _owner(one) in others]
        for number in range(wanted):
            if f"{name}-{number}" not in {one["metadata"]["name"] for one in have}:
                await self._make_pod(current, f"{name}-{number}")
        for pod in have[wanted:]:
            await self._end(pod)
        for pod in [*have[:wanted], *former]:
            await self._tell_pod(pod)
        ready = sum(_is_ready(one) for one in have[:wanted])
        if ready >= wanted:
            for pod in former:
                await self._end(pod)
        self._note(deployment["metadata"]["name"], have[:wanted], former)
        serving = ready + sum(_is_ready(one) for one in former if ready < wanted)
        await self._tell(deployment, min(len(have), wanted), ready, serving, wanted)

    def _note(self, name: str, current: Sequence[Json], former: Sequence[Json]) -> None:
        """What the faults ask for."""
        (self._serving.add if any(map(_is_ready, [*current, *former])) else self._serving.discard)(name)
        if any(one.get("status", {}).get("podIP") and not _is_ready(one) for one in current):
            self._waiting.setdefault(name, time.monotonic())
        else:
            self._waiting.pop(name, None)

    async def _make_set(self, deployment: Json, name: str, digest: str, replicas: int) -> Json:
        template = deployment["spec"]["template"]
        labels = {**template["metadata"]["labels"], "pod-template-hash": digest}
        made = {**template, "metadata": {**template["metadata"], "labels": labels}}
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": made}
        return await self._make(REPLICA_SET, name, deployment, labels, {}, spec)

    async def _make_pod(self, owner: Json, name: str) -> None:
        template = owner["spec"]["template"]
        spec = {**template["spec"], "nodeName": NODE_NAME}
        annotations = template["metadata"].get("annotations", {})
        await self._make(POD, name, owner, template["metadata"]["labels"], annotations, spec)

    async def _tell_pod(self, pod: Json) -> None:
        """Say of a pod what its kubelet would, or in its place the node's controller, where that is another thing than it says now."""
        said, uid = pod.get("status", {}), pod["metadata"]["uid"]
        has_begun = bool(said.get("podIP"))
        if self.node_away and not has_begun:
            return
        address = said.get("podIP") or (ADDRESS_OF_THE_LATE if self.store_away else ADDRESS)
        is_loaded = _is_ready(pod) or uid in self._loaded or not (self.store_away and address == ADDRESS_OF_THE_LATE)
        is_ready = is_loaded and not self.node_away
        if is_loaded:
            self._loaded.add(uid)
        if has_begun and is_ready == _is_ready(pod):
            return
        status = pod_status(pod, address, is_ready=is_ready)
        name = pod["metadata"]["name"]
        await self._admin.patch(POD, self._namespace, name, {"status": status}, manager="kubelet", subresource="status")

    async def _make(
        self, resource: Resource, name: str, owner: Json, labels: Json, annotations: Json, spec: Json
    ) -> Json:
        head = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"]}
        meta = {
            "name": name,
            "namespace": self._namespace,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [{**head, "uid": owner["metadata"]["uid"], "controller": True}],
        }
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta, "spec": spec}
        return await self._admin.create(resource, body, manager="hands")

    async def _tell(self, deployment: Json, updated: int, ready: int, serving: int, wanted: int) -> None:
        status = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": max(updated, serving),
            "updatedReplicas": updated,
            "readyReplicas": serving,
            "availableReplicas": serving,
        }
        said = deployment.get("status", {})
        if {name: said.get(name, 0) for name in status} == status:
            return
        done = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
        conditions = [done] if ready >= wanted else [{**done, "reason": "ReplicaSetUpdated"}]
        name = deployment["metadata"]["name"]
        body = {"status": {**status, "conditions": conditions}}
        await self._admin.patch(DEPLOYMENT, self._namespace, name, body, manager="hands", subresource="status")

    async def _collect(self, resource: Resource, found: Sequence[Json], alive: set[str]) -> None:
        for one in found:
            owner = _owner(one)
            if owner and owner not in alive:
                await self._end(one, resource)

    async def _end(self, one: Json, resource: Resource = POD) -> None:
        meta = one["metadata"]
        with contextlib.suppress(NotFound):
            if resource is POD:
                await self._admin.end_pod(self._namespace, meta["name"])
                self.bill.end(meta["uid"])
            else:
                await self._admin.delete(resource, self._namespace, meta["name"], uid=meta["uid"])

    async def _all(self, resource: Resource) -> list[Json]:
        return [one async for page, _ in self._admin.pages(resource, self._namespace) for one in page]


def _owner(one: Mapping[str, Any]) -> str:
    return next((str(ref["uid"]) for ref in one["metadata"].get("ownerReferences", ())), "")


def _is_ready(pod: Json) -> bool:
    said = {one["type"]: one["status"] for one in pod.get("status", {}).get("conditions", ())}
    return said.get("Ready") == "True"
