"""What a platform team sets, through the operator and a real API server: an account that changes hands, upgrades in turn, nothing that
is written twice."""

from modelward_operator.cluster.client import Client
from modelward_operator.cluster.kinds import BY_KIND, DEPLOYMENT, POD
from modelward_operator.facts import Json
from modelward_operator.plan import names
from modelward_operator.plan.image import image_of
from tests.integration.rig import INSTALLATION, Rig, make_rig
from tests.integration.running import run_pod

IMAGE = INSTALLATION.runtime_image
OWN = names.selector("fraud")
PLATFORM: Json = {
    "runtime": {
        "imagePullSecrets": [{"name": "registry"}],
        "upgradePolicy": "Rolling",
        "requestTimeoutSeconds": 120,
        "maxBodySize": "256Mi",
        "drainSeconds": 20,
    },
    "podMetadata": {"labels": {"app": "payments"}, "annotations": {"example.com/a": "b"}},
    "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/fraud"}},
    "scheduling": {
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"}
        ]
    },
    "accelerator": {"sharing": {"mode": "Exclusive"}, "memory": "20Gi"},
    "scaling": {"replicas": 2},
}


async def subjects(rig: Rig) -> list[str]:
    """The accounts that may ask who calls."""
    return [subject["name"] for subject in (await rig.get("RoleBinding", "fraud-access-review"))["subjects"]]


async def settle(rig: Rig) -> None:
    await rig.reconcile()
    await rig.heard_all()
    await rig.reconcile()
    await rig.heard_all()


async def test_all_of_it_is_written_once(rig: Rig) -> None:
    await rig.create(PLATFORM)
    await settle(rig)
    before = await rig.versions()
    await rig.reconcile()
    assert await rig.versions() == before


async def test_labels_of_users_come_and_go_and_selectors_stand(rig: Rig) -> None:
    await rig.create()
    await settle(rig)
    service = (await rig.get("Service"))["metadata"]["resourceVersion"]
    await rig.change({"podMetadata": {"labels": {"app": "payments"}}})
    await settle(rig)
    spec = (await rig.get("Deployment"))["spec"]
    assert spec["template"]["metadata"]["labels"]["app"] == "payments"
    assert spec["selector"]["matchLabels"] == OWN
    await rig.change({"podMetadata": None})
    await settle(rig)
    assert "app" not in (await rig.get("Deployment"))["spec"]["template"]["metadata"]["labels"]
    assert (await rig.get("Service"))["metadata"]["resourceVersion"] == service


async def test_an_account_stands_until_no_pod_runs_as_it(rig: Rig) -> None:
    await rig.create()
    await settle(rig)
    await run_pod(rig.admin, rig.namespace, "fraud", "127.0.0.2")
    await rig.until(lambda: bool(rig.live("Pod", "fraud-1-x") and rig.live("ReplicaSet", "fraud-1")))
    await rig.change({"serviceAccount": {"name": "model-servers"}})
    await settle(rig)
    assert (await rig.get("Deployment"))["spec"]["template"]["spec"]["serviceAccountName"] == "model-servers"
    assert await subjects(rig) == ["model-servers", "fraud"]
    assert not await rig.is_gone("ServiceAccount")

    await rig.admin.delete(POD, rig.namespace, "fraud-1-x", uid=rig.live("Pod", "fraud-1-x")["metadata"]["uid"])
    await rig.unknown("Pod", "fraud-1-x")
    await settle(rig)
    assert await subjects(rig) == ["model-servers"]
    assert await rig.is_gone("ServiceAccount")

    await rig.change({"serviceAccount": None})
    await settle(rig)
    assert await subjects(rig) == ["fraud"]
    assert not await rig.is_gone("ServiceAccount")


async def test_an_account_of_the_users_that_has_the_models_name_is_left_alone(rig: Rig) -> None:
    kept = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "fraud", "namespace": rig.namespace}}
    made = await rig.admin.create(BY_KIND["ServiceAccount"], kept, manager="user")
    await rig.create({"serviceAccount": {"name": "fraud"}})
    await rig.reconcile()
    assert (await rig.condition("Ready"))["reason"] != "ChildNotOwned"
    assert (await rig.get("ServiceAccount"))["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


ROLLING: Json = {"runtime": {"upgradePolicy": "Rolling"}}
UPGRADED = "registry.example/modelward-runtime:2"


async def finish(rig: Rig, name: str) -> None:
    """Do what the Deployment's controller would: call the rollout complete."""
    live = await rig.get("Deployment", name)
    done = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
    status = {"observedGeneration": live["metadata"]["generation"], "conditions": [done]}
    patched = await rig.admin.patch(
        DEPLOYMENT, rig.namespace, name, {"status": status}, manager="controller", subresource="status"
    )
    await rig.heard("Deployment", name, int(patched["metadata"]["resourceVersion"]))


async def image(rig: Rig, name: str) -> str:
    return image_of(await rig.get("Deployment", name))


async def test_an_upgraded_operator_rolls_the_models_that_asked_for_it_one_after_the_other(
    client: Client, namespace: str
) -> None:
    async with make_rig(client, namespace) as before:
        for name, spec in {"first": ROLLING, "second": ROLLING, "still": {}}.items():
            await before.create(spec, name)
            await before.reconcile(name)
            await finish(before, name)
    async with make_rig(client, namespace, runtime_image=UPGRADED) as rig:
        for name in ("first", "second", "still"):
            await rig.reconcile(name)
        assert [await image(rig, name) for name in ("first", "second", "still")] == [UPGRADED, IMAGE, IMAGE]
        annotations = (await rig.get("Deployment", "first"))["metadata"]["annotations"]
        assert annotations[names.UPGRADED_FROM] == IMAGE
    async with make_rig(client, namespace, runtime_image=UPGRADED) as restarted:
        await restarted.reconcile("second")
        assert await image(restarted, "second") == IMAGE, "the first one is still under way"
        await finish(restarted, "first")
        restarted.rung.clear()
        await restarted.reconcile("first")
        assert restarted.key("second") in restarted.rung
        await restarted.reconcile("second")
        assert [await image(restarted, name) for name in ("second", "still")] == [UPGRADED, IMAGE]
