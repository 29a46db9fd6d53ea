"""The whole status from the facts of one pass. Called by `reconcile.py`; writes nothing itself.

pods by revision ─▶ the condition of each aspect ─▶ Ready: the first False, else the first Unknown, else True
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from modelward_operator.api.access import TlsMode
from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.parse import Invalid
from modelward_operator.facts import Applied, Given, Json, Plan, Pod
from modelward_operator.plan import names
from modelward_operator.plan.certificate import current_record, is_managed
from modelward_operator.plan.config import policy_digest
from modelward_operator.plan.deployment import image_of
from modelward_operator.plan.egress import egress
from modelward_operator.plan.rollout import strategy_in_use
from modelward_operator.policies.access.rule import tls_of
from modelward_operator.rulings import Ruling
from modelward_operator.status.aspects import Aspects
from modelward_operator.status.conditions import Reason, Type
from modelward_operator.status.diagnose import ending, ready, text
from modelward_operator.status.finding import Finding
from modelward_operator.status.fleet import Fleet, fleet_of
from modelward_operator.status.heard import heard
from modelward_operator.status.privacy import enforced
from modelward_operator.status.refused import refused, words
from modelward_operator.status.reported import loaded_model

MESSAGE_LIMIT: Final = 2048
WORDS_LIMIT: Final = 64
HAND_OVER_LOOK: Final = 10.0
"""Seconds after which pods are asked again whether they serve the certificate that stands."""
DAY: Final = 86400.0
POLICY_LOOK: Final = 3.0
"""Seconds after which pods are asked again whether they enforce the policy: no event tells."""
TRUST_LOOK: Final = 300.0
"""Seconds after which the public keys under a policy are compared again: their ConfigMaps are the users', and are not watched."""


def summarise(given: Given, spec: ModelDeploymentSpec, ruling: Ruling, plan: Plan, applied: Applied) -> Json:
    """Return the status after this pass."""
    workload = plan.find("Deployment")
    fleet = fleet_of(given, workload)
    wanted = workload["spec"].get("replicas", plan.handover_replicas or 0)
    url = _url(given, spec)
    privacy, in_force = enforced(given, spec, ruling, fleet, wanted, policy_digest(plan))
    # A policy that a pod cannot enforce is why the pod is not ready; one that it does not enforce yet is the last thing to wait for.
    findings = [finding for finding in privacy if finding.status == "False"]
    findings += Aspects(given, spec, ruling, applied, fleet, wanted, url).findings()
    findings += [finding for finding in privacy if finding.status != "False"]
    findings.append(_ready(ruling, applied, fleet, wanted, url, findings))
    live = given.child("Deployment", given.key.name)
    status: dict[str, Any] = {
        "observedGeneration": given.generation,
        "replicas": len(fleet.current) + len(fleet.old),
        "readyReplicas": len(fleet.serving),
        "selector": ",".join(f"{key}={value}" for key, value in sorted(names.selector(given.key.name).items())),
        "url": url,
        "address": _address(given, spec, url),
        "effective": {
            "image": image_of(workload) or image_of(live),
            "strategy": strategy_in_use(given, spec).value,
            **({"replicas": workload["spec"]["replicas"]} if "replicas" in workload["spec"] else {}),
            "egress": _way_out(given, spec, ruling),
        },
        "conditions": _conditions(given, findings),
    }
    if model := _model(given, fleet, wanted):
        status["model"] = model
    if in_force:
        status["privacy"] = in_force
    if said := heard(given):
        status["heard"] = said
    return status


def summarise_invalid(given: Given, invalid: Invalid, ruling: Ruling, applied: Applied) -> Json:
    """Return the status of an object whose spec cannot be read: what was known stays, Ready says every field error."""
    ready = Finding(Type.READY, "False", Reason.INVALID_SPEC, f"{invalid}. What runs keeps running.")
    if ruling.denied:
        denied = _denied(ruling, applied)
        ready = replace(denied, message=f"{denied.message}; the spec cannot be read ({Reason.INVALID_SPEC}): {invalid}")
    before = {**given.raw.get("status", {})}
    kept = [c for c in before.get("conditions", ()) if c["type"] != Type.READY]
    fresh = _conditions(given, [ready])
    before |= {"heard": said} if (said := heard(given)) else {}
    return {**before, "observedGeneration": given.generation, "conditions": [*kept, *fresh]}


def look_again_after(given: Given, status: Json, applied: Applied) -> float | None:
    """Return the seconds after which facts may have changed that no watch event tells: what a running pod reports."""
    governed = bool(given.around.policies)
    waits = [_wait(pod, given.now, governed) for pod in given.pods if not ending(pod) and not pod.over]
    waits += [5.0 if refusal.reason == "Unwritten" else 15.0 for refusal in applied.refusals]
    waits += [POLICY_LOOK for c in status["conditions"] if c["type"] == Type.PRIVACY_ENFORCED and c["status"] != "True"]
    waits += [TRUST_LOOK for policy in given.around.policies if policy.spec.trusted_signers]
    waits += [given.network.stale_after, *_certificate_looks(given, status)]
    return min((w for w in waits if w is not None), default=None)


def _certificate_looks(given: Given, status: Json) -> Iterable[float]:
    """A renewal is due by the clock alone, and that a pod has taken the new certificate no event tells."""
    if any(c["reason"] == Reason.CERTIFICATE_PENDING for c in status["conditions"]):
        yield HAND_OVER_LOOK
    if standing := current_record(given):
        yield min(max((standing.renewal - given.now).total_seconds(), HAND_OVER_LOOK), DAY)


def _wait(pod: Pod, now: datetime, governed: bool) -> float | None:
    if ready(pod):  # under a policy what it has loaded must be known; otherwise an answer is enough
        return None if pod.report and (pod.loaded or not governed) else 2.0
    created = datetime.fromisoformat(str(pod.raw["metadata"].get("creationTimestamp") or now.isoformat()))
    young = now - created < timedelta(minutes=2)
    states = [c.get("state", {}) for c in pod.raw.get("status", {}).get("containerStatuses", ())]
    if any("running" in state for state in states):
        return 1.0 if young else 4.0
    return 2.0 if young else 15.0


def _ready(
    ruling: Ruling, applied: Applied, fleet: Fleet, wanted: int, url: str, findings: Sequence[Finding]
) -> Finding:
    if ruling.denied:
        return _denied(ruling, applied)
    unwritten = [refused(Type.READY, refusal) for refusal in applied.refusals]
    if final := next((finding for finding in unwritten if finding.status == "False"), None):
        return final
    if wanted == 0 and not unwritten:
        return Finding(Type.READY, "True", Reason.SCALED_TO_ZERO, "zero replicas are wanted; scale up to serve")
    for status in ("False", "Unknown"):
        for finding in (*unwritten, *findings):
            if finding.status == status and finding.blocks:
                serves = "; the previous revision serves on" if fleet.serving and not fleet.serving_current else ""
                known = serves if serves not in finding.message else ""
                return Finding(Type.READY, status, finding.reason, finding.message + known)
    tolerated = "".join(f"; {finding.message}" for finding in findings if finding.status == "False")
    serving = f"{len(fleet.serving)} of {wanted} pods serve at {url}{tolerated}"
    return Finding(Type.READY, "True", Reason.SERVING, serving)


def _denied(ruling: Ruling, applied: Applied) -> Finding:
    verdicts = sorted(ruling.verdicts)
    undone = [words(refusal) for refusal in applied.refusals if refusal.kind == "Deployment"]
    return Finding(Type.READY, "False", verdicts[0].reason, "; ".join([*(v.message for v in verdicts), *undone]))


def _conditions(given: Given, findings: Iterable[Finding]) -> list[Json]:
    """Order by type; `lastTransitionTime` stands while the status stands."""
    before = {c["type"]: c for c in given.raw.get("status", {}).get("conditions", ())}
    now = given.now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    conditions: list[Json] = []
    for finding in sorted(findings, key=lambda f: f.type):
        last = before.get(finding.type, {})
        since = last.get("lastTransitionTime", now) if last.get("status") == finding.status else now
        conditions.append(
            {
                "type": str(finding.type),
                "status": finding.status,
                "reason": str(finding.reason),
                "message": finding.message[:MESSAGE_LIMIT],
                "observedGeneration": given.generation,
                "lastTransitionTime": since,
            }
        )
    return conditions


def _model(given: Given, fleet: Fleet, wanted: int) -> Json:
    """What serving pods report; while a report cannot be read, what they reported last."""
    if wanted == 0:
        return {}
    reports = [pod.report for pod in fleet.serving if pod.report]
    model = loaded_model(reports[0]) if reports else {}
    if fleet.serving and not reports:
        model = {**given.raw.get("status", {}).get("model", {})}
    model.pop("lastFailure", None)
    diagnosis = fleet.diagnosis()
    if diagnosis and diagnosis.failed:
        model["lastFailure"] = f"{diagnosis.reason}: {diagnosis.message}"[:MESSAGE_LIMIT]
    return model


def _host(given: Given) -> str:
    return f"{given.key.name}.{given.key.namespace}.svc"


def _url(given: Given, spec: ModelDeploymentSpec) -> str:
    scheme = "http" if tls_of(spec).mode is TlsMode.OFF else "https"
    return f"{scheme}://{_host(given)}:{names.HTTP_PORT}"


def _address(given: Given, spec: ModelDeploymentSpec, url: str) -> Json:
    authority = {"caBundle": names.tls_name(given.key.name)} if is_managed(spec) else {}
    return {"http": url, "grpc": f"{_host(given)}:{names.GRPC_PORT}", **authority}


def _way_out(given: Given, spec: ModelDeploymentSpec, ruling: Ruling) -> list[str]:
    lines = list(egress(given, spec, ruling).words)
    if len(lines) > WORDS_LIMIT:
        lines = [*lines[: WORDS_LIMIT - 1], f"and {len(lines) - WORDS_LIMIT + 1} more"]
    return [text(line, 512) for line in lines]
