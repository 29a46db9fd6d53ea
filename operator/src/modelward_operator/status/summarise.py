"""The whole status from the facts of one pass. Called by `reconcile.py`; writes nothing itself.

pods by revision ─▶ the condition of each aspect ─▶ Ready: the first False, else the first Unknown, else True ─▶ Stalled, if so
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from modelward_operator.api.access import TlsMode
from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.parse import Invalid
from modelward_operator.facts import Applied, Given, Json, Plan, Pod
from modelward_operator.plan import names
from modelward_operator.plan.certificate import current_record, is_managed
from modelward_operator.plan.config import policy_digest
from modelward_operator.plan.image import image_of
from modelward_operator.plan.rollout import strategy_in_use
from modelward_operator.policies.access.rule import tls_of
from modelward_operator.rulings import Ruling
from modelward_operator.status.aspects import Aspects
from modelward_operator.status.conditions import STALLING, Reason, Type
from modelward_operator.status.cost import within_budget
from modelward_operator.status.devices import fits, size_of_model, supply
from modelward_operator.status.diagnose import ending, ready, text
from modelward_operator.status.exposure import exposed, look_again_at_conflict, reached
from modelward_operator.status.finding import Finding
from modelward_operator.status.fleet import Fleet, fleet_of
from modelward_operator.status.heard import heard
from modelward_operator.status.outside import look_again_after_step, outside
from modelward_operator.status.privacy import enforced
from modelward_operator.status.refused import refused, words
from modelward_operator.status.reported import loaded_model
from modelward_operator.status.scaling import autoscaling, scaling_status
from modelward_operator.status.zero import kept_from_zero, ready_at_zero

MESSAGE_LIMIT: Final = 2048
WORDS_LIMIT: Final = 64
_AT_ZERO_TOO: Final = frozenset({Type.ENDPOINT_EXPOSED, Type.WITHIN_BUDGET})
"""What a model without pods is not Ready for either."""
HAND_OVER_LOOK: Final = 10.0
"""Seconds after which pods are asked again whether they serve the certificate that stands."""
DAY: Final = 86400.0
YOUNG: Final = 120.0
"""Seconds for which a pod that is not ready yet is looked at every second or two; an older one more and more seldom."""
DEVICE_LOOK: Final = 60.0
"""Seconds after which devices that are too small are looked at again: nodes come and go, and ring for nobody."""
POLICY_LOOK: Final = 3.0
"""Seconds after which pods are asked again whether they enforce policy.json: no event tells."""
_TOLD_BY_EVENTS: Final = frozenset({Reason.PRIVACY_POLICY_NOT_FOUND, Reason.CALLERS_UNKNOWN})
"""Why a model has no pods that could enforce its PrivacyPolicy: the policy's own event will tell, or the model's."""
EVENT_LOOK: Final = 300.0
"""Seconds after which those are looked at all the same."""
_RATE_LIMIT: Final = frozenset({Reason.RATE_LIMIT_PENDING, Reason.RATE_LIMIT_NOT_ENFORCED})
"""Why EndpointSecured waits for a policy as PrivacyEnforced does."""
LEDGER_LOOK: Final = 60.0
"""Seconds after which pods are asked again whether they can use the ledger of their privacy budget: no event tells."""
HISTORY_LOOK: Final = 60.0
"""Seconds after which a revision that could not be noted down is noted down again: no event tells."""
WEBHOOK_LOOK: Final = 600.0
"""Seconds after which a child is written again that a webhook adjusts: no event tells that it does so no more."""
TRUST_LOOK: Final = 300.0
"""Seconds after which the public keys under a policy are compared again: their ConfigMaps are the users', and are not watched."""


def summarise(given: Given, spec: ModelDeploymentSpec, ruling: Ruling, plan: Plan, applied: Applied) -> Json:
    """Return the status after this pass."""
    workload = plan.find("Deployment")
    fleet = fleet_of(given, workload, supply(given, spec))
    size = size_of_model(given, fleet) if spec.accelerator else 0
    wanted = workload["spec"].get("replicas", plan.handover_replicas or 0)
    url = inner = _url(given, spec)
    digest = policy_digest(plan)
    privacy, in_force = enforced(given, spec, ruling, fleet, wanted, digest)
    # A policy that a pod cannot enforce is why the pod is not ready; one that it does not enforce yet is the last thing to wait for.
    findings = [finding for finding in privacy if finding.status == "False"]
    findings += Aspects(given, spec, ruling, applied, fleet, wanted, url, digest).findings()
    findings += [finding for finding in privacy if finding.status != "False"]
    findings += fits(given, spec, size)
    findings += (way_in := exposed(given, spec, applied))
    findings += within_budget(given, spec)
    kept = kept_from_zero(given, spec)
    findings += outside(given, spec, plan, applied) or ([kept] if kept else autoscaling(given, wanted))
    at_zero = ready_at_zero(given, spec, ruling) if wanted == 0 else None
    outer = reached(given, spec)
    if outer.url and any(finding.status == "True" for finding in way_in):
        url = outer.url
    told = _with_notes(_ready(ruling, applied, fleet, wanted, url, findings, at_zero), applied)
    findings += _concluded(told)
    live = given.child("Deployment", given.key.name)
    status: dict[str, Any] = {
        "observedGeneration": given.generation,
        "replicas": len(fleet.current) + len(fleet.old),
        "readyReplicas": len(fleet.serving),
        "selector": ",".join(f"{key}={value}" for key, value in sorted(names.selector(given.key.name).items())),
        "url": url,
        "address": _address(given, spec, inner),
        "effective": {
            "image": image_of(workload) or image_of(live),
            "strategy": strategy_in_use(given, spec).value,
            **({"replicas": workload["spec"]["replicas"]} if "replicas" in workload["spec"] else {}),
            "egress": _way_out(plan),
            **({"modelSizeBytes": size} if size else {}),
        },
        "conditions": _conditions(given, findings),
    }
    if outer.status():
        status["exposure"] = outer.status()
    if model := _model(given, fleet, wanted):
        status["model"] = model
    if in_force:
        status["privacy"] = in_force
    if asked := scaling_status(given):
        status["scaling"] = asked
    if applied.revision:
        status["revision"] = applied.revision
    if said := heard(given):
        status["heard"] = said
    if cost := _cost(given):
        status["cost"] = cost
    return status


def summarise_invalid(given: Given, invalid: Invalid, ruling: Ruling, applied: Applied) -> Json:
    """Return the status of an object whose spec cannot be read: what was known stays, Ready says every field error."""
    ready = Finding(Type.READY, "False", Reason.INVALID_SPEC, f"{invalid}. What runs keeps running.")
    if ruling.denied:
        denied = _denied(ruling, applied)
        ready = replace(denied, message=f"{denied.message}; the spec cannot be read ({Reason.INVALID_SPEC}): {invalid}")
    return _held(given, [ready])


def summarise_unread(given: Given, ruling: Ruling, applied: Applied) -> Json:
    """Return the status of a model under policies that cannot be read: what was known stays, but for what they bear on."""
    model, privacy = "; ".join(given.around.unread_policies), given.around.unread
    findings = []
    if privacy:
        told = f"{privacy}. What runs keeps running, held to the policy before; nothing of the model changes until it is corrected."
        findings.append(Finding(Type.PRIVACY_ENFORCED, "False", Reason.PRIVACY_POLICY_INVALID, told))
    if model:
        told = f"{model}. What runs keeps running; nothing of the model changes until it is corrected."
        findings.append(Finding(Type.READY, "False", Reason.MODEL_POLICY_INVALID, told))
    else:
        findings.append(replace(findings[0], type=Type.READY))
    if ruling.denied:
        denied = _denied(ruling, applied)
        findings[-1] = replace(denied, message="; ".join(filter(None, [denied.message, model, privacy])))
    return _held(given, findings)


def _held(given: Given, findings: Sequence[Finding]) -> Json:
    """Return the status as it was, but for these conditions; the last is Ready."""
    findings = [*findings[:-1], *_concluded(findings[-1])]
    before = {**given.raw.get("status", {})}
    anew = {Type.STALLED, *(finding.type for finding in findings)}
    kept = [c for c in before.get("conditions", ()) if c["type"] not in anew]
    fresh = _conditions(given, findings)
    before |= {"heard": said} if (said := heard(given)) else {}
    return {**before, "observedGeneration": given.generation, "conditions": [*kept, *fresh]}


def look_again_after(given: Given, status: Json, applied: Applied, again: float | None = None) -> float | None:
    """Return the seconds after which facts may have changed that no watch event tells: what a running pod reports.

    After `again` seconds the plan is another one by the clock alone.
    """
    governed = bool(given.around.policies)
    waits = [_wait(pod, given.now, governed) for pod in given.pods if not ending(pod) and not pod.over]
    said = {c["type"]: c for c in status["conditions"]}
    waits += [
        _seldom(said[Type.READY], given.now, 2, *((5.0, 60.0) if refusal.reason == "Unwritten" else (15.0, 300.0)))
        for refusal in applied.refusals
    ]
    if (privacy := said.get(Type.PRIVACY_ENFORCED)) and privacy["status"] != "True":
        told = privacy["reason"] in _TOLD_BY_EVENTS
        waits.append(EVENT_LOOK if told else _seldom(privacy, given.now, 20, POLICY_LOOK, 60.0))
    if (secured := said.get(Type.ENDPOINT_SECURED)) and secured["reason"] in _RATE_LIMIT:
        waits.append(_seldom(secured, given.now, 20, POLICY_LOOK, 60.0))
    waits += [HISTORY_LOOK] if applied.unrecorded else []
    waits += [DEVICE_LOOK for c in status["conditions"] if c["type"] == Type.ACCELERATOR_FITS and c["status"] != "True"]
    waits += [WEBHOOK_LOOK for _ in applied.adjustments]
    waits += [LEDGER_LOOK for pod in given.pods if pod.report.get("epsilon")]
    waits += [TRUST_LOOK for policy in given.around.policies if policy.spec.trusted_signers]
    waits += [
        again,
        look_again_after_step(given, status, applied),
        look_again_at_conflict(status),
        given.network.stale_after,
        *_certificate_looks(given, status),
    ]
    return min((w for w in waits if w is not None), default=None)


def _seldom(condition: Json, now: datetime, share: float, least: float, most: float) -> float:
    """What has been wrong for long is looked at more and more seldom: thousands that nobody mends must not keep the others waiting."""
    age = (now - datetime.fromisoformat(condition["lastTransitionTime"])).total_seconds()
    return min(max(age / share, least), most)


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
    age = (now - created).total_seconds()
    states = [c.get("state", {}) for c in pod.raw.get("status", {}).get("containerStatuses", ())]
    if any("running" in state for state in states):
        return 1.0 if age < YOUNG else min(age / 30, 60.0)
    return 2.0 if age < YOUNG else min(age / 8, 120.0)


def _ready(
    ruling: Ruling,
    applied: Applied,
    fleet: Fleet,
    wanted: int,
    url: str,
    findings: Sequence[Finding],
    at_zero: Finding | None,
) -> Finding:
    if ruling.denied:
        return _denied(ruling, applied)
    unwritten = [refused(Type.READY, refusal) for refusal in applied.refusals]
    if final := next((finding for finding in unwritten if finding.status == "False"), None):
        return final
    if final := next((f for f in findings if f.type in _AT_ZERO_TOO and f.status == "False" and f.blocks), None):
        return replace(final, type=Type.READY)
    if at_zero and not unwritten:
        return at_zero
    for status in ("False", "Unknown"):
        for finding in (*unwritten, *findings):
            if finding.status == status and finding.blocks:
                serves = "; the previous revision serves on" if fleet.serving and not fleet.serving_current else ""
                known = serves if serves not in finding.message else ""
                return Finding(Type.READY, status, finding.reason, finding.message + known)
    tolerated = "".join(f"; {finding.message}" for finding in findings if finding.status == "False")
    serving = f"{len(fleet.serving)} of {wanted} pods serve at {url}{tolerated}"
    return Finding(Type.READY, "True", Reason.SERVING, serving)


def _concluded(ready: Finding) -> list[Finding]:
    """Return Ready, and Stalled where it is False for a reason that waiting does not mend."""
    if ready.status != "False" or ready.reason not in STALLING:
        return [ready]
    return [ready, replace(ready, type=Type.STALLED, status="True")]


def _with_notes(ready: Finding, applied: Applied) -> Finding:
    """Add what others have made of our children, which stands in nobody's way."""
    return replace(ready, message="; ".join([ready.message, *map(words, applied.adjustments)]))


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


def _cost(given: Given) -> Json:
    """What the pods cost now, or why that is not known; nothing where no PriceBook exists."""
    said = {
        "hourly": given.cost.hourly,
        "currency": given.cost.currency,
        "unknown": text(given.cost.unpriced, MESSAGE_LIMIT),
    }
    return {name: value for name, value in said.items() if value}


def _host(given: Given) -> str:
    return f"{given.key.name}.{given.key.namespace}.svc"


def _url(given: Given, spec: ModelDeploymentSpec) -> str:
    scheme = "http" if tls_of(spec).mode is TlsMode.OFF else "https"
    return f"{scheme}://{_host(given)}:{names.HTTP_PORT}"


def _address(given: Given, spec: ModelDeploymentSpec, url: str) -> Json:
    authority = {"caBundle": names.tls_name(given.key.name)} if is_managed(spec) else {}
    return {"http": url, "grpc": f"{_host(given)}:{names.GRPC_PORT}", **authority}


def _way_out(plan: Plan) -> list[str]:
    lines = list(plan.egress)
    if len(lines) > WORDS_LIMIT:
        lines = [*lines[: WORDS_LIMIT - 1], f"and {len(lines) - WORDS_LIMIT + 1} more"]
    return [text(line, 512) for line in lines]
