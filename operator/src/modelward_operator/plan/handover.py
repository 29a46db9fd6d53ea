"""Which autoscaler is in charge of a model's replicas, which has yet to leave, and whether the number has been let go of.

Asked by `replicas.py`, by `draw.py` and by `status/outside.py`. One pass goes one step at most, and each step waits for what the last one
wrote to be seen, so that two are never in charge and the number never falls in between:

    operator                                                      HorizontalPodAutoscaler, or ScaledObject and KEDA's own HPA
       │  1. the live number is held by `modelward-handover`                          │
       │  2. the Deployment is applied without it: `external`                         │  4. it is deleted
       ▼                                                                              ▼
    nobody ──────────── 3. the chosen one is made ──────────▶ autoscaler           nobody ── 5. seen to be gone ──▶ operator, or 3.

A new model has no number to let go of: its Deployment is made without one and the chosen autoscaler right after it, in one pass.
Of one that is in charge a denial takes the number, to zero, where an HPA does nothing and a ScaledObject is told to pause. What stood
before is remembered on the Deployment and given back by steps 1 and 2.
"""

from typing import Final

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.scaling import Autoscaler
from modelward_operator.facts import Given, Json
from modelward_operator.plan import names

HPA: Final = "HorizontalPodAutoscaler"
SCALED_OBJECT: Final = "ScaledObject"
OF_OTHERS: Final = {Autoscaler.HPA: HPA, Autoscaler.KEDA: SCALED_OBJECT}
"""The kind of child that each of them is."""


def in_charge(given: Given, spec: ModelDeploymentSpec) -> list[Json]:
    """Return the live objects of the chosen autoscaler: none with a number of ours, two with KEDA once it has made its HPA."""
    return [one for one in _live(given) if _side(one) is spec.scaling.chosen]


def leaving(given: Given, spec: ModelDeploymentSpec) -> list[Json]:
    """Return the live objects of an autoscaler that is no longer chosen: until all are gone nobody else may begin."""
    return [one for one in _live(given) if _side(one) is not spec.scaling.chosen]


def is_let_go(given: Given) -> bool:
    """True when the live Deployment was applied without a number."""
    live = given.child("Deployment", given.key.name)
    return bool(live.get("metadata", {}).get("annotations", {}).get(names.REPLICAS_OWNER) == "external")


def is_missing(given: Given, spec: ModelDeploymentSpec) -> bool:
    """True when the chosen autoscaler is not installed in this cluster."""
    return OF_OTHERS.get(spec.scaling.chosen) in given.unserved


def may_stand(given: Given, spec: ModelDeploymentSpec, *, is_owned: bool) -> bool:
    """True when the chosen autoscaler's object may be there after this pass; `is_owned`: the plan holds a number of ours."""
    if is_missing(given, spec) or leaving(given, spec):
        return False
    is_new = not given.child("Deployment", given.key.name)
    return bool(in_charge(given, spec)) or ((is_new or is_let_go(given)) and not is_owned)


def _live(given: Given) -> list[Json]:
    """Return what can write the Deployment's number and is this model's: made by us, or by KEDA for what we made."""
    return [
        one
        for one in given.children
        if one["kind"] in OF_OTHERS.values() and (_is_ours(one, given) or _is_kedas(one, given))
    ]


def _side(one: Json) -> Autoscaler:
    is_plain = one["kind"] == HPA and _controller(one).get("kind") != SCALED_OBJECT
    return Autoscaler.HPA if is_plain else Autoscaler.KEDA


def _is_ours(one: Json, given: Given) -> bool:
    return bool(_controller(one).get("uid") == given.uid)


def _is_kedas(one: Json, given: Given) -> bool:
    """KEDA copies the labels of a ScaledObject to the HPA that it makes for it, which is why the store knows it."""
    owner = _controller(one)
    return (one["kind"], owner.get("kind"), owner.get("name")) == (HPA, SCALED_OBJECT, given.key.name)


def _controller(one: Json) -> Json:
    return next((owner for owner in one["metadata"].get("ownerReferences", ()) if owner.get("controller")), {})
