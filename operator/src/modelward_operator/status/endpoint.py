"""EndpointSecured: who may call and connect, as the pods report it and the network showed it. Called by `aspects.py`.

    pods say whom they ask ─▶ they serve the certificate that stands ─▶ they hold callers to the rate limit
                           ─▶ what the network policy forbids does not go through ─▶ True, in words

Before all that, what says so must have been written. Absent where nothing protects the endpoint but a network policy that nobody declared.
What is open is said in words, not hidden in True.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from modelward_operator.api.access import AUDIENCE, AuthenticationMode, TlsMode
from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Applied, Given, Json, Network
from modelward_operator.plan.certificate import current_record, is_managed
from modelward_operator.plan.egress import NOT_OPENED, egress
from modelward_operator.policies.access.rule import authentication_of, tls_of
from modelward_operator.rulings import Ruling, Slot
from modelward_operator.status.conditions import Reason, Type
from modelward_operator.status.diagnose import Diagnosis, ready
from modelward_operator.status.finding import Finding
from modelward_operator.status.fleet import Fleet
from modelward_operator.status.ratelimit import IN_FORCE, limited
from modelward_operator.status.refused import of_endpoint, refused
from modelward_operator.status.reported import Access, access_of

Said = tuple[str, Access]
"""A pod's name, and what it says."""
NOT_KNOWN: Final = "whether the network policy is enforced is not known"
"""What the message says then, also that of a Secured endpoint whose spec declares no network policy."""
HAND_OVER: Final = timedelta(minutes=10)
"""For which pods may serve the certificate before: the kubelet swaps files within two minutes or so."""


def endpoint(
    given: Given,
    spec: ModelDeploymentSpec,
    ruling: Ruling,
    applied: Applied,
    fleet: Fleet,
    diagnosis: Diagnosis | None,
    digest: str,
) -> list[Finding]:
    """Return EndpointSecured, where anything is asked of the endpoint or an open network is to be told. `digest`: of policy.json."""
    asks = authentication_of(spec).mode is not AuthenticationMode.NONE
    asked = asks or tls_of(spec).mode is not TlsMode.OFF or spec.security.rate_limit is not None
    if not asked and given.network.enforced is not False and spec.security.network_policy is None:
        return []
    if unwritten := [refused(Type.ENDPOINT_SECURED, refusal) for refusal in of_endpoint(given.key.name, applied)]:
        return [min(unwritten, key=lambda finding: finding.status)]  # False comes first
    if diagnosis and diagnosis.type is Type.ENDPOINT_SECURED and not fleet.serving_current:
        return [Finding(Type.ENDPOINT_SECURED, "False", diagnosis.reason, diagnosis.message)]
    if not fleet.serving_current:
        return [_unknown(Reason.STARTING, "no pod of the current revision serves yet")]
    heard = [pod for pod in fleet.current if ready(pod) and pod.report]
    said = [(str(pod.raw["metadata"]["name"]), access_of(pod.report)) for pod in heard]
    if not said:
        return [_known_before(given)]
    return [
        _authenticated(spec, said)
        or _encrypted(given, spec, said)
        or limited(given, spec, fleet, digest)
        or _enclosed(given, spec, ruling, said)
    ]


def _known_before(given: Given) -> Finding:
    """Pods are ready, and for a moment none of them answers."""
    before = _before(given)
    if before.get("status") == "True":
        return Finding(Type.ENDPOINT_SECURED, "True", before["reason"], before["message"])
    if before.get("reason") == Reason.ENFORCEMENT_UNKNOWN:
        return _unknown(Reason.ENFORCEMENT_UNKNOWN, before["message"], blocks=False)
    return _unknown(Reason.STARTING, "the pods are ready and have not reported yet")


def _before(given: Given) -> Json:
    """Return the condition as it stands, where it speaks of the present spec."""
    for condition in given.raw.get("status", {}).get("conditions", ()):
        if condition["type"] == Type.ENDPOINT_SECURED and condition.get("observedGeneration") == given.generation:
            return dict(condition)
    return {}


def _authenticated(spec: ModelDeploymentSpec, said: Sequence[Said]) -> Finding | None:
    mode = authentication_of(spec).mode
    for name, access in said:
        if (access.authentication or AuthenticationMode.NONE) != mode:  # who does not speak of it asks nobody
            words = access.authentication or "nothing"
            message = f"pod {name} reports authentication {words}, not {mode}; is its image older than the operator?"
            return Finding(Type.ENDPOINT_SECURED, "False", Reason.AUTHENTICATION_UNREPORTED, message)
    return None


def _encrypted(given: Given, spec: ModelDeploymentSpec, said: Sequence[Said]) -> Finding | None:
    if tls_of(spec).mode is TlsMode.OFF:
        return None
    for name, access in said:
        if not access.sha256 or access.not_after is None:
            message = f"pod {name} does not report that it serves TLS; is its image older than the operator?"
            return Finding(Type.ENDPOINT_SECURED, "False", Reason.TLS_UNREPORTED, message)
        if access.not_after <= given.now:
            message = f"pod {name} serves a certificate that expired at {_stamp(access.not_after)}"
            return Finding(Type.ENDPOINT_SECURED, "False", Reason.CERTIFICATE_EXPIRED, message)
    return _handed_over(given, said) if is_managed(spec) else None


def _handed_over(given: Given, said: Sequence[Said]) -> Finding | None:
    """What pods serve counts, so Ready stands meanwhile: a renewal interrupts nothing."""
    standing = current_record(given)
    if standing is None:
        return _unknown(Reason.CERTIFICATE_PENDING, "another certificate is being issued", blocks=False)
    for name, access in said:
        if access.sha256 != standing.sha256:
            message = f"pod {name} serves another certificate than the one issued at {_stamp(standing.made)}"
            if given.now - standing.made > HAND_OVER:
                return Finding(Type.ENDPOINT_SECURED, "False", Reason.CERTIFICATE_MISMATCH, message)
            return _unknown(Reason.CERTIFICATE_PENDING, f"{message}: the kubelet hands it over", blocks=False)
    return None


def _enclosed(given: Given, spec: ModelDeploymentSpec, ruling: Ruling, said: Sequence[Said]) -> Finding:
    network, is_declared = _remembered(given), spec.security.network_policy is not None
    words = "; ".join([*_words(given, spec, ruling, said), _network(network)])
    if network.enforced is None and is_declared:
        return _unknown(Reason.ENFORCEMENT_UNKNOWN, words, blocks=False)
    if network.enforced is False and is_declared:
        message = f"{_WENT_THROUGH[network.by_others]}: the cluster's network plug-in does not enforce it; {words}"
        return Finding(Type.ENDPOINT_SECURED, "False", Reason.NETWORK_POLICY_NOT_ENFORCED, message)
    reason = Reason.NETWORK_OPEN if network.enforced is False else Reason.SECURED
    return Finding(Type.ENDPOINT_SECURED, "True", reason, words)


def _remembered(given: Given) -> Network:
    """What nobody can say after a restart of the operator, and was known of this spec before, stands until something else is shown.

    That other models' policies now show both is something else.
    """
    if given.network.disagree:
        return given.network
    before = _before(given)
    if given.network.enforced is not None or before.get("status") != "True" or before["reason"] != Reason.SECURED:
        return given.network
    if NOT_KNOWN in before["message"]:
        return given.network
    return replace(given.network, enforced=True, by_others=_BY_OTHERS in before["message"])


def _network(network: Network) -> str:
    """Return what is known of the network policy, and by what."""
    if network.enforced is None:
        others = "of other models' some are and some are not" if network.disagree else "other models' tell nothing"
        why = f"it lets the operator in, and {others}" if network.lets_operator_in else "it was not tried yet"
        return f"{NOT_KNOWN}: {why}"
    if network.enforced:
        return f"the network policy is enforced{_BY_OTHERS if network.by_others else ''}"
    return "the network is open: the cluster's network plug-in enforces no network policy"


_BY_OTHERS: Final = ", by what trying those of other models showed"
_WENT_THROUGH: Final = {
    False: "a connection that the network policy forbids went through",
    True: "a connection that the network policy of another model forbids went through",
}


def _words(given: Given, spec: ModelDeploymentSpec, ruling: Ruling, said: Sequence[Said]) -> list[str]:
    rules = authentication_of(spec)
    granted = f"granted by RBAC (create modeldeployments/predict {given.key.name})"
    authentication = {
        AuthenticationMode.TOKEN_REVIEW: f"authentication TokenReview for audience {rules.audience or AUDIENCE}, {granted}",
        AuthenticationMode.JWT: f"authentication JWT of {rules.jwt.issuer if rules.jwt else ''}, {granted}",
        AuthenticationMode.NONE: "authentication None: everybody who can connect may call",
    }[rules.mode]
    return [
        authentication,
        _tls(spec, said),
        *([IN_FORCE] if spec.security.rate_limit else []),
        f"ingress from {_namespaces(ruling)}",
        _way_out(given, spec, ruling),
    ]


def _tls(spec: ModelDeploymentSpec, said: Sequence[Said]) -> str:
    mode = tls_of(spec).mode
    if mode is TlsMode.OFF:
        has_tokens = authentication_of(spec).mode is not AuthenticationMode.NONE
        return "TLS Off: tokens travel in clear" if has_tokens else "TLS Off"
    ends = [access.not_after for _, access in said if access.not_after is not None]
    return f"TLS {mode.value} with a certificate until {_stamp(min(ends))}"


def _namespaces(ruling: Ruling) -> str:
    found = [name for name in ruling.names(Slot.INGRESS) if "/" not in name]
    networks = [name for name in ruling.names(Slot.INGRESS) if "/" in name]
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    besides = f", and from {', '.join(networks[:8])}" if networks else ""
    besides += f" and {len(networks) - 8} more" if len(networks) > 8 else ""
    return f"namespace{'s' if len(found) > 1 else ''} {', '.join(found[:8])}{more}{besides}"


def _way_out(given: Given, spec: ModelDeploymentSpec, ruling: Ruling) -> str:
    out = egress(given, spec, ruling)
    if out.rules is None:
        return "egress to everything"
    missing = [words.partition(f": {NOT_OPENED}")[0] for words in out.words if f": {NOT_OPENED}" in words]
    unknown = f", and not to {', '.join(missing[:4])}, for the reason that stands there" if missing else ""
    return f"egress to what status.effective.egress lists{unknown}" if out.rules else f"no egress{unknown}"


def _unknown(reason: Reason, message: str, *, blocks: bool = True) -> Finding:
    return Finding(Type.ENDPOINT_SECURED, "Unknown", reason, message, blocks=blocks)


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
