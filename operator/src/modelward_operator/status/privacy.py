"""PrivacyEnforced and `status.privacy`: which policy the serving pods say that they hold every request to. Called by `summarise.py`.

A policy is read live, so it is in force when every ready pod reports the digest of the written policy.json. A pod that cannot use it holds
on to the one before and says why.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Given, Json, Pod, PrivacyPolicy
from modelward_operator.rulings import Ruling
from modelward_operator.status.conditions import Reason, Type
from modelward_operator.status.diagnose import ready, text
from modelward_operator.status.finding import Finding
from modelward_operator.status.fleet import Fleet

NAMED: Final = 8
"""Pods that a message names at most."""


@dataclass(frozen=True, slots=True)
class Enforcement:
    """What the pods make of one policy."""

    given: Given
    policy: PrivacyPolicy
    digest: str
    """Of policy.json, as pods report it."""
    fleet: Fleet

    def finding(self) -> Finding:
        """Return PrivacyEnforced: a pod of the current revision that cannot, else those that do not say so yet, else all do."""
        diagnosis = self.fleet.diagnosis()
        if diagnosis and diagnosis.failed and diagnosis.type is Type.PRIVACY_ENFORCED:
            return Finding(Type.PRIVACY_ENFORCED, "False", diagnosis.reason, diagnosis.message)
        for pod in filter(ready, self.fleet.current):
            if failure := _failure(pod):
                message = f"pod {_name(pod)} cannot enforce {self._named()} and holds on to what it enforced before: {failure}"
                return Finding(Type.PRIVACY_ENFORCED, "False", Reason.POLICY_UNSATISFIABLE, message)
        serving = self.fleet.serving
        if not serving:
            return Finding(
                Type.PRIVACY_ENFORCED, "Unknown", Reason.STARTING, f"no pod is ready to enforce {self._named()}"
            )
        if waiting := [pod for pod in serving if not self._enforces(pod)]:
            counted = f"{len(serving) - len(waiting)} of {len(serving)} ready pods enforce {self._named()}"
            message = f"{counted}; not yet: {_list(waiting)}"
            return Finding(Type.PRIVACY_ENFORCED, "Unknown", Reason.PRIVACY_POLICY_PENDING, message)
        message = f"{self._named()} is enforced by {len(serving)} pods: {_list(serving)}"
        return Finding(Type.PRIVACY_ENFORCED, "True", Reason.POLICY_ENFORCED, message)

    def _enforces(self, pod: Pod) -> bool:
        """A silent pod enforces what it was heard to enforce; one that this process never heard, what the status says of all."""
        said = pod.report or pod.last_loaded
        if not pod.report and "policyDigest" not in said:
            return bool(self.given.raw.get("status", {}).get("privacy") == self.to_status())
        return bool(said.get("policyDigest") == self.digest) and not _failure(pod)

    def _named(self) -> str:
        return f"PrivacyPolicy {self.policy.name} (generation {self.policy.generation})"

    def to_status(self) -> dict[str, Any]:
        """Return `status.privacy` once every pod enforces the policy."""
        return {"policy": self.policy.name, "generation": self.policy.generation}


def enforced(
    given: Given, spec: ModelDeploymentSpec, ruling: Ruling, fleet: Fleet, wanted: int, digest: str
) -> tuple[list[Finding], Json]:
    """Return the condition, where a policy is named and pods are wanted, and `status.privacy`: what all of them enforce, or did last."""
    for verdict in sorted(ruling.verdicts):
        if verdict.type == Type.PRIVACY_ENFORCED:
            return [Finding(Type.PRIVACY_ENFORCED, "False", verdict.reason, verdict.message)], {}
    policy = given.around.privacy.get(spec.privacy.policy_ref.name) if spec.privacy else None
    if policy is None or wanted == 0:
        return [], {}
    enforcement = Enforcement(given, policy, digest, fleet)
    finding = enforcement.finding()
    before: Json = given.raw.get("status", {}).get("privacy", {}) if fleet.serving else {}
    return [finding], enforcement.to_status() if finding.status == "True" else before


def _failure(pod: Pod) -> str:
    """Return why the pod cannot use the newest policy.json, or an empty string."""
    said = pod.report.get("policyFailure")
    return text(said, 900) if isinstance(said, str) else ""


def _name(pod: Pod) -> str:
    return str(pod.raw["metadata"]["name"])


def _list(pods: Sequence[Pod]) -> str:
    named = sorted(map(_name, pods))
    more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return ", ".join(named[:NAMED]) + more
