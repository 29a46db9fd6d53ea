"""Checks of `doctor` on the cluster: the API server, our kinds in it, clocks, admission. Pure."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

from modelward_operator.api.generate import CRDS
from modelward_operator.plugin.examination import Finding, Result, Seen, age_of, few, unread

Json = dict[str, Any]
LEAST: Final = (1, 31)
"""The oldest Kubernetes that the chart installs on."""
SECOND: Final = timedelta(seconds=1)
"""The API server tells its time in whole seconds."""
SKEW: Final = 5.0
"""Seconds by which clocks may differ before it is worth a word."""
ADMISSION: Final = {
    "modelward-model-policies": "ModelPolicies are enforced only after the fact, not at admission",
    "modelward-tenant-label": "whoever may label a namespace may claim another tenant's sealed models",
    "modelward-relax-models": "whoever may edit a model may take its protection away",
    "modelward-relax-policies": "whoever may edit a PrivacyPolicy may weaken it",
    "modelward-relax-budgets": "whoever may edit a CostBudget may raise it",
    "modelward-relax-files": "whoever may edit ConfigMaps may change the policy that pods read",
    "modelward-privacy-ledgers": "whoever may edit PrivacyLedgers may give a privacy budget back",
    "modelward-service-accounts": "whoever may edit a model may run its pods as any service account of the namespace",
    "modelward-cost-ledgers": "whoever may edit CostLedgers may forget what was spent",
    "modelward-histories": "whoever may create ControllerRevisions may have a rollback bring what never served",
}
"""The chart's ValidatingAdmissionPolicies, and what is open without each."""


def check_kubernetes(seen: Seen) -> Finding:
    """The API server answers, and is new enough."""
    if not seen.server_version:
        why = seen.unread.get("server_version", "no answer")
        return Finding(
            Result.FAILED,
            f"the API server cannot be asked: {why}",
            "Check --context, --kubeconfig, and that the cluster is up.",
        )
    numbers = seen.server_version.removeprefix("v").split(".")
    try:
        version = int(numbers[0]), int(numbers[1].partition("+")[0])
    except (ValueError, IndexError):
        return Finding(Result.UNKNOWN, f"version {seen.server_version} cannot be understood")
    if version < LEAST:
        return Finding(
            Result.FAILED,
            f"{seen.server_version} is older than 1.{LEAST[1]}",
            "Upgrade Kubernetes: admission rules and CEL need it.",
        )
    return Finding(Result.OK, seen.server_version)


def check_crds(seen: Seen) -> Finding:
    """The kinds are there, served, and those of this version."""
    if missing := unread(seen, "crds"):
        return missing
    live = {crd["metadata"]["name"]: crd for crd in seen.crds}
    wanted = {crd["metadata"]["name"]: crd for crd in CRDS}
    upgrade = "helm upgrade with crds.enabled=true, or kubectl apply --server-side -f crds/, of the operator's release."
    if absent := sorted(wanted.keys() - live.keys()):
        return Finding(Result.FAILED, f"not installed: {', '.join(absent)}", f"Install them: {upgrade}")
    if waiting := sorted(name for name in wanted if not _is_established(live[name])):
        return Finding(Result.FAILED, f"not established: {', '.join(waiting)}", f"kubectl describe crd {waiting[0]}")
    return _compared(wanted, live, upgrade)


def _compared(wanted: Mapping[str, Json], live: Mapping[str, Json], upgrade: str) -> Finding:
    """Judge the schemas that are served against those of this version, field by field."""
    older, newer, other = list[str](), list[str](), list[str]()
    for name, crd in sorted(wanted.items()):
        here, there, plural = _schema(crd), _schema(live[name]), name.partition(".")[0]
        ours, theirs = set(_paths(here, plural)), set(_paths(there, plural))
        older += sorted(ours - theirs)
        newer += sorted(theirs - ours)
        other += [name] if here != there else []
    if older:
        told = f"older than this version: the API server drops {few(older)}"
        return Finding(Result.FAILED, told, f"Upgrade the CRDs before the operator: {upgrade}")
    if newer:
        return Finding(
            Result.WARNING, f"newer than this plugin: {few(newer)}", "Use the plugin of the operator's release."
        )
    if other:
        told = f"other limits or words than this version has: {', '.join(other)}"
        return Finding(Result.WARNING, told, f"If the operator is of this version: {upgrade}")
    return Finding(Result.OK, f"{len(wanted)} kinds, as this version has them")


def _is_established(crd: Json) -> bool:
    conditions = crd.get("status", {}).get("conditions", ())
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


def _schema(crd: Json) -> Json:
    versions = crd["spec"]["versions"]
    found: Json = next((one for one in versions if one["name"] == "v1alpha1"), {})
    return found.get("schema", {}).get("openAPIV3Schema", {}) if found.get("served", True) else {}


def _paths(schema: Json, path: str) -> Iterator[str]:
    """The paths of all fields."""
    for name, inner in schema.get("properties", {}).items():
        yield f"{path}.{name}"
        yield from _paths(inner, f"{path}.{name}")
    for within in ("items", "additionalProperties"):
        if isinstance(schema.get(within), dict):
            yield from _paths(schema[within], f"{path}[]")


def check_clocks(seen: Seen) -> Finding:
    """The leader's clock, the API server's and this machine's agree: tokens and certificates hang on them."""
    clocks = seen.clocks
    if clocks is None:
        why = seen.unread.get("clocks", "it did not say")
        return Finding(Result.UNKNOWN, f"the API server's time is not known: {why}")
    renewed = seen.lease.get("spec", {}).get("renewTime", "")
    ahead = -age_of(renewed, clocks.after + SECOND)
    if ahead > SKEW:
        told = f"the leader's clock is {ahead:.0f} s ahead of the API server's"
        return Finding(Result.WARNING, told, "Set the nodes' clocks (NTP): tokens and certificates are judged by them.")
    fast = (clocks.local_before - clocks.before - SECOND).total_seconds()
    slow = (clocks.before - clocks.local_after).total_seconds()
    if max(fast, slow) > SKEW:
        way = f"{fast:.0f} s ahead of" if fast > slow else f"{slow:.0f} s behind"
        return Finding(
            Result.WARNING, f"this machine's clock is {way} the API server's", "Set this machine's clock (NTP)."
        )
    return Finding(Result.OK, f"within {SKEW:.0f} s of each other")


def check_admission(seen: Seen) -> Finding:
    """What must not be weakened is guarded at admission."""
    if missing := unread(seen, "admission"):
        return missing
    policies = {one["metadata"]["name"] for one in seen.admission if one["kind"] == "ValidatingAdmissionPolicy"}
    denying = {
        one["spec"]["policyName"]
        for one in seen.admission
        if one["kind"] == "ValidatingAdmissionPolicyBinding" and "Deny" in one["spec"].get("validationActions", ())
    }
    if absent := [name for name in ADMISSION if name not in policies & denying]:
        if len(absent) == len(ADMISSION):
            return Finding(
                Result.WARNING,
                "none of the chart's admission policies denies: who may edit a model may take its protection away",
                "helm upgrade with admission.* on. They need ValidatingAdmissionPolicy, which Kubernetes has from 1.30.",
            )
        open_ = "; ".join(f"without {name} {ADMISSION[name]}" for name in absent)
        return Finding(Result.WARNING, open_, "helm upgrade with admission.* on, unless something else guards it.")
    return Finding(Result.OK, f"{len(ADMISSION)} policies deny")
