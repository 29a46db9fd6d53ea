"""What the store keeps of an object: not what no pass reads, and of what others wrote never more than says whose it is.

Whoever may make ConfigMaps in some namespace can label them as ours, a megabyte each. Of one that no ModelDeployment controls nothing is
kept, and no pass hears of it; of one that looks as if a ModelDeployment had left it behind (adoption.py) an outline is. One that claims to
be controlled by a ModelDeployment without being planned is pruned by the next pass, or collected with an owner that does not exist; and of
one that is larger than ours are, an outline is kept in either case, and the content is fetched when it is needed (apply.py for what is
planned, gather.py for policy.json). Of other kinds what is larger than ours are is kept only of the child that bears the model's own name:
so many there are as models, and of annotations of pods and ReplicaSets no others than ours.

Called by store.py; pure.
"""

from collections.abc import Iterable
from typing import Any, Final

from modelward_operator.api.modeldeployment import GROUP
from modelward_operator.cluster.kinds import (
    CHILDREN,
    CONFIG_MAP,
    ENDPOINT_SLICE,
    GATEWAY,
    MODEL,
    NAMESPACE,
    NODE,
    OBSERVED,
    POD,
    REPLICA_SET,
)
from modelward_operator.cluster.notation import write_json
from modelward_operator.facts import Json
from modelward_operator.plan.names import APPLIED, ISSUED, MANAGED_BY, MODEL_LABEL, may_be_child

LARGEST: Final = 128 * 1024
"""Bytes of an object that are kept."""
OUTLINE: Final = "outline"
"""Marks an object whose content was not kept; no kind has a field of that name."""
SHORT: Final = 256
"""Characters of a word of others: more than names and UIDs have."""
_IDENTITY: Final = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
)
_OBSERVED_KINDS: Final = frozenset(resource.kind for resource in OBSERVED)
_CHILD_KINDS: Final = _OBSERVED_KINDS | {resource.kind for resource in CHILDREN}
_OURS: Final = f"{GROUP}/"


def compact(obj: Json) -> bytes:
    """Return what is kept, as JSON; nothing where the object is nobody's business.

    Left out are managedFields; of a Namespace all but the labels; of a Node all but those, what it has for pods and whether it takes any;
    of a Gateway all but what says where it listens; of the spec of pods and ReplicaSets all but what keeps a ConfigMap alive, their
    account, a pod's node and its containers' images and what it requests; and of what no pass looks into, all but its outline.
    """
    if obj["kind"] in _CHILD_KINDS and not _is_read(obj):
        return (
            b""
            if obj["kind"] == CONFIG_MAP.kind and not _may_be_left_behind(obj["metadata"])
            else write_json(_outline(obj))
        )
    meta = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    if obj["kind"] == NAMESPACE.kind:
        return write_json({"kind": NAMESPACE.kind, "metadata": {k: v for k, v in meta.items() if k != "annotations"}})
    if obj["kind"] == NODE.kind:
        return write_json(_node(obj))
    if obj["kind"] == GATEWAY.kind:
        return write_json(_gateway(obj))
    if obj["kind"] in _OBSERVED_KINDS:
        if "annotations" in meta:
            meta["annotations"] = {name: text for name, text in meta["annotations"].items() if name.startswith(_OURS)}
        return write_json({**obj, "metadata": meta, **_trimmed_spec(obj)})
    body = write_json({**obj, "metadata": meta})
    largest = 4 * LARGEST if obj["kind"] == ENDPOINT_SLICE.kind else LARGEST  # Kubernetes lets one hold 1,000 endpoints
    return write_json(_outline(obj)) if len(body) > largest and not _may_be_large(obj) else body


def _node(obj: Json) -> Json:
    """Return what a price depends on, and where a device is to be had."""
    meta = {name: obj["metadata"][name] for name in (*_IDENTITY, "labels") if name in obj["metadata"]}
    status = {name: obj["status"][name] for name in ("allocatable", "capacity") if name in obj.get("status", {})}
    spec = {"spec": {"unschedulable": True}} if obj.get("spec", {}).get("unschedulable") else {}
    return {"apiVersion": "v1", "kind": NODE.kind, "metadata": meta, **spec, "status": status}


def _gateway(obj: Json) -> Json:
    """Return what an address depends on, and why there may be none."""
    meta = {name: obj["metadata"][name] for name in _IDENTITY if name in obj["metadata"]}
    told = ("name", "port", "protocol", "hostname")
    listeners = [{name: one[name] for name in told if name in one} for one in obj.get("spec", {}).get("listeners", ())]
    status = obj.get("status", {})
    kept = {name: status[name] for name in ("addresses", "conditions") if name in status}
    return {
        "apiVersion": obj["apiVersion"],
        "kind": GATEWAY.kind,
        "metadata": meta,
        "spec": {"listeners": listeners},
        "status": kept,
    }


def _trimmed_spec(obj: Json) -> dict[str, Any]:
    spec = obj.get("spec", {})
    if obj["kind"] == POD.kind:
        containers = [{**_container(c), "image": c.get("image", "")} for c in spec.get("containers", ())]
        return {"spec": {**_pod_spec(spec), "containers": containers, **_besides(spec)}}
    if obj["kind"] == REPLICA_SET.kind:
        template = {"spec": _pod_spec(spec.get("template", {}).get("spec", {}))}
        return {"spec": {"replicas": spec.get("replicas", 0), "template": template}}
    return {}


def _besides(spec: Json) -> Json:
    """Return what a pod takes of its node beside its containers: most have nothing of it."""
    kept = {name: spec[name] for name in ("overhead", "resources") if spec.get(name)}
    if starting := [_container(c) for c in spec.get("initContainers") or ()]:
        kept["initContainers"] = starting
    return kept


def _container(container: Json) -> Json:
    """Return what the scheduler reserves for a container, and of an init container for how long."""
    policy = {"restartPolicy": container["restartPolicy"]} if "restartPolicy" in container else {}
    return {"name": container["name"], "resources": container.get("resources", {}), **policy}


def is_outline(kept: Json) -> bool:
    """True for an object whose content was not kept: who needs it asks the API."""
    return OUTLINE in kept


def _may_be_large(obj: Json) -> bool:
    """True for what nobody makes more of than there are models; a hand may have made it larger."""
    if obj["kind"] not in _CHILD_KINDS:
        return True
    meta = obj["metadata"]
    model = (meta.get("labels") or {}).get(MODEL_LABEL, "")
    is_child = obj["kind"] != CONFIG_MAP.kind and may_be_child(obj["kind"], meta["name"], model)
    return is_child and _controller(meta).get("name") == model and _is_models(obj)


def _is_models(obj: Json) -> bool:
    """True for what a ModelDeployment controls; by its apiVersion too: the garbage collector leaves alone what it does not know."""
    owner = _controller(obj["metadata"])
    return (owner.get("apiVersion"), owner.get("kind")) == (MODEL.api_version, MODEL.kind)


def _is_read(obj: Json) -> bool:
    """True for what a pass may look into: no ConfigMap is, but one that a ModelDeployment controls."""
    is_labelled = bool((obj["metadata"].get("labels") or {}).get(MODEL_LABEL))
    return is_labelled and (obj["kind"] != CONFIG_MAP.kind or _is_models(obj))


def _may_be_left_behind(meta: Json) -> bool:
    is_ours = (meta.get("labels") or {}).get(MODEL_LABEL) and APPLIED in (meta.get("annotations") or {})
    return bool(is_ours) and not _controller(meta)


def _outline(obj: Json) -> Json:
    """Return what says whose an object is, and how old. All of it is short, whoever wrote the object."""
    meta = obj["metadata"]
    kept = {name: meta[name] for name in _IDENTITY if name in meta}
    kept["labels"] = _short(meta.get("labels") or {}, (MANAGED_BY, MODEL_LABEL))
    kept["annotations"] = _short(meta.get("annotations") or {}, (APPLIED, ISSUED))
    owner = _short(_controller(meta), ("apiVersion", "kind", "name", "uid"))
    kept["ownerReferences"] = [{**owner, "controller": True}] if owner else []
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": kept, OUTLINE: True}


def _controller(meta: Json) -> Json:
    return next((owner for owner in meta.get("ownerReferences") or () if owner.get("controller")), {})


def _short(found: Json, names: Iterable[str]) -> dict[str, str]:
    return {name: str(found[name])[:SHORT] for name in names if name in found}


def _pod_spec(spec: Json) -> Json:
    volumes = [{"name": v["name"], "configMap": v["configMap"]} for v in spec.get("volumes", ()) if "configMap" in v]
    account = {"serviceAccountName": spec["serviceAccountName"]} if "serviceAccountName" in spec else {}
    return {"nodeName": spec.get("nodeName", ""), "volumes": volumes, **account}
