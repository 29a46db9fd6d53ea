"""The pods of one ModelDeployment, sorted by what they mean for the planned revision. Used by `summarise.py` and `aspects.py`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from modelward_operator.facts import Given, Json, Pod
from modelward_operator.plan.pod import revision
from modelward_operator.status.conditions import Reason, Type
from modelward_operator.status.diagnose import Diagnosis, diagnose, ending, leaving, ready

_UNPLACED: Final = frozenset({Reason.INSUFFICIENT_GPU, Reason.UNSCHEDULABLE})


@dataclass(frozen=True, slots=True)
class Fleet:
    """The pods that count, sorted by revision and readiness; pods that are over are left out, and those that end where not named."""

    current: Sequence[Pod]
    old: Sequence[Pod]
    leaving: Sequence[Pod]
    """Pods of an older revision that end, and may answer one more request until kube-proxy everywhere knows it."""
    failed: Sequence[Pod]
    """Pods of the current revision that are over: they explain why nothing serves, and mean nothing once something does."""
    complete_before: bool
    """True when the Deployment's controller has called the planned revision complete once."""
    creation_failure: str
    """Why the Deployment's controller cannot create pods, or an empty string."""
    supply: str = ""
    """Which devices were asked for and exist, for whoever waits for one."""

    @property
    def serving(self) -> list[Pod]:
        """Ready pods, those of the current revision first."""
        return [pod for pod in (*self.current, *self.old) if ready(pod)]

    @property
    def serving_current(self) -> bool:
        """True when the current revision takes requests."""
        return any(map(ready, self.current))

    @property
    def loaded(self) -> list[Pod]:
        """Pods of the current revision that are ready, or say that they have the model and wait for their readiness probe."""
        return [pod for pod in self.current if ready(pod) or pod.report.get("state") == "Ready"]

    def diagnosis(self) -> Diagnosis | None:
        """Return what keeps the current revision's pods from being ready: the worst, of the newest pod."""
        if self.creation_failure:
            return Diagnosis(
                Type.WORKLOAD_AVAILABLE, _reason(self.creation_failure), self.creation_failure, failed=True
            )
        found = [diagnose(pod) for pod in _newest_first(self.current) if not ready(pod)]
        if not self.serving_current:
            found += map(diagnose, _newest_first(self.failed))
        return self._supplied(next((d for d in found if d.failed), found[0] if found else None))

    def _supplied(self, diagnosis: Diagnosis | None) -> Diagnosis | None:
        """The scheduler says what a pod lacks; what there is, it does not say."""
        if diagnosis is None or not self.supply or diagnosis.reason not in _UNPLACED:
            return diagnosis
        return replace(diagnosis, message=f"{diagnosis.message} {self.supply}")


def fleet_of(given: Given, workload: Json, supply: str = "") -> Fleet:
    """Return the pods that count, against the planned Deployment."""
    wanted = revision(workload["spec"]["template"])
    pods = [pod for pod in given.pods if not ending(pod) and not pod.over]
    live = given.child("Deployment", given.key.name)
    conditions = {c["type"]: c for c in live.get("status", {}).get("conditions", ())}
    same = revision(live.get("spec", {}).get("template", {})) == wanted
    failure = conditions.get("ReplicaFailure", {})
    return Fleet(
        current=[pod for pod in pods if revision(pod.raw) == wanted],
        old=[pod for pod in pods if revision(pod.raw) != wanted],
        leaving=[pod for pod in given.pods if leaving(pod) and not pod.over and revision(pod.raw) != wanted],
        failed=[pod for pod in given.pods if pod.over and not ending(pod) and revision(pod.raw) == wanted],
        complete_before=same and conditions.get("Progressing", {}).get("reason") == "NewReplicaSetAvailable",
        creation_failure=str(failure.get("message", "")) if same and failure.get("status") == "True" else "",
        supply=supply,
    )


def _reason(creation_failure: str) -> Reason:
    """The API server has no code for it, only words."""
    missing = re.search(r"error looking up service account .* not found", creation_failure)
    return Reason.SERVICE_ACCOUNT_NOT_FOUND if missing else Reason.POD_CREATION_FAILED


def _newest_first(pods: Sequence[Pod]) -> list[Pod]:
    return sorted(pods, key=lambda pod: str(pod.raw["metadata"].get("creationTimestamp", "")), reverse=True)
