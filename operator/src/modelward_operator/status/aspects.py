"""The condition of each aspect but Ready, from the pods. Called by `summarise.py`."""

from dataclasses import dataclass

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Applied, Given
from modelward_operator.plan.upgrade import Upgrade, upgrade_of
from modelward_operator.rulings import Ruling
from modelward_operator.status.conditions import Reason, Type
from modelward_operator.status.diagnose import Diagnosis, ready
from modelward_operator.status.endpoint import endpoint
from modelward_operator.status.finding import Finding
from modelward_operator.status.fleet import Fleet
from modelward_operator.status.protection import decrypted, verified


@dataclass(frozen=True, slots=True)
class Aspects:
    """One ModelDeployment as its pods show it."""

    given: Given
    spec: ModelDeploymentSpec
    ruling: Ruling
    applied: Applied
    fleet: Fleet
    wanted: int
    url: str
    digest: str
    """Of policy.json, as pods report it once they enforce it."""

    def findings(self) -> list[Finding]:
        """Return one finding per aspect, in the order in which Ready looks for its reason."""
        if self.wanted == 0:
            return [
                Finding(Type.WORKLOAD_AVAILABLE, "True", Reason.SCALED_TO_ZERO, "zero replicas are wanted"),
                Finding(
                    Type.ROLLOUT_COMPLETE, "True", Reason.COMPLETE, "there is nothing to roll out at zero replicas"
                ),
            ]
        diagnosis = self.fleet.diagnosis()
        secured = endpoint(self.given, self.spec, self.ruling, self.applied, self.fleet, diagnosis, self.digest)
        return [
            *verified(self.given, self.spec, self.fleet, diagnosis),
            *decrypted(self.given, self.spec, self.fleet, diagnosis),
            self._available(diagnosis),
            *(finding for finding in secured if finding.status == "False"),  # it says more than that no pod is ready
            self._workload(diagnosis),
            self._rollout(diagnosis),
            *(finding for finding in secured if finding.status != "False"),
        ]

    def _available(self, diagnosis: Diagnosis | None) -> Finding:
        if loaded := self.fleet.loaded:
            return Finding(
                Type.MODEL_AVAILABLE,
                "True",
                Reason.LOADED,
                f"{len(loaded)} of {self.wanted} pods have loaded the model",
            )
        if serving := self.fleet.serving:
            message = f"pods of the previous revision that have loaded its model: {len(serving)}"
            return Finding(Type.MODEL_AVAILABLE, "True", Reason.LOADED, message)
        if diagnosis and diagnosis.type is Type.MODEL_AVAILABLE:
            return Finding(Type.MODEL_AVAILABLE, _answer(diagnosis), diagnosis.reason, diagnosis.message)
        return Finding(Type.MODEL_AVAILABLE, "Unknown", Reason.STARTING, "no pod has loaded the model yet")

    def _workload(self, diagnosis: Diagnosis | None) -> Finding:
        counted = f"{len(self.fleet.serving)} of {self.wanted} pods are ready"
        because = f": {diagnosis.message}" if diagnosis and diagnosis.failed else ""
        if self.fleet.serving:
            return Finding(Type.WORKLOAD_AVAILABLE, "True", Reason.PODS_READY, counted + because)
        if diagnosis and diagnosis.type is Type.WORKLOAD_AVAILABLE:
            return Finding(Type.WORKLOAD_AVAILABLE, _answer(diagnosis), diagnosis.reason, diagnosis.message)
        if diagnosis and diagnosis.failed:
            return Finding(Type.WORKLOAD_AVAILABLE, "False", Reason.PODS_NOT_READY, counted + because)
        return Finding(Type.WORKLOAD_AVAILABLE, "Unknown", Reason.STARTING, counted)

    def _rollout(self, diagnosis: Diagnosis | None) -> Finding:
        fleet = self.fleet
        if not fleet.old and not fleet.leaving and (fleet.serving_current or fleet.complete_before):
            told = "all pods are of the current revision" + self._in_line()
            return Finding(Type.ROLLOUT_COMPLETE, "True", Reason.COMPLETE, told)
        if diagnosis and diagnosis.failed and not fleet.serving_current:
            serves = "; the previous revision serves on" if fleet.serving else ""
            return Finding(Type.ROLLOUT_COMPLETE, "False", diagnosis.reason, diagnosis.message + serves)
        counted = f"{sum(map(ready, fleet.current))} of {self.wanted} pods of the current revision are ready"
        left = f", {len(fleet.old)} of an older one are left" if fleet.old else ""
        left += f", {len(fleet.leaving)} of an older one are leaving" if fleet.leaving else ""
        because = f": {diagnosis.message}" if diagnosis and diagnosis.failed else ""
        return Finding(Type.ROLLOUT_COMPLETE, "Unknown", Reason.ROLLING_OUT, counted + left + because + self._paused())

    def _in_line(self) -> str:
        if self.given.may_upgrade or upgrade_of(self.given, self.spec) is not Upgrade.WANTED:
            return ""
        return f"; the upgrade to {self.given.installation.runtime_image} waits for its turn"

    def _paused(self) -> str:
        key = self.given.key
        if not self.given.child("Deployment", key.name).get("spec", {}).get("paused"):
            return ""
        return f"; the Deployment is paused: kubectl rollout resume deployment/{key.name} -n {key.namespace}"


def _answer(diagnosis: Diagnosis) -> str:
    return "False" if diagnosis.failed else "Unknown"
