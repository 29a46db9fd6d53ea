"""What the store keeps of an object: not what no pass reads, and of what others wrote never more than says whose it is.

Whoever may make ConfigMaps in some namespace can label them as ours, a megabyte each. Of one that no ModelDeployment controls an outline
is kept; one that claims to be controlled by it without being planned is pruned by the next pass, or collected with an owner that does not
exist; and of one that is larger than ours are, an outline is kept in either case, and the content is fetched when it is needed
(apply.py for what is planned, gather.py for policy.json).

Called by store.py; pure.
"""

import json
from collections.abc import Iterable
from typing import Any, Final

from modelward_operator.cluster.kinds import CHILDREN, CONFIG_MAP, MODEL, NAMESPACE, OBSERVED, POD, REPLICA_SET
from modelward_operator.facts import Json
from modelward_operator.plan.names import APPLIED, ISSUED, MANAGED_BY, MODEL_LABEL

LARGEST: Final = 128 * 1024
"""Bytes of a ConfigMap that are kept."""
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
_CHILD_KINDS: Final = frozenset(resource.kind for resource in (*CHILDREN, *OBSERVED))


def compact(obj: Json) -> bytes:
    """Return what is kept, as JSON.

    Left out are managedFields; of a Namespace all but the labels; of the spec of pods and ReplicaSets all but what keeps a ConfigMap alive,
    a pod's node and its containers' images and resources; and of what no pass looks into, all but its outline.
    """
    if obj["kind"] in _CHILD_KINDS and not _is_read(obj):
        return _dump(_outline(obj))
    meta = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    if obj["kind"] == NAMESPACE.kind:
        return _dump({"kind": NAMESPACE.kind, "metadata": {k: v for k, v in meta.items() if k != "annotations"}})
    body = _dump({**obj, "metadata": meta, **_trimmed_spec(obj)})
    return _dump(_outline(obj)) if obj["kind"] == CONFIG_MAP.kind and len(body) > LARGEST else body


def _trimmed_spec(obj: Json) -> dict[str, Any]:
    spec = obj.get("spec", {})
    if obj["kind"] == POD.kind:
        containers = [
            {"name": c["name"], "image": c.get("image", ""), "resources": c.get("resources", {})}
            for c in spec.get("containers", ())
        ]
        return {"spec": {**_pod_spec(spec), "containers": containers}}
    if obj["kind"] == REPLICA_SET.kind:
        template = {"spec": _pod_spec(spec.get("template", {}).get("spec", {}))}
        return {"spec": {"replicas": spec.get("replicas", 0), "template": template}}
    return {}


def is_outline(kept: Json) -> bool:
    """True for an object whose content was not kept: who needs it asks the API."""
    return OUTLINE in kept


def _is_read(obj: Json) -> bool:
    """True for what a pass may look into: no ConfigMap is, but one that a ModelDeployment controls."""
    meta = obj["metadata"]
    if not (meta.get("labels") or {}).get(MODEL_LABEL):
        return False
    owner = _controller(meta)  # by its apiVersion too: the garbage collector leaves alone what it does not know
    return obj["kind"] != CONFIG_MAP.kind or (owner.get("apiVersion"), owner.get("kind")) == (
        MODEL.api_version,
        MODEL.kind,
    )


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


def _dump(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _pod_spec(spec: Json) -> Json:
    volumes = [{"name": v["name"], "configMap": v["configMap"]} for v in spec.get("volumes", ()) if "configMap" in v]
    return {"nodeName": spec.get("nodeName", ""), "volumes": volumes}
