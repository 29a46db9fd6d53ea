"""Going to zero and coming back without losing a request: who stands behind the Service, and how many pods there are. Pure.

                     zero is wanted                  SETTLE seconds later
    ┌─────────┐ ──────────────────────▶ ┌─────────┐ ─────────────────────▶ ┌─────────┐
    │ SERVING │                         │ JOINING │                        │  ZERO   │
    │  pods   │ ◀── pods are wanted ─── │  both   │                        │activator│
    └─────────┘                         └─────────┘                        └─────────┘
         ▲                                                                      │ a request is held: pods are wanted
         │  a pod is ready, and the Service's own slices say so            ┌─────────┐
         └──────────────────────────────────────────────────────────────── │ WAKING  │
                                                                           │activator│
                                                                           └─────────┘

At every moment somebody is behind the Service, for as long as the model may serve: nodes learn of a change one after the other, so the
activator joins before the last pod is asked to leave, and leaves when a pod has come. Without a ready pod of the activator the last
replica stays. A model that must not serve has no pods at once, and the activator says why.

Called by `draw.py`. What the activator is told of the model is `route.py`; the slice that puts it behind the Service, `endpointslice.py`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Given, Json
from modelward_operator.plan import names

SETTLE: Final = timedelta(seconds=5)
"""For which the activator has been in the Service before the last pod leaves: every node knows it by then."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand: who takes requests now."""

    replicas: int
    """Of the live Deployment."""
    is_served: bool
    """True when the Service's own slices hold a ready pod of the model."""
    joined: frozenset[str] = frozenset()
    """Addresses of the activator that are in the Service."""
    since: datetime | None = None
    """Since when all of `joined` have been."""


@dataclass(frozen=True, slots=True)
class Step:
    """What shall be next."""

    endpoints: tuple[str, ...]
    """Addresses of the activator that shall be in the Service, sorted."""
    since: datetime | None
    """Since when all of them have been in it, none joining later; None where there are none."""
    replicas: int
    again: float | None = None
    """Seconds after which time alone allows the next step."""


def next_step(standing: Standing, wanted: int, able: tuple[str, ...], now: datetime, *, may_serve: bool) -> Step:
    """Return the next step towards `wanted` replicas, with the activator's pods `able` to take over."""
    is_needed = wanted == 0 or not standing.is_served
    endpoints = tuple(sorted(able)) if is_needed else ()
    since = _since(standing, endpoints, now)
    if wanted > 0 or not may_serve or standing.replicas == 0:
        return Step(endpoints, since, wanted)
    if since is None:
        return Step(endpoints, since, 1)  # nobody could take over
    left = (SETTLE - (now - since)).total_seconds()
    return Step(endpoints, since, 0) if left <= 0 else Step(endpoints, since, 1, left)


def _since(standing: Standing, endpoints: tuple[str, ...], now: datetime) -> datetime | None:
    """Time counts from when the newest of them joined; a clock that was set back starts it anew."""
    if not endpoints:
        return None
    if standing.since is None or standing.since > now or not standing.joined.issuperset(endpoints):
        return now
    return standing.since


def standing_of(given: Given) -> Standing:
    """Return how things stand by the live children."""
    live = given.child("Deployment", given.key.name)
    own = given.child("EndpointSlice", names.activator_slice_name(given.key.name))
    joined = frozenset(address for endpoint in _endpoints(own) for address in endpoint["addresses"])
    return Standing(int(live.get("spec", {}).get("replicas", 0)), _is_served(given), joined, _joined_at(own))


def needs_activator(given: Given, spec: ModelDeploymentSpec) -> bool:
    """True while the activator may have to take over, or has and no pod has come yet."""
    if not given.installation.has_activator:
        return False
    return spec.scaling.reaches_zero or (bool(standing_of(given).joined) and not _is_served(given))


def _is_served(given: Given) -> bool:
    for child in given.children:
        labels = child["metadata"].get("labels", {})
        is_services = child["kind"] == "EndpointSlice" and labels.get(names.SERVICE_NAME) == given.key.name
        if (
            is_services
            and labels.get(names.SLICE_MANAGED_BY) != names.MANAGER
            and any(map(_is_ready, _endpoints(child)))
        ):
            return True
    return False


def _is_ready(endpoint: Json) -> bool:
    """Absent means ready, by the API."""
    return endpoint.get("conditions", {}).get("ready") is not False


def _endpoints(live: Json) -> list[Json]:
    return live.get("endpoints") or []


def _joined_at(own: Json) -> datetime | None:
    """Read the annotation, which a hand may have edited: what is no time starts the count anew."""
    try:
        found = datetime.fromisoformat(own["metadata"]["annotations"][names.JOINED])
    except (KeyError, ValueError):
        return None
    return found if found.tzinfo is not None else None
