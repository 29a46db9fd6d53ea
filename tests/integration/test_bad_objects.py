"""Objects that nobody meant well: as large as the API server takes them, of a newer version, with hostile words, with names that collide.

Each of them is one model's trouble: its status says so where it can, and the model beside it is served.
"""

import json
from typing import Any

import pytest
import yaml

from modelward_operator.cluster.client import Client, Rejected
from modelward_operator.cluster.kinds import BY_KIND, CHILDREN, MODEL, PRIVACY
from tests.integration.apiserver import ApiServer
from tests.integration.conftest import CRD, NAMESPACE, ROOT
from tests.integration.rest import request
from tests.integration.rig import URI, Rig, make_rig
from tests.integration.test_handovers import SCALINGS

Json = dict[str, Any]
SUBJECTS = [{"kind": "User", "name": "alice"}]
SECURED: Json = {"authentication": {"allowedSubjects": SUBJECTS}, "tls": {"mode": "Managed"}}
EVERYTHING: Json = {"security": SECURED, "scaling": {"minReplicas": 0, "maxReplicas": 3}}
FAULTS = {
    "InvalidSpec",
    "PrivacyPolicyInvalid",
    "ModelPolicyInvalid",
    "ChildRejected",
    "ChildOverruled",
    "ChildNotOwned",
    "ChildUnwritten",
}
HOSTILE = {
    "shell": "$(rm -rf /) `id` ; && || > /dev/null",
    "template": "{{ .Values.x }} {% raw %} ${jndi:ldap://x} %s %n",
    "yaml": "a: b\n- c\n---\n!!python/object:x &a *a # {[",
    "json": '"},"spec":{"suspend":true},"x":{"y":"',
    "controls": "\x01\x02\t\r\n\x7f\x85\u2028\u2029\ufeff\ufffe",
    "astral": "\U0001f600\U0010ffff\u202e\u0000"[:-1],
    "metric": 'x"} 1\nmodelward_leader 0\n',
}


def model(name: str, namespace: str, spec: Json | None = None, **metadata: Any) -> Json:
    meta = {"name": name, "namespace": namespace, **metadata}
    body = {"model": {"uri": URI}, **(spec or {})}
    return {"apiVersion": MODEL.api_version, "kind": MODEL.kind, "metadata": meta, "spec": body}


async def known(rig: Rig, name: str) -> None:
    await rig.until(lambda: bool(rig.live(MODEL.kind, name)))


async def is_served(rig: Rig, name: str) -> None:
    """A pass makes all of it, without a refusal, and a second writes nothing."""
    for _ in range(4):
        await rig.reconcile(name)
    await is_in_the_table(rig, name)
    rig.writes.clear()
    await rig.reconcile(name)
    assert rig.writes == {}
    ready = await rig.condition("Ready", name)
    assert ready["reason"] not in FAULTS, ready["message"]
    assert (await rig.get("Deployment", name))["metadata"]["name"] == name


async def is_in_the_table(rig: Rig, name: str) -> None:
    """Wait for the line of a model that may have no pods: the activator's table is written beside the passes, a moment later."""
    board, spec = rig.activation and rig.activation.switchboard, rig.live(MODEL.kind, name)["spec"]
    if board and spec.get("scaling", {}).get("minReplicas") == 0:
        await rig.until(lambda: rig.key(name) in board.written_ports())


LABELS = {f"{number:05d}.{'d' * 60}.{'e' * 60}/{'n' * 60}": "v" * 63 for number in range(5800)}
"""A megabyte and a half, the limit of a request to etcd: there is none on the number of labels."""


async def test_a_model_nearly_as_large_as_the_api_server_takes_is_served(rig: Rig, server: ApiServer) -> None:
    made = request(server, "POST", MODEL.path(rig.namespace), model("fraud", rig.namespace, labels=LABELS))
    assert len(json.dumps(made)) > 1_450_000
    await known(rig, "fraud")
    await is_served(rig, "fraud")


async def test_hostile_labels_and_annotations_change_nothing(rig: Rig) -> None:
    labels = {
        "modelward.dev/model": "other",
        "app.kubernetes.io/managed-by": "modelward",
        "app.kubernetes.io/instance": "x",
        "modelward.dev/tenant": "kube-system",
    }
    annotations = {
        **HOSTILE,
        "modelward.dev/applied": "0" * 16,
        "modelward.dev/held-replicas": "999999999999999999999",
        "modelward.dev/replicas-owner": "external",
        "modelward.dev/revision": "\n",
        "modelward.dev/opened-addresses": "[[[",
        "autoscaling.keda.sh/paused-replicas": "-1",
        "kubectl.kubernetes.io/last-applied-configuration": "{" * 1000,
    }
    await rig.admin.create(
        MODEL, model("fraud", rig.namespace, EVERYTHING_PLAIN, labels=labels, annotations=annotations), manager="user"
    )
    await known(rig, "fraud")
    await is_served(rig, "fraud")
    for (kind, name), child in (await rig.children()).items():
        meta = child["metadata"]
        assert meta["labels"]["modelward.dev/model"] == "fraud", (kind, name)
        assert not set(HOSTILE) & set(meta.get("annotations", {})), (kind, name)
    assert (await rig.get("Deployment"))["spec"]["replicas"] == 1


EVERYTHING_PLAIN: Json = {"security": {"authentication": {"allowedSubjects": SUBJECTS}}}
MARKS = [
    ("Deployment", "modelward.dev/held-replicas"),
    ("Deployment", "modelward.dev/replicas-owner"),
    ("Deployment", "modelward.dev/template-inputs"),
    ("NetworkPolicy", "modelward.dev/opened-addresses"),
    ("EndpointSlice", "modelward.dev/activator-ports"),
    ("EndpointSlice", "modelward.dev/activator-joined"),
    ("ConfigMap", "modelward.dev/issued-secret"),
]


@pytest.mark.parametrize(
    "words", [*HOSTILE.values(), "", "-1", "1e999", "999999999999999999999", "null", "[", "2026-13-45T99:99:99Z"]
)
async def test_hostile_words_where_the_operator_keeps_its_marks_are_no_crash(
    client: Client, namespace: str, home: str, words: str
) -> None:
    async with make_rig(client, namespace, home=home) as rig:
        await rig.create(EVERYTHING)
        for _ in range(3):
            await rig.reconcile()
        for (kind, name), _ in (await rig.children()).items():
            marks = {mark: words for its_kind, mark in MARKS if its_kind == kind}
            if marks:
                patch = {"metadata": {"annotations": marks}}
                await client.patch(BY_KIND[kind], namespace, name, patch, manager="somebody")
        await rig.heard_all()
        await is_served(rig, "fraud")


async def test_fields_of_a_newer_version_are_left_alone(rig: Rig, client: Client) -> None:
    """A newer schema is served, as after a rollback of the operator: what it knows more is nobody's business."""
    crd = yaml.safe_load((ROOT / "crds" / "modeldeployments.yaml").read_text())
    properties = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    properties["spec"]["properties"]["evaluation"] = anything
    properties["spec"]["properties"]["model"]["properties"]["format"] = {"type": "string"}
    properties["spec"]["properties"]["scaling"]["properties"]["autoscaler"]["enum"].append("Oracle")
    properties["status"]["properties"]["evaluation"] = anything
    await client.apply(CRD, crd, manager="test", force=True)
    spec = {"evaluation": {"deep": [{"er": 1}]}, "model": {"uri": URI, "format": "onnx"}}
    async for _ in _until_kept(rig, spec):
        pass
    theirs = {"status": {"evaluation": {"score": "0.9"}}}
    await client.patch(MODEL, rig.namespace, "fraud", theirs, manager="newer", subresource="status")
    before = await rig.get("ModelDeployment")
    await known(rig, "fraud")
    await is_served(rig, "fraud")
    after = await rig.get("ModelDeployment")
    assert before["spec"] == after["spec"]
    assert before["metadata"]["generation"] == after["metadata"]["generation"]
    (child,) = [one for (kind, _), one in (await rig.children()).items() if kind == "Deployment"]
    assert "evaluation" not in json.dumps(child)

    await rig.change({"scaling": {"autoscaler": "Oracle"}})
    workload = await rig.get("Deployment")
    await rig.reconcile()
    ready = await rig.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("False", "InvalidSpec")
    assert "spec.scaling.autoscaler" in ready["message"]
    assert workload == await rig.get("Deployment"), "what runs keeps running"


async def _until_kept(rig: Rig, spec: Json) -> Any:
    """Create the model once the API server keeps its new fields."""
    while (
        "evaluation"
        not in (await rig.admin.create(MODEL, model("x", rig.namespace, spec), manager="u", dry_run=True))["spec"]
    ):
        yield
    await rig.admin.create(MODEL, model("fraud", rig.namespace, spec), manager="user")


COLLIDING = [
    "fraud",
    "fraud-policy",
    "fraud-tls",
    "fraud-predict",
    "fraud-spend",
    "fraud-access-review",
    "fraud-activator",
]


async def test_models_whose_names_look_like_children_live_side_by_side(
    client: Client, namespace: str, home: str
) -> None:
    async with make_rig(client, namespace, home=home) as rig:
        for name in COLLIDING:
            await rig.create(EVERYTHING, name)
        boot = await _boot_name(rig, "fraud")
        await rig.create(EVERYTHING, boot)
        for name in (*COLLIDING, boot):
            await is_served(rig, name)
        await rig.heard_all()
        for name in (*COLLIDING, boot):
            rig.writes.clear()
            await rig.reconcile(name)
            assert rig.writes == {}, name


async def _boot_name(rig: Rig, name: str) -> str:
    await rig.reconcile(name)
    return next(
        child for kind, child in await rig.children() if kind == "ConfigMap" and child.startswith(f"{name}-boot-")
    )


async def test_a_model_that_bears_the_name_of_keda_s_own_child_is_told(rig: Rig) -> None:
    """KEDA names its HPA after the ScaledObject; a model of that name that wants an HPA comes too late, and takes nothing over."""
    await rig.create({"scaling": SCALINGS["KEDA"], "resources": {"requests": {"cpu": "1"}}})
    for _ in range(3):
        await rig.reconcile()
    scaled = await rig.get("ScaledObject")
    hpa = BY_KIND["HorizontalPodAutoscaler"]
    owner = {
        "apiVersion": scaled["apiVersion"],
        "kind": scaled["kind"],
        "name": "fraud",
        "uid": scaled["metadata"]["uid"],
    }
    theirs = {
        "apiVersion": hpa.api_version,
        "kind": hpa.kind,
        "metadata": {
            "name": "keda-hpa-fraud",
            "namespace": rig.namespace,
            "ownerReferences": [{**owner, "controller": True}],
        },
        "spec": {"maxReplicas": 5, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "fraud"}},
    }
    made = await rig.admin.create(hpa, theirs, manager="keda")
    await rig.create({"scaling": SCALINGS["HPA"], "resources": {"requests": {"cpu": "1"}}}, "keda-hpa-fraud")
    for _ in range(3):
        await rig.reconcile("keda-hpa-fraud")
    assert made == await rig.get(hpa.kind, "keda-hpa-fraud")
    scaling = await rig.condition("Autoscaling", "keda-hpa-fraud")
    assert "belongs to ScaledObject fraud" in scaling["message"]


async def test_names_at_the_length_limit_are_served(client: Client, namespace: str, home: str) -> None:
    longest = namespace + "x" * (63 - len(namespace))
    await client.create(
        NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": longest}}, manager="t"
    )
    policy = yaml.safe_load((ROOT / "crds/examples/privacy-differential.yaml").read_text().partition("---")[0])
    policy["metadata"] = {"name": "p" * 200 + "." + "q" * 50, "namespace": longest}
    await client.create(PRIVACY, policy, manager="user")
    name = "m" * 50
    async with make_rig(client, longest, home=home) as rig:
        await rig.until(lambda: bool(rig.live(PRIVACY.kind, policy["metadata"]["name"])))
        await rig.create({**EVERYTHING, "privacy": {"policyRef": {"name": policy["metadata"]["name"]}}}, name)
        await is_served(rig, name)
        with pytest.raises(Rejected, match="must be at most 50"):
            await rig.create({}, name + "m")


STRANGERS: dict[str, Json] = {
    "ServiceAccount": {},
    "Role": {"rules": []},
    "RoleBinding": {
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "theirs"},
        "subjects": [],
    },
    "ConfigMap": {"data": {"policy.json": "theirs"}},
    "NetworkPolicy": {"spec": {"podSelector": {}, "policyTypes": ["Ingress"]}},
    "Service": {"spec": {"ports": [{"port": 80}], "selector": {"app": "theirs"}}},
    "PodDisruptionBudget": {"spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "theirs"}}}},
    "Deployment": {
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "theirs"}},
            "template": {
                "metadata": {"labels": {"app": "theirs"}},
                "spec": {"containers": [{"name": "theirs", "image": "theirs"}]},
            },
        }
    },
    "HorizontalPodAutoscaler": {
        "spec": {"maxReplicas": 2, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "theirs"}}
    },
    "ScaledObject": {"spec": {"scaleTargetRef": {"name": "theirs"}, "triggers": [{"type": "cpu", "metadata": {}}]}},
    "EndpointSlice": {"addressType": "IPv4", "endpoints": [{"addresses": ["192.0.2.9"]}]},
    "HTTPRoute": {"spec": {"hostnames": ["theirs.example.com"]}},
    "GRPCRoute": {"spec": {"hostnames": ["theirs.example.com"]}},
    "BackendTLSPolicy": {
        "spec": {
            "targetRefs": [{"group": "", "kind": "Service", "name": "theirs"}],
            "validation": {"hostname": "theirs.example.com", "wellKnownCACertificates": "System"},
        }
    },
    "Ingress": {"spec": {"defaultBackend": {"service": {"name": "theirs", "port": {"number": 80}}}}},
}
"""What somebody else made, of each kind that the operator makes."""
GATEWAY_EXPOSURE: Json = {
    "exposure": {
        "hostnames": ["ours.example.com"],
        "grpcHostnames": ["grpc.example.com"],
        "gateway": {"parentRefs": [{"name": "public"}]},
    },
    "security": SECURED,
}
WANTING: dict[str, Json] = {
    "HorizontalPodAutoscaler": {"scaling": SCALINGS["HPA"]},
    "ScaledObject": {"scaling": SCALINGS["KEDA"]},
    "EndpointSlice": {"scaling": EVERYTHING["scaling"]},
    "HTTPRoute": GATEWAY_EXPOSURE,
    "GRPCRoute": GATEWAY_EXPOSURE,
    "BackendTLSPolicy": GATEWAY_EXPOSURE,
    "Ingress": {"exposure": {"hostnames": ["ours.example.com"], "allowFrom": [{"namespace": "nginx"}], "ingress": {}}},
}
"""Specs that want a child of a kind; the others any model has that has two replicas and says who may call."""
PLACES = {
    "ConfigMap": "fraud-policy",
    "Role": "fraud-predict",
    "RoleBinding": "fraud-predict",
    "EndpointSlice": "fraud-activator",
}


@pytest.mark.parametrize("resource", CHILDREN, ids=lambda one: one.kind)
@pytest.mark.parametrize("labelled", [False, True], ids=["plain", "with-our-labels"])
@pytest.mark.usefixtures("gateway_api")
async def test_a_child_of_somebody_else_is_refused_and_left_alone(
    client: Client, namespace: str, home: str, resource: Any, labelled: bool
) -> None:
    async with make_rig(client, namespace, home=home) as rig:
        await is_refused(rig, resource, labelled=labelled)


async def is_refused(rig: Rig, resource: Any, *, labelled: bool) -> None:
    """See what becomes of an object of a stranger's where a child would be."""
    name = PLACES.get(resource.kind, "fraud")
    labels = {"app.kubernetes.io/managed-by": "modelward", "modelward.dev/model": "fraud"} if labelled else {}
    meta = {"name": name, "namespace": rig.namespace, "labels": labels}
    stranger = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta, **STRANGERS[resource.kind]}
    theirs = await rig.admin.create(resource, stranger, manager="somebody")
    usual = {
        "scaling": {"replicas": 2},
        "security": {"authentication": {"allowedSubjects": SUBJECTS}},
        "resources": {"requests": {"cpu": "1"}},
    }
    await rig.create({**usual, **WANTING.get(resource.kind, {})})
    for _ in range(3):
        await rig.reconcile()
    assert theirs == await rig.get(resource.kind, name)
    said = (await rig.get(MODEL.kind))["status"]["conditions"]
    words = f"{resource.kind} {name}: exists and belongs to nobody that ModelWard knows"
    assert any(words in one["message"] for one in said if one["status"] == "False"), said
    await is_in_the_table(rig, "fraud")
    before = await rig.versions()
    rig.writes.clear()
    await rig.reconcile()
    assert before == await rig.versions()
    assert rig.writes == {}
