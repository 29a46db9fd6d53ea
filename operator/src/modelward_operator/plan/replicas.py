"""Who owns the number of replicas, and which number. Called by `draw.py`; `handover.py` draws the steps between owners.

operator owns it ──External, HPA, KEDA──▶ left out of the apply: whoever writes /scale of the Deployment owns it
       ▲                                              │ denied (suspended, policy), or nothing may run
       └──────── 0, and the number is remembered ◀────┘ given back when that ends

A number of ours that is denied is remembered the same way: pods that are gone measure nothing, and by the time it may be given back
another may be chosen.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.scaling import BOUNDED
from modelward_operator.facts import Given
from modelward_operator.plan import names
from modelward_operator.plan.handover import in_charge, is_let_go, is_missing, leaving
from modelward_operator.policies.autoscaling.rule import proposed
from modelward_operator.policies.autoscaling.standing import held_replicas
from modelward_operator.rulings import Ruling


@dataclass(frozen=True, slots=True)
class Replicas:
    """What the plan says about the number of replicas."""

    owned: int | None
    """The number, or None when somebody else owns it."""
    expected: int
    """The number that will stand after this pass, whoever owns it."""
    annotations: Mapping[str, str] = field(default_factory=dict)


def replicas_for(given: Given, spec: ModelDeploymentSpec, ruling: Ruling) -> Replicas:
    """Return the owner and the number for this pass: what is proposed, within what the rooms allow."""
    number = proposed(given, spec)
    live = given.child("Deployment", given.key.name)
    if leaving(given, spec):
        standing = held_replicas(live)
        return _stopped(standing) if _is_stopped(ruling) else _left(standing)
    if number is not None:
        return _own(number, ruling)
    if spec.scaling.chosen in BOUNDED:
        return _of_autoscaler(given, spec, ruling)
    standing = held_replicas(live)
    allowed = 0 if ruling.denied else ruling.replicas.clamp(standing)
    return _left(standing) if allowed == standing and not ruling.denied else _stopped(standing, allowed)


def _own(number: int, ruling: Ruling) -> Replicas:
    allowed = 0 if ruling.denied else ruling.replicas.clamp(number)
    return _stopped(number) if allowed == 0 < number else _kept(allowed)


def _of_autoscaler(given: Given, spec: ModelDeploymentSpec, ruling: Ruling) -> Replicas:
    """Return the number under HPA or KEDA, which is theirs once it was let go of, within bounds that they are told.

    A request that the activator holds wakes a model that KEDA took to zero: no trigger of KEDA's need know of it.
    """
    live = given.child("Deployment", given.key.name)
    started = max(spec.scaling.minimum, 1)
    standing = held_replicas(live, default=started) if live else started
    if _is_stopped(ruling):
        return _stopped(standing)
    if is_missing(given, spec):  # nobody would bring it back from zero
        return _kept(ruling.replicas.clamp(max(standing, started)))
    if not live:  # nobody has a number yet: it begins as theirs
        return _left(ruling.replicas.clamp(started))
    fewest = ruling.replicas.clamp(spec.scaling.minimum)
    if not in_charge(given, spec) and standing < fewest:  # at zero an HPA does nothing
        return _kept(ruling.replicas.clamp(started))
    if not is_let_go(given):
        standing = ruling.replicas.clamp(standing)
    return _left(started if standing == 0 and given.activator.calls else standing)


def _is_stopped(ruling: Ruling) -> bool:
    return ruling.denied or ruling.replicas.maximum == 0


def _left(standing: int) -> Replicas:
    return Replicas(None, standing, {names.REPLICAS_OWNER: "external"})


def _kept(number: int) -> Replicas:
    return Replicas(number, number, {names.REPLICAS_OWNER: "operator"})


def _stopped(standing: int, allowed: int = 0) -> Replicas:
    """Hold less than what stands, which is given back when that ends."""
    return Replicas(allowed, allowed, {names.REPLICAS_OWNER: "operator", names.HELD_REPLICAS: str(standing)})
