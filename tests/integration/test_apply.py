"""Children on a real API server: made once, repaired, pruned, handed over, and never taken from others."""

import asyncio
import itertools
from typing import Any

import pytest

from modelward_operator.cluster.apply import PRUNED_AT_ONCE, Applier
from modelward_operator.cluster.client import NotFound, Rejected
from modelward_operator.cluster.kinds import BY_KIND, CHILDREN, DEPLOYMENT, ENDPOINT_SLICE, EXPOSING, MODEL, Resource
from modelward_operator.facts import Json, Key
from modelward_operator.plan import names
from modelward_operator.plan.draw import draw
from modelward_operator.plan.standdown import stand_down
from modelward_operator.policies.rooms import rule
from tests.integration.rig import INSTALLATION, Rig, make_rig
from tests.integration.test_handovers import SCALINGS
from tests.makers import parsed

IMAGE = INSTALLATION.runtime_image

FULL: Json = {
    "model": {
        "uri": "s3://models/fraud/7/",
        "version": "7",
        "digest": "sha256:" + "ab" * 32,
        "storage": {
            "secretRef": {"name": "s3-read"},
            "caBundleRef": {"name": "corp-ca"},
            "endpoint": "https://s3.example",
            "region": "eu-1",
        },
    },
    "runtime": {
        "image": "registry.example/runtime:2",
        "batching": {"maxBatchSize": 16, "maxDelayMicroseconds": 500},
        "threads": 2,
        "env": [
            {"name": "LOG_LEVEL", "value": "x"},
            {"name": "HTTPS_PROXY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        ],
        "startupTimeoutSeconds": 600,
    },
    "resources": {"requests": {"cpu": "0.5", "memory": "1024Mi"}, "limits": {"cpu": "1500m", "memory": "2Gi"}},
    "accelerator": {"resourceName": "nvidia.com/gpu", "count": 1},
    "scheduling": {
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "priorityClassName": "high",
        "runtimeClassName": "nvidia",
    },
    "scaling": {"autoscaler": "None", "replicas": 3},
    "security": {
        "authentication": {"allowedSubjects": [{"kind": "ServiceAccount", "name": "checkout", "namespace": "shop"}]},
        "tls": {"mode": "Secret", "secretRef": {"name": "cert"}},
        "rateLimit": {"requestsPerSecond": "10", "burst": 20, "concurrency": 4},
        "networkPolicy": {
            "allowFrom": [{"namespace": "shop"}, {"namespace": "checkout"}],
            "egress": {"allowTo": [{"cidr": "192.0.2.0/24", "port": 443}, {"cidr": "2001:db8::/32"}]},
        },
    },
}
PVC: Json = {"model": {"uri": "pvc://claim/sub/folder"}}
RECREATE: Json = {"rollout": {"strategy": "Recreate"}, "scaling": {"replicas": 0}}

EMPTY_WORDS: Json = {
    "runtime": {"env": [{"name": "TZ", "value": ""}]},
    "scheduling": {
        "nodeSelector": {"pool": ""},
        "tolerations": [{"key": "a", "operator": "Equal", "value": ""}, {"operator": "Exists", "value": ""}],
    },
}
EVERY_SIGN: Json = {
    "model": {"uri": "s3://models/\u00e9\u2028\U0001f600/"},
    "runtime": {
        "env": [{"name": "TZ", "value": "\x01\t\n\x7f\x85\x9f\u2028\ufeff\uffff\U0001f600 \\ud83d \\\\ '\" $(A) {{: #"}]
    },
}
TOO_MUCH: Json = {"resources": {"limits": {"memory": "100Ei", "cpu": "1e30"}, "requests": {"memory": "8Ei"}}}

SPECS = [
    pytest.param({}, id="smallest"),
    pytest.param(FULL, id="every-field"),
    pytest.param(PVC, id="volume"),
    pytest.param(RECREATE, id="recreate-none"),
    pytest.param(EMPTY_WORDS, id="empty-words"),
    pytest.param(EVERY_SIGN, id="every-sign"),
    pytest.param(TOO_MUCH, id="more-than-64-bits"),
    pytest.param({"suspend": True}, id="suspended"),
    pytest.param({"scaling": {"autoscaler": "External"}}, id="external"),
]


@pytest.mark.parametrize("spec", SPECS)
async def test_a_second_pass_writes_nothing(rig: Rig, spec: Json) -> None:
    await rig.create(spec)
    await rig.reconcile()
    first = await rig.versions()
    assert {"ServiceAccount", "ConfigMap", "NetworkPolicy", "Service", "Deployment"} <= {kind for kind, _ in first}
    rig.writes.clear()
    await rig.heard_all()
    await rig.reconcile()
    await rig.reconcile()
    assert rig.writes == {}
    assert await rig.versions() == first


async def test_each_child_costs_one_write_and_the_status_one(rig: Rig) -> None:
    await rig.create()
    await rig.reconcile()
    kinds = ("ServiceAccount", "RoleBinding", "ConfigMap", "NetworkPolicy", "Service", "Deployment")
    expected = {*(("apply", kind) for kind in kinds), ("patch", "ModelDeployment")}
    assert expected == {what for what in rig.writes if what[1] != "Event"}
    assert rig.writes["apply", "ConfigMap"] == 2
    assert sum(rig.writes.values()) - rig.writes["create", "Event"] == 8


async def test_a_restarted_operator_writes_nothing(rig: Rig, client: Any) -> None:
    await rig.create(FULL)
    await rig.reconcile()
    before = await rig.versions()
    async with make_rig(client, rig.namespace) as anew:
        await anew.reconcile()
        assert anew.writes == {}
    assert await rig.versions() == before


DRIFTS: list[tuple[str, str, dict[str, Any]]] = [
    ("ServiceAccount", "token mounted", {"automountServiceAccountToken": True}),
    ("ConfigMap", "policy changed", {"data": {"policy.json": "{}"}}),
    ("NetworkPolicy", "opened to all", {"spec": {"ingress": [{}]}}),
    ("NetworkPolicy", "other pods", {"spec": {"podSelector": {"matchLabels": {"x": "y"}}}}),
    ("Service", "selects others", {"spec": {"selector": {"app": "other"}}}),
    ("Service", "port moved", {"spec": {"ports": [{"name": "http", "port": 80, "targetPort": "http"}]}}),
    ("PodDisruptionBudget", "blocks drains", {"spec": {"maxUnavailable": 0}}),
    ("Deployment", "scaled by hand", {"spec": {"replicas": 9}}),
    (
        "Deployment",
        "container changed",
        {"spec": {"template": {"spec": {"containers": [{"name": "runtime", "image": IMAGE, "args": ["serve"]}]}}}},
    ),
    ("Deployment", "runs as root", {"spec": {"template": {"spec": {"securityContext": {"runAsUser": 0}}}}}),
    ("Deployment", "label gone", {"metadata": {"labels": {"app.kubernetes.io/name": None}}}),
    ("Service", "model label gone", {"metadata": {"labels": {names.MODEL_LABEL: None}}}),
    ("Deployment", "model label changed", {"metadata": {"labels": {names.MODEL_LABEL: "other"}}}),
    ("Service", "owner gone", {"metadata": {"ownerReferences": None}}),
]


@pytest.mark.parametrize(("kind", "what", "patch"), DRIFTS, ids=[f"{kind}-{what}" for kind, what, _ in DRIFTS])
async def test_drift_is_repaired(rig: Rig, kind: str, what: str, patch: dict[str, Any]) -> None:
    await rig.create({"scaling": {"replicas": 2}})
    await rig.reconcile()
    name = names.policy_config_name("fraud") if kind == "ConfigMap" else "fraud"
    before = await rig.get(kind, name)
    await rig.heard_all()
    rig.rung.clear()
    await rig.admin.patch(BY_KIND[kind], rig.namespace, name, patch, manager="somebody")
    await rig.heard_all()
    assert rig.key() in rig.rung, "nobody would look before the next full pass"
    await rig.reconcile()
    after = await rig.get(kind, name)
    for part in ("spec", "data", "automountServiceAccountToken"):
        assert _without_address(after.get(part)) == _without_address(before.get(part)), what
    for part in ("labels", "ownerReferences"):
        assert after["metadata"][part] == before["metadata"][part], what


async def test_an_image_set_by_hand_is_put_back(rig: Rig) -> None:
    await rig.create()
    await rig.reconcile()
    forged = {"spec": {"template": {"spec": {"containers": [{"name": "runtime", "image": "evil"}]}}}}
    await rig.admin.patch(DEPLOYMENT, rig.namespace, "fraud", forged, manager="somebody")
    await rig.heard_all()
    await rig.reconcile()
    containers = (await rig.get("Deployment"))["spec"]["template"]["spec"]["containers"]
    assert containers[0]["image"] == IMAGE


def _without_address(part: Any) -> Any:
    return {k: v for k, v in part.items() if not k.startswith("clusterIP")} if isinstance(part, dict) else part


async def test_an_immutable_boot_file_that_somebody_replaced_is_made_anew(rig: Rig) -> None:
    await rig.create()
    await rig.reconcile()
    (name,) = [name for kind, name in await rig.children() if kind == "ConfigMap" and "-boot-" in name]
    before = await rig.get("ConfigMap", name)
    await rig.admin.delete(BY_KIND["ConfigMap"], rig.namespace, name, uid=before["metadata"]["uid"])
    meta = {
        part: before["metadata"][part] for part in ("name", "namespace", "labels", "annotations", "ownerReferences")
    }
    forged = {**before, "metadata": meta, "data": {"boot.json": "{}"}}
    made = await rig.admin.create(BY_KIND["ConfigMap"], forged, manager="somebody")
    await rig.until(lambda: rig.live("ConfigMap", name).get("metadata", {}).get("uid") == made["metadata"]["uid"])
    await rig.reconcile()
    assert (await rig.get("ConfigMap", name))["data"] == before["data"]


async def test_what_could_not_be_made_anew_is_not_deleted(rig: Rig) -> None:
    """A cluster's policy that refuses our Service refuses the next one too: then the one that is there is better than none."""
    await rig.create()
    await rig.reconcile()
    before = await rig.get("Service")
    await rig.admin.patch(
        BY_KIND["Service"], rig.namespace, "fraud", {"spec": {"selector": {"app": "x"}}}, manager="somebody"
    )
    await rig.heard_all()
    policies = await _refuse_services(rig)
    try:
        await rig.reconcile()
        assert (await rig.get("Service"))["metadata"]["uid"] == before["metadata"]["uid"]
        ready = await rig.condition("Ready")
        assert ready["reason"] == "ChildRejected"
        assert "no Services here" in ready["message"]
    finally:
        for resource, made in policies:
            await rig.admin.delete(resource, "", made["metadata"]["name"], uid=made["metadata"]["uid"])


async def _refuse_services(rig: Rig) -> list[tuple[Resource, Json]]:
    """Make an admission policy against Services in the namespace, and wait until it is in force."""
    group, version = "admissionregistration.k8s.io", "v1"
    policy = Resource("ValidatingAdmissionPolicy", group, version, "validatingadmissionpolicies")
    binding = Resource("ValidatingAdmissionPolicyBinding", group, version, "validatingadmissionpolicybindings")
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["services"], "operations": ["CREATE", "UPDATE"]}
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": rig.namespace}}}
    refuse = {
        "matchConstraints": {"resourceRules": [rule], **here},
        "validations": [{"expression": "false", "message": "no Services here"}],
    }
    bind = {"policyName": f"no-services-{rig.namespace}", "validationActions": ["Deny"], "matchResources": here}
    made: list[tuple[Resource, Json]] = []
    for resource, spec in ((policy, refuse), (binding, bind)):
        meta = {"name": f"no-services-{rig.namespace}"}
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta, "spec": spec}
        made.append((resource, await rig.admin.create(resource, body, manager="test")))
    async with asyncio.timeout(60):
        for number in itertools.count():
            try:
                theirs = {"metadata": {"annotations": {"try": str(number)}}}
                await rig.admin.patch(BY_KIND["Service"], rig.namespace, "fraud", theirs, manager="somebody")
            except Rejected:
                break
            await asyncio.sleep(0.1)
    await rig.heard_all()
    return made


SCALED_BY: dict[str, Json] = {"HorizontalPodAutoscaler": SCALINGS["HPA"], "ScaledObject": SCALINGS["KEDA"]}


MADE = [resource.kind for resource in CHILDREN if resource not in {ENDPOINT_SLICE, *EXPOSING}]
"""All but the activator's, of which this rig has none, and what exposes a model, which has tests of its own."""


@pytest.mark.parametrize("kind", MADE)
async def test_a_deleted_child_comes_back(rig: Rig, kind: str) -> None:
    subjects = [{"kind": "User", "name": "alice"}]
    scaling = SCALED_BY.get(kind, {"replicas": 2})
    secured = {"authentication": {"allowedSubjects": subjects}}
    await rig.create({"scaling": scaling, "security": secured, "resources": {"requests": {"cpu": "1"}}})
    for _ in range(3):  # an autoscaler comes last
        await rig.reconcile()
    for (its_kind, name), child in (await rig.children()).items():
        if its_kind == kind:
            await rig.admin.delete(BY_KIND[kind], rig.namespace, name, uid=child["metadata"]["uid"])
            await rig.unknown(kind, name)
    assert rig.rung[-1] == rig.key()
    await rig.reconcile()
    assert kind in {its_kind for its_kind, _ in await rig.children()}


async def test_fields_of_others_stay(rig: Rig) -> None:
    await rig.create()
    await rig.reconcile()
    theirs = {"metadata": {"annotations": {"team": "risk"}}, "spec": {"template": {"metadata": {"labels": {"x": "y"}}}}}
    await rig.admin.patch(DEPLOYMENT, rig.namespace, "fraud", theirs, manager="somebody")
    await rig.heard_all()
    await rig.change({"runtime": {"threads": 3}})
    await rig.reconcile()
    after = await rig.get("Deployment")
    assert after["metadata"]["annotations"]["team"] == "risk"
    assert after["spec"]["template"]["metadata"]["labels"]["x"] == "y"


async def test_a_field_that_leaves_the_spec_leaves_the_child(rig: Rig) -> None:
    await rig.create({"scheduling": {"nodeSelector": {"pool": "gpu"}}})
    await rig.reconcile()
    assert (await rig.get("Deployment"))["spec"]["template"]["spec"]["nodeSelector"] == {"pool": "gpu"}
    await rig.change({"scheduling": None})
    await rig.reconcile()
    assert "nodeSelector" not in (await rig.get("Deployment"))["spec"]["template"]["spec"]


async def test_what_leaves_the_plan_is_pruned(rig: Rig) -> None:
    await rig.create({"scaling": {"replicas": 2}})
    await rig.reconcile()
    assert ("PodDisruptionBudget", "fraud") in await rig.children()
    await rig.change({"scaling": {"replicas": 1}})
    await rig.reconcile()
    assert ("PodDisruptionBudget", "fraud") not in await rig.children()


async def test_of_thousands_that_claim_to_be_a_models_one_pass_prunes_no_more_than_a_model_has(rig: Rig) -> None:
    """Else every write of other models would wait for the last of them."""
    await rig.create({"scaling": {"replicas": 2}})
    await rig.reconcile()
    await rig.change({"scaling": {"replicas": 1}})
    planned = {key: one for key, one in (await rig.children()).items() if key[0] != "PodDisruptionBudget"}
    meta = (await rig.get("ServiceAccount"))["metadata"]
    kept = {"namespace": rig.namespace, **{key: meta[key] for key in ("labels", "annotations", "ownerReferences")}}
    for number in range(PRUNED_AT_ONCE + 3):
        claimed = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**kept, "name": f"claimed-{number}"}}
        await rig.admin.create(BY_KIND["ConfigMap"], claimed, manager="somebody")
    rung: list[Key] = []
    applier = Applier(rig.client, rig.store, ring=rung.append)
    for left in (4, 0):
        await rig.heard_all()
        given = await rig.cluster.gather(rig.key())
        assert given is not None
        await applier.apply(draw(given, parsed(given), rule(given, parsed(given))), given)
        found = await rig.children()
        assert (left, False) == (len(found) - len(planned), ("PodDisruptionBudget", "fraud") in found)
    assert [rig.key()] == rung, "the rest has its turn after others"


async def test_a_boot_file_stays_while_a_revision_uses_it_and_goes_after(rig: Rig) -> None:
    await rig.create()
    await rig.reconcile()
    workload = await rig.get("Deployment")
    (old,) = [name for kind, name in await rig.children() if kind == "ConfigMap" and "-boot-" in name]
    replica_set = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": "fraud-1", "namespace": rig.namespace, "labels": workload["metadata"]["labels"]},
        "spec": {
            "replicas": 0,
            "selector": workload["spec"]["selector"],
            "template": workload["spec"]["template"],
        },
    }
    made = await rig.admin.create(BY_KIND["ReplicaSet"], replica_set, manager="controller")
    await rig.until(lambda: bool(rig.live("ReplicaSet", "fraud-1")))
    await rig.change({"runtime": {"threads": 3}})
    await rig.reconcile()
    boots = {name for kind, name in await rig.children() if kind == "ConfigMap" and "-boot-" in name}
    assert old in boots
    assert len(boots) == 2
    await rig.admin.delete(BY_KIND["ReplicaSet"], rig.namespace, "fraud-1", uid=made["metadata"]["uid"])
    await rig.unknown("ReplicaSet", "fraud-1")
    await rig.reconcile()
    assert {name for kind, name in await rig.children() if kind == "ConfigMap" and "-boot-" in name} == boots - {old}


async def test_a_strangers_object_is_refused_and_left_alone(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "fraud", "namespace": rig.namespace},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "theirs"}},
    }
    theirs = await rig.admin.create(BY_KIND["Service"], stranger, manager="somebody")
    await rig.create()
    again = await rig.reconcile()
    assert await rig.get("Service") == theirs
    ready = await rig.condition("Ready")
    assert ready["status"] == "False"
    assert "Service fraud" in ready["message"]
    assert "belongs to" in ready["message"]
    assert again is not None, "it is looked at again: the stranger may go"
    asked: list[tuple[str, str, int]] = []
    with monkeypatch.context() as patched:
        patched.setattr(rig.client, "_count", lambda *request: asked.append(request))
        await rig.reconcile()
    assert asked == [("get", "Service", 200)], "what is known to be somebody else's costs no more than a look"
    await rig.admin.delete(BY_KIND["Service"], rig.namespace, "fraud", uid=theirs["metadata"]["uid"])
    await rig.reconcile()
    assert (await rig.get("Service"))["spec"]["selector"]["modelward.dev/model"] == "fraud"


async def test_a_denial_takes_the_pods_away_though_a_child_is_refused(rig: Rig) -> None:
    await rig.create()
    await rig.reconcile()
    door = await rig.get("NetworkPolicy")
    await rig.admin.delete(BY_KIND["NetworkPolicy"], rig.namespace, "fraud", uid=door["metadata"]["uid"])
    theirs = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "fraud", "namespace": rig.namespace},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
    }
    await rig.admin.create(BY_KIND["NetworkPolicy"], theirs, manager="somebody")
    await rig.unknown("NetworkPolicy")
    await rig.change({"runtime": {"threads": 2}})
    await rig.reconcile()
    workload = await rig.get("Deployment")
    assert workload["spec"]["replicas"] == 1, "the revision that serves behind its door serves on"
    mounted = [v["configMap"]["name"] for v in workload["spec"]["template"]["spec"]["volumes"] if "configMap" in v]
    assert {("ConfigMap", name) for name in mounted} <= set(await rig.children()), "what it mounts stays"
    await rig.change({"suspend": True})
    await rig.reconcile()
    assert (await rig.get("Deployment"))["spec"]["replicas"] == 0
    assert (await rig.condition("Ready"))["reason"] == "Suspended"


async def test_a_stranger_who_wears_our_labels_is_refused_all_the_same(rig: Rig) -> None:
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1-2-3", "controller": True}
    stranger = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {
            "name": "fraud",
            "namespace": rig.namespace,
            "labels": names.selector("fraud"),
            "ownerReferences": [owner],
        },
    }
    theirs = await rig.admin.create(BY_KIND["ServiceAccount"], stranger, manager="somebody")
    await rig.until(lambda: bool(rig.live("ServiceAccount")))
    await rig.create()
    await rig.reconcile()
    assert await rig.get("ServiceAccount") == theirs
    assert await rig.is_gone("Deployment"), "no pod runs with a stranger's identity"
    assert "ConfigMap x" in (await rig.condition("Ready"))["message"]


async def test_orphans_of_an_earlier_incarnation_are_adopted(rig: Rig) -> None:
    await rig.create()
    await rig.reconcile()
    for (kind, name), child in (await rig.children()).items():
        assert child["metadata"]["ownerReferences"]
        await rig.admin.patch(
            BY_KIND[kind], rig.namespace, name, {"metadata": {"ownerReferences": None}}, manager="orphaner"
        )
    old = await rig.get("ModelDeployment")
    uids = {key: child["metadata"]["uid"] for key, child in (await rig.children()).items()}
    await rig.admin.delete(MODEL, rig.namespace, "fraud", uid=old["metadata"]["uid"])
    await rig.unknown("ModelDeployment")
    new = await rig.create()
    await rig.heard_all()
    await rig.reconcile()
    adopted = await rig.children()
    assert {key: child["metadata"]["uid"] for key, child in adopted.items()} == uids, "nothing was made anew"
    assert {child["metadata"]["ownerReferences"][0]["uid"] for child in adopted.values()} == {new["metadata"]["uid"]}


async def test_replicas_change_hands_without_being_reset(rig: Rig) -> None:
    await rig.create({"scaling": {"autoscaler": "None", "replicas": 3}})
    await rig.reconcile()
    assert (await rig.get("Deployment"))["spec"]["replicas"] == 3

    await rig.change({"scaling": {"autoscaler": "External", "replicas": None}})
    seen = await _replicas_during(rig)
    assert seen == {3}, "they stand while they change hands"
    scaled = {"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": 5}}
    await rig.admin.patch(DEPLOYMENT, rig.namespace, "fraud", scaled, manager="keda", subresource="scale")
    await rig.heard_all()
    await rig.reconcile()
    await rig.change({"runtime": {"threads": 2}})
    await rig.reconcile()
    assert (await rig.get("Deployment"))["spec"]["replicas"] == 5, "the autoscaler's number stands through an update"

    await rig.change({"scaling": {"autoscaler": "None", "replicas": 2}})
    assert await _replicas_during(rig) == {2}


async def _replicas_during(rig: Rig) -> set[int]:
    """Run a pass and return every number of replicas that a watcher of the Deployment saw."""
    since = (await rig.get("Deployment"))["metadata"]["resourceVersion"]
    seen: dict[int, int] = {}

    async def watch() -> None:
        labels = "modelward.dev/model=fraud"
        async for event in rig.admin.watch(DEPLOYMENT, rig.namespace, labels=labels, since=since):
            if event["type"] == "MODIFIED":
                version = int(event["object"]["metadata"]["resourceVersion"])
                seen[version] = event["object"]["spec"]["replicas"]

    watcher = asyncio.create_task(watch())
    await rig.reconcile()
    latest = int((await rig.get("Deployment"))["metadata"]["resourceVersion"])
    await rig.until(lambda: latest in seen)
    watcher.cancel()
    return set(seen.values())


async def test_a_suspended_external_model_gets_its_number_back(rig: Rig) -> None:
    await rig.create({"scaling": {"autoscaler": "External"}})
    await rig.reconcile()
    scaled = {"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": 4}}
    await rig.admin.patch(DEPLOYMENT, rig.namespace, "fraud", scaled, manager="keda", subresource="scale")
    await rig.heard_all()
    await rig.change({"suspend": True})
    await rig.reconcile()
    assert (await rig.get("Deployment"))["spec"]["replicas"] == 0
    await rig.change({"suspend": None})
    await rig.reconcile()
    assert (await rig.get("Deployment"))["spec"]["replicas"] == 4


async def test_without_a_spec_only_the_pods_go_and_all_of_it_comes_back(rig: Rig) -> None:
    await rig.create({"scaling": {"autoscaler": "External"}})
    await rig.reconcile()
    scaled = {"spec": {"replicas": 4}}
    await rig.admin.patch(DEPLOYMENT, rig.namespace, "fraud", scaled, manager="keda", subresource="scale")
    await rig.heard_all()
    before = await rig.children()

    async def stand_down_once() -> int:
        given = await rig.cluster.gather(rig.key())
        assert given is not None
        applied = await rig.cluster.apply(stand_down(given), given)
        assert applied.refusals == ()
        await rig.heard_all()
        return applied.writes

    assert [await stand_down_once(), await stand_down_once()] == [1, 0]
    down = await rig.children()
    assert down.keys() == before.keys()
    workload = ("Deployment", "fraud")
    assert down[workload]["spec"] == {**before[workload]["spec"], "replicas": 0}
    await rig.reconcile()
    assert (await rig.get("Deployment"))["spec"] == before[workload]["spec"]
    await rig.heard_all()
    versions = await rig.versions()
    await rig.reconcile()
    assert await rig.versions() == versions, "nothing is left of it"


async def test_nothing_is_made_for_a_model_that_is_gone(rig: Rig) -> None:
    made = await rig.create()
    await rig.admin.delete(MODEL, rig.namespace, "fraud", uid=made["metadata"]["uid"])
    await rig.unknown("ModelDeployment")
    assert await rig.reconcile() is None
    assert await rig.children() == {}


async def test_deletion_completes_at_once_with_the_operator_down(rig: Rig) -> None:
    await rig.create()
    await rig.reconcile()
    objects = {**await rig.children(), ("ModelDeployment", "fraud"): await rig.get("ModelDeployment")}
    assert [key for key, item in objects.items() if item["metadata"].get("finalizers")] == []
    uid = objects["ModelDeployment", "fraud"]["metadata"]["uid"]
    assert {
        child["metadata"]["ownerReferences"][0]["uid"] for key, child in objects.items() if key[0] != MODEL.kind
    } == {uid}, "garbage collection finds them all"
    await rig.admin.delete(MODEL, rig.namespace, "fraud", uid=uid)
    with pytest.raises(NotFound):
        await rig.get("ModelDeployment")
