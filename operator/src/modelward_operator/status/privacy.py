"""PrivacyEnforced and `status.privacy`: which policy the serving pods say that they hold every request to. Called by `summarise.py`.

That all of them have taken up the policy.json that was written is told by `uptake.py`; here, what that says of the policy and its ledger.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Given, Json, Pod, PrivacyPolicy
from modelward_operator.rulings import Ruling
from modelward_operator.status.conditions import Reason, Type
from modelward_operator.status.diagnose import text
from modelward_operator.status.finding import Finding
from modelward_operator.status.fleet import Fleet
from modelward_operator.status.uptake import Uptake, names_of


@dataclass(frozen=True, slots=True)
class Enforcement:
    """What the pods make of one policy."""

    given: Given
    policy: PrivacyPolicy
    digest: str
    """Of policy.json, as pods report it."""
    fleet: Fleet

    def finding(self) -> Finding:
        """Return PrivacyEnforced: of the current pods one that cannot, else those that do not say so yet, or lack a ledger."""
        diagnosis = self.fleet.diagnosis()
        if diagnosis and diagnosis.failed and diagnosis.type is Type.PRIVACY_ENFORCED:
            return Finding(Type.PRIVACY_ENFORCED, "False", diagnosis.reason, diagnosis.message)
        uptake = Uptake(self.fleet, self._named(), self.digest, self._is_known())
        if failure := uptake.failure():
            return Finding(Type.PRIVACY_ENFORCED, "False", Reason.POLICY_UNSATISFIABLE, failure)
        if not self.fleet.serving:
            return Finding(
                Type.PRIVACY_ENFORCED, "Unknown", Reason.STARTING, f"no pod is ready to enforce {self._named()}"
            )
        return self._reported(uptake)

    def _reported(self, uptake: Uptake) -> Finding:
        """What the pods that serve say of it."""
        serving = self.fleet.serving
        if pending := uptake.pending():
            return Finding(Type.PRIVACY_ENFORCED, "Unknown", Reason.PRIVACY_POLICY_PENDING, pending)
        if stranded := [pod for pod in serving if _stranded(pod)]:
            why = f"{names_of(stranded)} cannot ask the ledger of the privacy budget: {_stranded(stranded[0])}"
            message = f"{self._named()} is enforced by {_counted(serving)}; {why}"
            return Finding(Type.PRIVACY_ENFORCED, "Unknown", Reason.LEDGER_UNREACHABLE, message)
        message = f"{self._named()} is enforced by {_counted(serving)}: {names_of(serving)}"
        if not self.policy.outdated:
            return Finding(Type.PRIVACY_ENFORCED, "True", Reason.POLICY_ENFORCED, message)
        message += f"; it holds as it is stored, and the rules of this release refuse it: {self.policy.outdated}"
        return Finding(Type.PRIVACY_ENFORCED, "True", Reason.PRIVACY_POLICY_OUTDATED, message)

    def _is_known(self) -> bool:
        return bool(self.given.raw.get("status", {}).get("privacy") == self.to_status())

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


def _stranded(pod: Pod) -> str:
    """Return why the pod cannot ask for more of a privacy budget, or an empty string."""
    epsilon = pod.report.get("epsilon")
    said = epsilon.get("failure") if isinstance(epsilon, dict) else ""
    return text(said, 900) if isinstance(said, str) else ""


def _counted(pods: Sequence[Pod]) -> str:
    return f"{len(pods)} pod{'' if len(pods) == 1 else 's'}"
