"""Whether the pods hold callers to `security.rateLimit`, which is a part of policy.json as a PrivacyPolicy is. Called by `endpoint.py`.

    limit written ─▶ each ready pod reports the written policy.json ─▶ in force, for as long as this spec stands

Once it was in force everywhere, only a new spec can change the limit. A PrivacyPolicy changes policy.json besides: a pod that waits for
that, or refuses it, goes on with the limit that it has, and `PrivacyEnforced` speaks of it.
"""

from typing import Final

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Given
from modelward_operator.status.conditions import Reason, Type
from modelward_operator.status.finding import Finding
from modelward_operator.status.fleet import Fleet
from modelward_operator.status.uptake import Uptake

_AFTER: Final = frozenset(
    {Reason.SECURED, Reason.NETWORK_OPEN, Reason.NETWORK_POLICY_NOT_ENFORCED, Reason.ENFORCEMENT_UNKNOWN}
)
"""The reasons that `endpoint.py` gives after this one, when nothing is amiss here."""
IN_FORCE: Final = "the rate limit is enforced"
"""What its message says then."""


def limited(given: Given, spec: ModelDeploymentSpec, fleet: Fleet, digest: str) -> Finding | None:
    """Return what is amiss with the rate limit; None where every pod enforces it, and where there is none."""
    if spec.security.rate_limit is None:
        return None
    was_in_force = _was_in_force(given)
    if was_in_force and spec.privacy is not None:
        return None
    uptake = Uptake(fleet, "security.rateLimit", digest, was_in_force)
    if failure := uptake.failure():
        return Finding(Type.ENDPOINT_SECURED, "False", Reason.RATE_LIMIT_NOT_ENFORCED, failure)
    if pending := uptake.pending():
        return Finding(Type.ENDPOINT_SECURED, "Unknown", Reason.RATE_LIMIT_PENDING, pending)
    return None


def _was_in_force(given: Given) -> bool:
    """What EndpointSecured says of the network, it says only once the limit of that generation of the spec is in force in every pod.

    And it says that it is: an operator that did not know of limits said the rest as well.
    """
    conditions = given.raw.get("status", {}).get("conditions", ())
    secured = [c for c in conditions if c["type"] == Type.ENDPOINT_SECURED and c["reason"] in _AFTER]
    told = [c for c in secured if IN_FORCE in c.get("message", "")]
    return any(c.get("observedGeneration") == given.generation for c in told)
