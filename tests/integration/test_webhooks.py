"""What others do to our objects on their way into the cluster: webhooks, a LimitRange, a ResourceQuota. None of it makes an endless diff.

The webhooks are real ones over TLS, the plug-ins the API server's own.
"""

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest

from modelward_operator.cluster.apply import OVERRULED_AGAIN
from modelward_operator.cluster.client import Client, Rejected
from modelward_operator.cluster.kinds import BY_KIND, CONFIG_MAP, DEPLOYMENT, NETWORK_POLICY, OBSERVED, POD, Resource
from tests.integration.rig import Rig, make_rig
from tests.integration.running import run_pod
from tests.integration.webhook import Json, webhook
from tests.until import PATIENCE

LIMITS = Resource("LimitRange", "", "v1", "limitranges")
QUOTA = Resource("ResourceQuota", "", "v1", "resourcequotas")
SIDECAR = {"name": "mesh", "image": "mesh/proxy:1", "resources": {"requests": {"cpu": "10m"}}}


def add(path: str, value: Any) -> Json:
    return {"op": "add", "path": path, "value": value}


def inject(at: str) -> Any:
    """What a mesh does to the pod at that path: a container, an init container, a volume, a mount in ours, a variable and marks."""

    def mutate(obj: Json) -> list[Json]:
        pod: Json = obj
        for part in filter(None, at.split("/")):
            pod = pod.get(part) or {}
        containers = pod.get("spec", {}).get("containers", [])
        if not containers or any(one["name"] == "mesh" for one in containers):
            return []
        mount = {"name": "mesh", "mountPath": "/var/run/mesh"}
        return [
            add(f"{at}/spec/containers/-", SIDECAR),
            add(f"{at}/spec/initContainers", [{"name": "mesh-init", "image": "mesh/init:1"}]),
            add(f"{at}/spec/volumes/-", {"name": "mesh", "emptyDir": {}}),
            add(f"{at}/spec/containers/0/volumeMounts/-", mount),
            add(f"{at}/spec/containers/0/env/-", {"name": "MESH", "value": "on"}),
            add(f"{at}/metadata/annotations/mesh.example~1injected", "true"),
            add(f"{at}/metadata/labels/mesh.example~1injected", "true"),
        ]

    return mutate


async def rests(rig: Rig) -> None:
    """Look again, several times, and see that nothing is written and nothing changes."""
    await rig.heard_all()
    for resource in OBSERVED:
        async for page, _ in rig.admin.pages(resource, rig.namespace):
            for one in page:
                await rig.heard(resource.kind, one["metadata"]["name"], int(one["metadata"]["resourceVersion"]))
    await rig.reconcile()
    before = await rig.versions()
    rig.writes.clear()
    for _ in range(3):
        await rig.reconcile()
    assert rig.writes == {}
    assert before == await rig.versions()


async def test_a_sidecar_in_the_pods_makes_no_difference(rig: Rig, client: Client, tmp_path: Path) -> None:
    async with webhook(client, tmp_path, rig.namespace, POD, inject("")) as came:
        await rig.create()
        await rig.reconcile()
        await run_pod(client, rig.namespace, "fraud", "192.0.2.1")
        assert len(came) >= 1
        containers = (await rig.get("Pod", "fraud-1-x"))["spec"]["containers"]
        assert ["runtime", "mesh"] == [one["name"] for one in containers]
        await rests(rig)
        assert (await rig.condition("WorkloadAvailable"))["status"] == "True"


async def test_a_sidecar_in_the_deployment_stays_and_makes_no_difference(
    rig: Rig, client: Client, tmp_path: Path
) -> None:
    async with webhook(client, tmp_path, rig.namespace, DEPLOYMENT, inject("/spec/template")):
        await rig.create()
        await rig.reconcile()
        await rests(rig)
        await rig.change({"runtime": {"threads": 3}})
        await rig.reconcile()
        await rests(rig)
    template = (await rig.get("Deployment"))["spec"]["template"]
    assert ["runtime", "mesh"] == [one["name"] for one in template["spec"]["containers"]]
    assert template["metadata"]["annotations"]["mesh.example/injected"] == "true"
    ready = await rig.condition("Ready")
    assert "webhook" not in ready["message"], "what is beside ours is nobody's business"


def mirror(obj: Json) -> list[Json]:
    """Do what a policy engine does on an air-gapped site."""
    (container, *_) = obj.get("spec", {}).get("template", {}).get("spec", {}).get("containers") or [{}]
    name = container.get("image", "").rsplit("/", 1)[-1]
    at = "/spec/template/spec/containers/0"
    return [add(f"{at}/image", f"mirror.example/{name}"), add(f"{at}/imagePullPolicy", "Always")] if name else []


async def test_a_webhook_that_changes_our_fields_has_the_last_word_and_it_is_told(
    rig: Rig, client: Client, tmp_path: Path
) -> None:
    async with webhook(client, tmp_path, rig.namespace, DEPLOYMENT, mirror):
        await rig.create()
        await rig.reconcile()
        assert rig.writes["apply", "Deployment"] == 1
        await run_pod(client, rig.namespace, "fraud", "192.0.2.1")
        await rests(rig)
        image = "mirror.example/modelward-runtime:1"
        assert (await rig.get("Deployment"))["spec"]["template"]["spec"]["containers"][0]["image"] == image
        ready = await rig.condition("Ready")
        assert "the last word on spec.template.spec.containers[runtime].image" in ready["message"]
        assert f'"{image}"' in ready["message"]

        forged = {"spec": {"template": {"spec": {"automountServiceAccountToken": True}}}}
        await rig.admin.patch(DEPLOYMENT, rig.namespace, "fraud", forged, manager="somebody")
        await rig.heard_all()
        await rig.reconcile()
        live = await rig.get("Deployment")
        assert live["spec"]["template"]["spec"]["automountServiceAccountToken"] is False, "other drift is repaired"
        await rests(rig)

        before = await rig.versions()
        async with make_rig(client, rig.namespace) as anew:
            await anew.reconcile()
            assert anew.writes["apply", "Deployment"] == 1, "a restarted operator asks once"
            await rests(anew)
        assert before["Deployment", "fraud"] == (await rig.versions())["Deployment", "fraud"]


async def test_a_webhook_that_is_gone_is_noticed(client: Client, namespace: str, tmp_path: Path) -> None:
    now = [0.0]
    async with make_rig(client, namespace, applier_clock=lambda: now[0]) as rig:
        async with webhook(client, tmp_path, namespace, DEPLOYMENT, mirror):
            await rig.create()
            await rig.reconcile()
            again = await rig.reconcile()
        assert again is not None
        assert again <= OVERRULED_AGAIN
        await rests(rig)
        now[0] += OVERRULED_AGAIN
        async with asyncio.timeout(PATIENCE):  # until the API server knows as well
            while (
                "mirror.example" in (await rig.get("Deployment"))["spec"]["template"]["spec"]["containers"][0]["image"]
            ):
                await rig.reconcile()
                now[0] += OVERRULED_AGAIN
        await rests(rig)
        assert "the last word" not in (await rig.condition("Ready"))["message"]


async def test_a_webhook_that_never_says_the_same_twice_makes_no_endless_diff(
    rig: Rig, client: Client, tmp_path: Path
) -> None:
    numbers = itertools.count(1000)

    def mutate(obj: Json) -> list[Json]:
        return [add("/spec/progressDeadlineSeconds", next(numbers))] if "spec" in obj else []

    async with webhook(client, tmp_path, rig.namespace, DEPLOYMENT, mutate):
        await rig.create()
        await rig.reconcile()
        await rests(rig)


async def test_a_webhook_that_opens_a_door_keeps_the_pods_away(rig: Rig, client: Client, tmp_path: Path) -> None:
    def mutate(obj: Json) -> list[Json]:
        return [add("/spec/ingress", [{}])] if "spec" in obj else []

    async with webhook(client, tmp_path, rig.namespace, NETWORK_POLICY, mutate):
        await rig.create()
        await rig.reconcile()
        for type_ in ("Ready", "EndpointSecured"):
            found = await rig.condition(type_)
            assert (found["status"], found["reason"]) == ("False", "ChildOverruled")
            assert "NetworkPolicy fraud" in found["message"]
            assert "the last word on spec.ingress" in found["message"]
        assert await rig.is_gone("Deployment"), "no pod runs behind an open door"
        await rests(rig)


async def test_a_limit_range_that_changes_the_pods_makes_no_difference(rig: Rig, client: Client) -> None:
    limits = {"type": "Container", "default": {"cpu": "2", "memory": "1Gi"}, "defaultRequest": {"cpu": "100m"}}
    body = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "sizes", "namespace": rig.namespace}}
    await client.create(LIMITS, {**body, "spec": {"limits": [limits]}}, manager="admin")
    await rig.create()
    await rig.reconcile()
    await _until_defaulted(rig)
    await run_pod(client, rig.namespace, "fraud", "192.0.2.1")
    (container,) = (await rig.get("Pod", "fraud-1-x"))["spec"]["containers"]
    assert container["resources"] == {
        "limits": {"cpu": "2", "memory": "1Gi"},
        "requests": {"cpu": "100m", "memory": "1Gi"},
    }
    await rests(rig)
    template = (await rig.get("Deployment"))["spec"]["template"]
    assert template["spec"]["containers"][0]["resources"] == {}
    assert (await rig.condition("WorkloadAvailable"))["status"] == "True"


async def _until_defaulted(rig: Rig) -> None:
    """Wait until the API server knows of the LimitRange."""
    meta = {"name": "try", "namespace": rig.namespace}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    async with asyncio.timeout(PATIENCE):
        while True:
            made = await rig.admin.create(POD, pod, manager="test", dry_run=True)
            if made["spec"]["containers"][0]["resources"]:
                return
            await asyncio.sleep(0.05)


async def test_a_namespace_at_its_quota_is_told_and_goes_on_when_there_is_room(rig: Rig, client: Client) -> None:
    hard = {"count/configmaps": "1"}
    body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few", "namespace": rig.namespace}}
    await client.create(QUOTA, {**body, "spec": {"hard": hard}}, manager="admin")
    await _tell_quota(client, rig.namespace, hard, used="1")  # what the quota controller does
    await _until_full(rig)
    await rig.create()
    again = await rig.reconcile()
    ready = await rig.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ChildRejected")
    assert (
        "exceeded quota: few, requested: count/configmaps=1, used: count/configmaps=1, limited: count/configmaps=1"
        in (ready["message"])
    )
    assert await rig.is_gone("Deployment"), "pods would hang without what they mount"
    assert again is not None, "it is looked at again"
    first = await rig.versions()
    await rig.reconcile()
    assert first == await rig.versions()

    await client.patch(QUOTA, rig.namespace, "few", {"spec": {"hard": {"count/configmaps": "9"}}}, manager="admin")
    await _tell_quota(client, rig.namespace, {"count/configmaps": "9"}, used="1")
    async with asyncio.timeout(PATIENCE):
        while await rig.is_gone("Deployment"):
            await rig.reconcile()
    await rests(rig)


async def _tell_quota(client: Client, namespace: str, hard: Json, used: str) -> None:
    status = {"status": {"hard": hard, "used": dict.fromkeys(hard, used)}}
    await client.patch(QUOTA, namespace, "few", status, manager="controller", subresource="status")


async def _until_full(rig: Rig) -> None:
    meta = {"name": "try", "namespace": rig.namespace}
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}
                await rig.admin.create(CONFIG_MAP, body, manager="test", dry_run=True)
            except Rejected:
                return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("kind", ["Service", "ConfigMap"])
async def test_what_is_made_anew_under_a_webhook_is_judged_as_well(
    rig: Rig, client: Client, tmp_path: Path, kind: str
) -> None:
    await rig.create()
    await rig.reconcile()
    name = "fraud" if kind == "Service" else "fraud-policy"

    def mutate(obj: Json) -> list[Json]:
        return [add("/metadata/labels/app.kubernetes.io~1name", "theirs")] if "labels" in obj["metadata"] else []

    async with webhook(client, tmp_path, rig.namespace, BY_KIND[kind], mutate):
        live = await rig.get(kind, name)
        await rig.admin.delete(BY_KIND[kind], rig.namespace, name, uid=live["metadata"]["uid"])
        await rig.unknown(kind, name)
        await rig.reconcile()
        assert (await rig.get(kind, name))["metadata"]["labels"]["app.kubernetes.io/name"] == "theirs"
        await rests(rig)
        assert (await rig.condition("Ready"))["reason"] != "ChildOverruled", (
            "a label says nothing about who may do what"
        )
