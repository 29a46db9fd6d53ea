"""The way back to a revision: a patch of the spec that a person could have typed. Pure; `revisions_cli.py` reads and patches.

    brought back   model runtime resources accelerator scheduling         what runs, where, and as what
                   podMetadata serviceAccount observability
    left alone     suspend scaling rollout                                how much of it
                   security privacy exposure, and all else                what protects it: today's rules, not those of then

Where the revision declared no digest, the one that it served is declared, so that what comes back are those bytes or nothing.
operator/decisions/0020-revisions-are-what-has-served.md says why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from modelward_operator.api.parse import Invalid, parse
from modelward_operator.plan.history import content
from modelward_operator.plan.names import CHANGE_CAUSE
from modelward_operator.plugin.history import changed

Json = dict[str, Any]
BROUGHT_BACK: Final = (
    "model",
    "runtime",
    "resources",
    "accelerator",
    "scheduling",
    "podMetadata",
    "serviceAccount",
    "observability",
)
"""Sections that make the pods of a revision what they were. Who names another ServiceAccount, admission asks for the right to act as it."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who puts the object back to what a source elsewhere says."""

    tool: str
    what: str
    instead: str
    """What to do there."""


@dataclass(frozen=True, slots=True)
class Way:
    """What going back changes."""

    to: int
    changed: Sequence[str]
    """Paths of the spec that become what they were; empty where they already are."""
    kept: Sequence[str]
    """Paths that were otherwise then, and stay as they are now."""
    pinned: str
    """The digest that is declared though the revision declared none; empty where none is."""
    spec: Mapping[str, Any]
    """The sections as they will be; one that is to go is None."""
    patch: Sequence[Json]
    """JSON Patch (RFC 6902), bound to the version of the object that was read."""


def way_back(model: Json, entry: Json, *, pin: bool = True, cause: str = "") -> Way:
    """Return the way from the present spec to an entry of the history. Raises ValueError where the present spec cannot be read."""
    present = parse(model)
    if isinstance(present, Invalid):
        raise ValueError(f"the present spec cannot be read: {present}")  # noqa: TRY004  it is a matter of its content
    now, then, number = content(present), dict(entry["data"]["spec"]), int(entry["revision"])
    digest = entry["data"]["served"].get("digest", "")
    pinned = digest if pin and digest and "digest" not in then["model"] else ""
    if pinned:
        then["model"] = {**then["model"], "digest": pinned}
    differing = changed(now, then)
    paths = [path for path in differing if path.partition(".")[0] in BROUGHT_BACK]
    sections = sorted({path.partition(".")[0] for path in paths})
    return Way(
        to=number,
        changed=paths,
        kept=[path for path in differing if path not in paths],
        pinned=pinned if "model.digest" in paths else "",
        spec={name: then.get(name) for name in sections},
        patch=_patch(model, {name: then.get(name) for name in sections}, cause or f"rolled back to revision {number}"),
    )


def _patch(model: Json, sections: Mapping[str, Any], cause: str) -> list[Json]:
    spec, metadata = model["spec"], model["metadata"]
    found: list[Json] = [{"op": "replace", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]}]
    for name, value in sections.items():
        if value is not None:
            found.append({"op": "add", "path": f"/spec/{name}", "value": value})
        elif name in spec:
            found.append({"op": "remove", "path": f"/spec/{name}"})
    key = CHANGE_CAUSE.replace("/", "~1")
    if "annotations" in metadata:
        return [*found, {"op": "add", "path": f"/metadata/annotations/{key}", "value": cause}]
    return [*found, {"op": "add", "path": "/metadata/annotations", "value": {CHANGE_CAUSE: cause}}]


def owner_of(model: Json) -> Owner | None:
    """Return the tool that owns the object by the marks that it leaves, if one does."""
    labels, notes = model["metadata"].get("labels", {}), model["metadata"].get("annotations", {})
    for kind, short in (("kustomize", "kustomization"), ("helm", "helmrelease")):
        if name := labels.get(f"{kind}.toolkit.fluxcd.io/name"):
            where = labels.get(f"{kind}.toolkit.fluxcd.io/namespace", "")
            there = f" -n {where}" if where else ""
            return Owner(
                "Flux", f"{short} {name}{there}", f"change it in Git, or first: flux suspend {short} {name}{there}"
            )
    if tracked := notes.get("argocd.argoproj.io/tracking-id") or labels.get("argocd.argoproj.io/instance"):
        app = tracked.partition(":")[0]
        return Owner(
            "Argo CD", f"application {app}", f"change it in Git, or first: argocd app set {app} --sync-policy none"
        )
    release = notes.get("meta.helm.sh/release-name")
    if release and labels.get("app.kubernetes.io/managed-by") == "Helm":
        where = notes.get("meta.helm.sh/release-namespace", model["metadata"].get("namespace", ""))
        return Owner("Helm", f"release {release} -n {where}", f"helm rollback {release} -n {where}, or other values")
    return None
