"""Who owns the number of replicas, and which number. Called by `draw.py`.

operator owns it ──External, replicas absent──▶ left out of the apply: whoever writes /scale of the Deployment owns it
       ▲                                                      │ denied (suspended, policy)
       └──────────── 0, and the number is remembered ◀────────┘ given back when the denial ends
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from modelward_operator.facts import Given, Json
from modelward_operator.plan import names
from modelward_operator.rulings import NO_LIMIT, Ruling


@dataclass(frozen=True, slots=True)
class Replicas:
    """What the plan says about the number of replicas."""

    owned: int | None
    """The number, or None when somebody else owns it."""
    expected: int
    """The number that will stand after this pass, whoever owns it."""
    annotations: Mapping[str, str] = field(default_factory=dict)


def replicas_for(given: Given, ruling: Ruling) -> Replicas:
    """Return the owner and the number for this pass."""
    if ruling.replicas.maximum != NO_LIMIT:
        number = 0 if ruling.denied else ruling.replicas.minimum
        return Replicas(number, number, {names.REPLICAS_OWNER: "operator"})
    live = given.child("Deployment", given.key.name)
    standing = held_replicas(live)
    if ruling.denied:
        return Replicas(0, 0, {names.REPLICAS_OWNER: "operator", names.HELD_REPLICAS: str(standing)})
    return Replicas(None, standing, {names.REPLICAS_OWNER: "external"})


def held_replicas(live: Json) -> int:
    """Return the number that somebody else last set on a Deployment, also while a denial holds it at zero."""
    held = live.get("metadata", {}).get("annotations", {}).get(names.HELD_REPLICAS)
    return int(live.get("spec", {}).get("replicas", 1)) if held is None else _remembered(held)


def _remembered(held: str) -> int:
    """Read the annotation, which a hand may have edited: what is no number of replicas counts as one."""
    return int(held) if re.fullmatch("[0-9]{1,9}", held) else 1
