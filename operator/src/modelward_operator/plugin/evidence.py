"""Evidence for an auditor: what is loaded now, who signed it, which policy which pods enforce, and where the audit log stands.

Everything is read anew and compared: what the spec declares, what the operator wrote for the pods, and what each pod says of
itself. What does not fit, or cannot be seen, is a gap, told in words; evidence without gaps is the only kind that counts. Pure:
`evidence_cli.py` reads, this module judges.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelward_operator.plan.names import canonical_json

Json = dict[str, Any]


FORM: Final[Json] = {"model": {"signer": {}}, "access": {"tls": {}}, "audit": {}, "epsilon": {}, "failure": {}}
"""What in a report is a map, where it is there: a pod may run any image, and say anything."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One pod as the API shows it, and its report, or why there is none."""

    pod: Json
    report: Json
    silence: str = ""


def evidence(model: Json, policy_file: Json, privacy_policy: Json, pods: Iterable[Seen], at: str) -> Json:
    """The evidence as a JSON document.

    `policy_file` is the contents of policy.json that the operator wrote, `privacy_policy` the live PrivacyPolicy; both empty where
    there is none. `at` is the time in RFC 3339.
    """
    seen = [_formed(one) for one in pods]
    found: Json = {
        "kind": "Evidence",
        "apiVersion": "modelward.dev/v1alpha1",
        "time": at,
        "model": _model(model),
        "declared": _declared(model),
        "conditions": model.get("status", {}).get("conditions", []),
    }
    if privacy_policy:
        metadata = privacy_policy["metadata"]
        found["privacyPolicy"] = {key: metadata.get(key) for key in ("name", "uid", "generation")} | {
            "spec": privacy_policy.get("spec", {})
        }
    found["policyGeneration"] = policy_file.get("generation", "")
    found["pods"] = [_pod(one) for one in seen]
    found["gaps"] = list(_gaps(model, policy_file, privacy_policy, seen))
    return found


def _formed(seen: Seen) -> Seen:
    """Of a report without the form of one, nothing is believed: it counts as silence."""
    wrong = ", ".join(_misshapen(seen.report, FORM, ""))
    return Seen(seen.pod, {}, f"its report has not the form of one: {wrong}") if wrong else seen


def _misshapen(said: Json, form: Json, path: str) -> Iterator[str]:
    for name, inner in form.items():
        value = said.get(name)
        if isinstance(value, dict):
            yield from _misshapen(value, inner, f"{path}{name}.")
        elif value is not None:
            yield path + name


def _model(model: Json) -> Json:
    metadata, spec = model["metadata"], model["spec"]
    return {
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "generation": metadata["generation"],
        "uri": spec["model"]["uri"],
        "version": spec["model"].get("version", ""),
    }


def _declared(model: Json) -> Json:
    spec = model["spec"]
    security = spec.get("security", {})
    declared = {"digest": spec["model"].get("digest"), **security, "privacy": spec.get("privacy")}
    return {key: value for key, value in declared.items() if value}


def _pod(seen: Seen) -> Json:
    pod = seen.pod
    container: Json = next(iter(pod.get("status", {}).get("containerStatuses", ())), {})
    told: Json = {
        "name": pod["metadata"]["name"],
        "uid": pod["metadata"]["uid"],
        "node": pod["spec"].get("nodeName", ""),
        "image": container.get("image", ""),
        "imageID": container.get("imageID", ""),
        "ready": is_ready(pod),
    }
    if seen.silence:
        return told | {"silence": seen.silence}
    keys = (
        "state",
        "boot",
        "startedAt",
        "model",
        "policyGeneration",
        "policyDigest",
        "policyFailure",
        "access",
        "audit",
        "epsilon",
        "failure",
    )
    return told | {key: seen.report[key] for key in keys if seen.report.get(key)}


def is_ready(pod: Json) -> bool:
    """The kubelet calls the pod ready."""
    conditions = pod.get("status", {}).get("conditions", ())
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _gaps(model: Json, policy_file: Json, privacy_policy: Json, pods: list[Seen]) -> Iterator[str]:
    generation = model["metadata"]["generation"]
    if model.get("status", {}).get("observedGeneration") != generation:
        yield f"the operator has not yet looked at generation {generation} of the spec"
    if not any(is_ready(one.pod) for one in pods):
        yield "no pod is ready: nothing is served, and nothing can be shown of what would be"
    if not policy_file:
        yield "policy.json, which the operator writes for the pods, cannot be read: what they must enforce is not known"
    reference = (model["spec"].get("privacy") or {}).get("policyRef", {}).get("name")
    if reference and not privacy_policy:
        yield f"the PrivacyPolicy {reference} cannot be read"
    if reference and (policy_file.get("privacy") or {}).get("policyGeneration", -1) != _generation(privacy_policy):
        yield f"what the operator wrote for the pods is not of the PrivacyPolicy's generation {_generation(privacy_policy)}"
    digests = set()
    for one in pods:
        name = one.pod["metadata"]["name"]
        if one.silence:
            yield f"pod {name} does not answer: {one.silence}"
            continue
        digests.add(str((one.report.get("model") or {}).get("digest", "")))
        yield from (f"pod {name}: {gap}" for gap in _pod_gaps(model, policy_file, one.report))
    if len(digests) > 1:
        yield f"the pods have loaded different bytes: {', '.join(sorted(digests))}"


def _pod_gaps(model: Json, policy_file: Json, report: Json) -> Iterator[str]:
    loaded: Mapping[str, Any] = report.get("model") or {}
    security = model["spec"].get("security", {})
    declared = model["spec"]["model"].get("digest")
    if report.get("state") != "Ready":
        yield f"it is {report.get('state', 'in no known state')}, not Ready"
        return
    if declared and loaded.get("digest") != declared:
        yield f"it has loaded {loaded.get('digest')}, declared is {declared}"
    if security.get("verification") and not loaded.get("signer"):
        yield f"it cannot say who signed its model: {loaded.get('verificationWarning', 'no signer is reported')}"
    if (security.get("encryption") or {}).get("mode") == "Required" and not loaded.get("encrypted"):
        yield "it does not report that its model was sealed"
    yield from _door_gaps(security, report.get("access") or {})
    if policy_file and report.get("policyDigest") != hashlib.sha256(canonical_json(policy_file).encode()).hexdigest():
        held, written = report.get("policyGeneration"), policy_file.get("generation")
        yield f"it enforces policy.json of generation {held}, not the one that is written, {written}"
    if failure := report.get("policyFailure"):
        yield f"it refuses the written policy: {failure}"
    yield from _book_gaps(policy_file, report)


def _book_gaps(policy_file: Json, report: Json) -> Iterator[str]:
    """What is written down of calls: the audit log, and what they spend of a privacy budget."""
    if "audit" in policy_file and not report.get("audit"):
        yield "it reports no audit log"
    elif failure := (report.get("audit") or {}).get("failure"):
        yield f"its audit log fails: {failure}"
    if _promises(policy_file) and not report.get("epsilon"):
        yield "it does not report that it spends a privacy budget"
    elif failure := (report.get("epsilon") or {}).get("failure"):
        yield f"it cannot ask the ledger of its privacy budget: {failure}"


def _door_gaps(security: Json, access: Json) -> Iterator[str]:
    """Who may call, as declared and as the pod says; an absent authentication is TokenReview."""
    wanted = (security.get("authentication") or {}).get("mode", "TokenReview")
    if access.get("authentication") != wanted:
        yield f"it authenticates callers by {access.get('authentication') or 'nothing that it reports'}, declared is {wanted}"
    if (security.get("tls") or {}).get("mode", "Off") != "Off" and not access.get("tls"):
        yield "it does not report a certificate, and TLS is declared"


def _promises(policy_file: Json) -> bool:
    """The written policy promises differential privacy."""
    output: Json = (policy_file.get("privacy") or {}).get("output") or {}
    return "differentialPrivacy" in output


def _generation(privacy_policy: Json) -> int:
    return int(privacy_policy.get("metadata", {}).get("generation", 0))


def policy_file_of(config_map: Json) -> Json:
    """policy.json out of its ConfigMap; empty where there is none, or none that can be read."""
    try:
        found = json.loads(config_map.get("data", {}).get("policy.json", ""))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
