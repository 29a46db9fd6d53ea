"""A pod for each model, that is a record only: kwok says that it runs, and one server for all says that it has loaded its model.

    load ──▶ ReplicaSet and pod of each Deployment, bound to a node of kwok's     as controllers and the scheduler would
    kwok ──▶ the pod runs and is ready, at ADDRESS                                as the kubelet would say
    here ──▶ GET http://ADDRESS:8082/report                                       as the runtime would answer

So an operator has the watch events, records and questions of models that serve, without one model being loaded. Measured is how long it
takes until each model says that it serves, and what that costs; idleness and a restart with all of it come after.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final

from aiohttp import web

from e2e.bench.operator import meter
from e2e.bench.operator.load import Json, Load, Name, each
from e2e.bench.operator.measure import PATIENCE, PATIENCE_EACH, Watched, tally
from e2e.bench.operator.place import Place, end
from e2e.cluster.binaries import binary, module_source

USER: Final = "kwok"
NODE: Final = "kwok-1"
ADDRESS: Final = "127.77.0.2"  # of the loopback, and nobody else's
ADMIN_PORT: Final = 8082
NODES: Final = "/api/v1/nodes"
REPLICA_SETS: Final = "/apis/apps/v1/namespaces/{}/replicasets"
PODS: Final = "/api/v1/namespaces/{}/pods"
DEPLOYMENTS: Final = "/apis/apps/v1/namespaces/{}/deployments"

STAGE: Final = f"""\
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {{name: pod-ready}}
spec:
  resourceRef: {{apiGroup: v1, kind: Pod}}
  selector:
    matchExpressions:
    - {{key: .status.phase, operator: In, values: [Pending]}}
  next:
    statusTemplate: |
      {{{{ $now := Now }}}}
      phase: Running
      startTime: {{{{ $now | Quote }}}}
      podIP: {ADDRESS}
      podIPs: [{{ip: {ADDRESS}}}]
      conditions:
      {{{{ range $type := list "PodScheduled" "Initialized" "ContainersReady" "Ready" }}}}
      - {{type: {{{{ $type }}}}, status: "True", lastTransitionTime: {{{{ $now | Quote }}}}}}
      {{{{ end }}}}
      containerStatuses:
      {{{{ range .spec.containers }}}}
      - name: {{{{ .name | Quote }}}}
        image: {{{{ .image | Quote }}}}
        imageID: {{{{ .image | Quote }}}}
        containerID: containerd://{{{{ $.metadata.uid }}}}
        ready: true
        started: true
        restartCount: 0
        state: {{running: {{startedAt: {{{{ $now | Quote }}}}}}}}
      {{{{ end }}}}
"""

REPORT: Final[Json] = {
    "apiVersion": "runtime/v1",
    "kind": "Report",
    "state": "Ready",
    "model": {
        "name": "fraud",
        "version": "7",
        "uri": "pvc://models/fraud/7/",
        "digest": "sha256:" + "ab" * 32,
        "sizeBytes": 1048576,
    },
    "executionProvider": "CPUExecutionProvider",
    "access": {"authentication": "TokenReview", "tls": None},
    "failure": None,
}


@contextlib.asynccontextmanager
async def kubelets(where: Place, load: Load) -> AsyncIterator[None]:
    """Run kwok, on the API server's core, and answer for the pods, until the block ends."""
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}, "spec": {}}
    await load.request("POST", NODES, node)
    app = web.Application()
    app.router.add_get("/report", _reported)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, ADDRESS, ADMIN_PORT).start()
        with _kwok(where):
            yield
    finally:
        await runner.cleanup()
        await load.request("DELETE", f"{NODES}/{NODE}")


async def _reported(_: web.Request) -> web.Response:
    return web.json_response(REPORT)


@contextlib.contextmanager
def _kwok(where: Place) -> Iterator[None]:
    config = where.folder / "kwok.yaml"
    config.write_text(STAGE)
    kubeconfig = f"--kubeconfig={where.server.kubeconfig_of(USER)}"
    node = module_source("kwok", "sigs.k8s.io/kwok") / "kustomize/stage/node/fast/node-initialize.yaml"
    configs = [f"--config={config}", f"--config={node}"]
    command = [str(binary("kwok")), "--manage-all-nodes", *configs, kubeconfig]
    with (where.folder / "kwok.log").open("ab") as log:
        process = subprocess.Popen(["taskset", "-c", str(meter.cores()[0]), *command], stdout=log, stderr=log)
    try:
        yield
    finally:
        end(process)


async def serving(it: Watched, load: Load, models: Sequence[Name]) -> dict[str, Any]:
    """Give each model its pod, all at once; until each says that it serves, and the operator is quiet."""
    it.begin()
    used, begun = meter.cpu(it.pid), time.monotonic()
    await each(models, lambda model: _run(load, *model))
    async with asyncio.timeout(PATIENCE + PATIENCE_EACH * len(models)):
        for namespace in sorted({namespace for namespace, _ in models}):
            while not await _all_serve(load, it.who.models.format(namespace)):  # noqa: ASYNC110  -- it is another process
                await asyncio.sleep(0.5)
    seconds = time.monotonic() - begun
    await it.quiet()
    calls = it.look()
    return {
        "seconds": seconds,
        "cpuPerModel": (meter.cpu(it.pid) - used) / len(models),
        "writesPerModel": sum(call.is_write for call in calls) / len(models),
        "calls": tally(calls),
        "memory": meter.memory(it.pid)[0],
    }


async def _run(load: Load, namespace: str, name: str) -> None:
    """Do what the controllers and the scheduler would."""
    live = await load.request("GET", f"{DEPLOYMENTS.format(namespace)}/{name}")
    template = live["spec"]["template"]
    labels = {**template["metadata"]["labels"], "pod-template-hash": "1"}
    annotations = template["metadata"].get("annotations", {})
    meta = {"name": f"{name}-1", "namespace": namespace, "labels": labels, "ownerReferences": [_owner(live)]}
    whole = {"metadata": {"annotations": annotations, "labels": labels}, "spec": template["spec"]}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": whole}
    body = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": meta, "spec": spec}
    made = await load.request("POST", REPLICA_SETS.format(namespace), body)
    meta = {**meta, "name": f"{name}-1-x", "annotations": annotations, "ownerReferences": [_owner(made)]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {**template["spec"], "nodeName": NODE}}
    await load.request("POST", PODS.format(namespace), pod)


def _owner(obj: Json) -> Json:
    kind = {"apiVersion": obj["apiVersion"], "kind": obj["kind"]}
    return {**kind, "name": obj["metadata"]["name"], "uid": obj["metadata"]["uid"], "controller": True}


async def _all_serve(load: Load, path: str) -> bool:
    items = (await load.request("GET", path))["items"]
    conditions = [item.get("status", {}).get("conditions", ()) for item in items]
    return all(any(c["type"] == "Ready" and c["status"] == "True" for c in found) for found in conditions)
