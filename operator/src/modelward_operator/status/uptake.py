"""Which pods have taken up the policy.json that was written for them, told of one part of it. Used by `privacy.py` and `ratelimit.py`.

A policy is read live, so it is in force when every ready pod reports the digest of the written policy.json. A pod that cannot use it holds
on to the one before and says why.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from modelward_operator.facts import Pod
from modelward_operator.status.diagnose import ready, text
from modelward_operator.status.fleet import Fleet

NAMED: Final = 8
"""Pods that a message names at most."""


@dataclass(frozen=True, slots=True)
class Uptake:
    """What the pods make of one policy.json."""

    fleet: Fleet
    part: str
    """What is told of: "PrivacyPolicy standard (generation 3)"."""
    digest: str
    """Of policy.json, as pods report it."""
    known: bool
    """True when the status says of all pods that this part is in force: of a pod that this process never heard, that is what is known."""

    def failure(self) -> str:
        """Return why one of the current pods cannot, or an empty string."""
        for pod in filter(ready, self.fleet.current):
            if failure := _failure(pod):
                name = name_of(pod)
                return f"pod {name} cannot enforce {self.part} and holds on to what it enforced before: {failure}"
        return ""

    def pending(self) -> str:
        """Return which of the serving pods do not enforce it yet, those of older revisions too, or an empty string."""
        serving = self.fleet.serving
        waiting = [pod for pod in serving if not self._enforces(pod)]
        if not waiting:
            return ""
        counted = f"{len(serving) - len(waiting)} of {len(serving)} ready pods enforce {self.part}"
        return f"{counted}; not yet: {names_of(waiting)}"

    def _enforces(self, pod: Pod) -> bool:
        """A silent pod enforces what it was heard to enforce; one that this process never heard, what the status says of all."""
        said = pod.report or pod.last_loaded
        if not pod.report and "policyDigest" not in said:
            return self.known
        return bool(said.get("policyDigest") == self.digest) and not _failure(pod)


def name_of(pod: Pod) -> str:
    """Return the pod's name."""
    return str(pod.raw["metadata"]["name"])


def names_of(pods: Sequence[Pod]) -> str:
    """Return some of the pods' names, in order, and how many more there are."""
    named = sorted(map(name_of, pods))
    more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return ", ".join(named[:NAMED]) + more


def _failure(pod: Pod) -> str:
    """Return why the pod cannot use the newest policy.json, or an empty string."""
    said = pod.report.get("policyFailure")
    return text(said, 900) if isinstance(said, str) else ""
