"""Whether all is as the users want it, and whether anything happened on the way that must not.

`lacks` looks at the present; `writes_of_the_deposed` and `needless_rolls` at the whole run. They share no code with the operator: what a
model must become is written down here a second time, as far as users can tell.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from e2e.chaos import money
from e2e.chaos.proxy import Write
from e2e.chaos.users import Users
from modelward_operator.cluster.client import Client
from modelward_operator.cluster.kinds import BY_KIND, MODEL

Json = dict[str, Any]
Objects = Mapping[str, Mapping[str, Json]]
KINDS = ("Deployment", "Service", "ServiceAccount", "ConfigMap", "NetworkPolicy", "PodDisruptionBudget")


class Snapshot:
    """The models of a namespace and their children, by kind and name."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects

    @classmethod
    async def take(cls, admin: Client, namespace: str) -> "Snapshot":
        """Look at all of it. Raises `OperatorError`."""
        found: dict[str, dict[str, Json]] = {}
        for resource in (MODEL, *(BY_KIND[kind] for kind in KINDS)):
            pages = [one async for page, _ in admin.pages(resource, namespace) for one in page]
            found[resource.kind] = {one["metadata"]["name"]: one for one in pages}
        return cls(found)

    def changes(self, after: "Snapshot") -> list[str]:
        """What was written between two looks, by the operator or by somebody; not what controllers say in a Deployment's status."""
        found = []
        for kind, all_of in self.objects.items():
            version = "generation" if kind == "Deployment" else "resourceVersion"
            for name, one in all_of.items():
                other = after.objects[kind].get(name, {})
                if other.get("metadata", {}).get(version) != one["metadata"][version]:
                    found.append(f"{kind} {name}: {', '.join(_differences(one, other)) or 'the same again'}"[:500])
        return found


def _differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two objects differ, but for what every write changes."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted({*one, *other} - {"managedFields", "resourceVersion"})
        return [found for key in keys for found in _differences(one.get(key), other.get(key), f"{path}.{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [found for n, (x, y) in pairs for found in _differences(x, y, f"{path}[{n}]")]
    return [] if one == other else [f"{path} was {one!r}, is {other!r}"]


def lacks(snapshot: Snapshot, users: Users) -> list[str]:
    """What is not as the users want it; empty when all is."""
    objects, found = snapshot.objects, []
    for name, wanted in users.wanted.items():
        found += [f"{name}: {what}" for what in _lacks_of(objects, name, wanted)]
    left = {
        f"{kind} {name}"
        for kind in KINDS
        for name, one in objects[kind].items()
        if (model := one["metadata"].get("labels", {}).get("modelward.dev/model")) and model not in users.wanted
    }
    return found + [f"{what} is left of a model that was deleted" for what in sorted(left)]


def _lacks_of(objects: Objects, name: str, wanted: Json) -> Iterable[str]:
    model, deployment = objects["ModelDeployment"].get(name), objects["Deployment"].get(name)
    if model is None or deployment is None:
        yield "no ModelDeployment" if model is None else "no Deployment"
        return
    yield from _not_as_asked(objects, deployment, name, wanted)
    yield from _not_repaired(objects, deployment, name)
    yield from _not_told(model)
    yield from money.not_told(model.get("status", {}), wanted["replicas"])


def _not_as_asked(objects: Objects, deployment: Json, name: str, wanted: Json) -> Iterable[str]:
    for kind in ("Service", "ServiceAccount", "NetworkPolicy"):
        if name not in objects[kind]:
            yield f"no {kind}"
    if deployment["spec"].get("replicas") != wanted["replicas"]:
        yield f"{deployment['spec'].get('replicas')} replicas, not {wanted['replicas']}"
    threads = _boot(objects, deployment).get("engine", {}).get("threads")
    if threads != wanted["threads"]:
        yield f"boot.json says {threads} threads, not {wanted['threads']}"
    if (name in objects["PodDisruptionBudget"]) != (wanted["replicas"] > 1):
        yield "its PodDisruptionBudget does not go with its replicas"


def _not_repaired(objects: Objects, deployment: Json, name: str) -> Iterable[str]:
    """What somebody did by hand, see `Users`."""
    if deployment["spec"]["progressDeadlineSeconds"] == 17:
        yield "the Deployment's deadline is not repaired"
    if deployment["metadata"]["labels"].get("app.kubernetes.io/managed-by") != "modelward":
        yield "the Deployment's label is not repaired"
    if objects["Service"].get(name, {}).get("spec", {}).get("selector", {}).get("modelward.dev/model") != name:
        yield "the Service's selector is not repaired"
    if not objects["NetworkPolicy"].get(name, {}).get("spec", {}).get("ingress"):
        yield "the NetworkPolicy's ingress is not repaired"
    policy = objects["ConfigMap"].get(f"{name}-policy", {}).get("data", {}).get("policy.json", "")
    if "apiVersion" not in policy:
        yield "policy.json is not repaired"


def _not_told(model: Json) -> Iterable[str]:
    status = model.get("status", {})
    if status.get("observedGeneration") != model["metadata"]["generation"]:
        yield f"status of generation {status.get('observedGeneration')}, not {model['metadata']['generation']}"
    ready = _condition(model, "Ready")
    if ready.get("status") != "True":
        yield f"Ready is {ready.get('status')}, {ready.get('reason')}: {ready.get('message')}"
    secured = _condition(model, "EndpointSecured").get("message", "")
    if any(words in secured for words in ("is not known", "those of other models showed")):
        yield "nobody tried yet whether its network policy is enforced"  # a pod must have been there for ten seconds


def silent_about_the_store(snapshot: Snapshot, waiting: Mapping[str, float], message: str) -> list[str]:
    """Models whose new pods cannot load, because the store is away, and that do not say so; `waiting`: since when, by name.

    Nothing to look at is something lacking, too: the fault must have been felt.
    """
    found = [
        f"{name}: no word of the store" for name in waiting if not _says(snapshot, name, "SourceUnreachable", message)
    ]
    return found if waiting else ["no new pod was refused by the store yet"]


def silent_about_the_node(snapshot: Snapshot) -> list[str]:
    """Models that say they are Ready while no pod is."""
    models = snapshot.objects["ModelDeployment"]
    return [f"{name} is still Ready" for name in models if _condition(models[name], "Ready").get("status") == "True"]


def _says(snapshot: Snapshot, name: str, reason: str, message: str) -> bool:
    model = snapshot.objects["ModelDeployment"].get(name, {})
    conditions = model.get("status", {}).get("conditions", ())
    told = any(c["reason"] == reason and message in c["message"] and c["status"] != "True" for c in conditions)
    return told and _condition(model, "Ready").get("status") != "True"


def _condition(model: Json, type_: str) -> Json:
    return next((one for one in model.get("status", {}).get("conditions", ()) if one["type"] == type_), {})


def _boot(objects: Objects, deployment: Json) -> Json:
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    config = next((one["configMap"]["name"] for one in volumes if one["name"] == "boot"), "")
    text = objects["ConfigMap"].get(config, {}).get("data", {}).get("boot.json")
    found: Json = json.loads(text) if text else {}
    return found


def writes_of_the_deposed(writes: Sequence[Write]) -> list[str]:
    """Writes that an operator sent when another had taken the Lease and been told so."""
    found: list[str] = []
    holder, since = "", 0.0
    for write in sorted(writes, key=lambda one: one.answered if one.is_lease else one.sent):
        if write.is_lease:
            if write.operator != holder:
                holder, since = write.operator, write.answered
        elif not write.is_event and holder and write.operator != holder and write.sent > since:
            after = write.sent - since
            found.append(
                f"{write.operator} wrote {write.method} {write.path} {after:.1f} s after {holder} took the Lease"
            )
    return found


def needless_rolls(
    templates: Mapping[str, Sequence[str]], names: Mapping[str, str], rolls: Mapping[str, int]
) -> list[str]:
    """Models, by UID, whose pods were given more templates than their users' changes explain."""
    given: defaultdict[str, int] = defaultdict(int)
    for uid, seen in templates.items():
        given[names.get(uid, uid)] += len(seen)
    return [
        f"{name}: {count} templates for {rolls.get(name, 0)} changes"
        for name, count in given.items()
        if count > 1 + rolls.get(name, 0)
    ]
