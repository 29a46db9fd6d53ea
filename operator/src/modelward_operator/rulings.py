"""The algebra of rulings: what the rooms of `policies/` say, combined so that their order cannot matter.

    Ruling & Ruling:  verdicts join,  replica bounds intersect,  additions join

`&` is commutative, associative and idempotent, and `Ruling()` changes nothing (tests/properties/test_rulings.py). What does
not fit together is not resolved by order either: bounds that leave no number and additions that contradict each other are
verdicts of their own, found by `settle`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce
from typing import Any, Final

from modelward_operator.plan.names import canonical_json

NO_LIMIT: Final = 2**31 - 1


class Slot(StrEnum):
    """Where an addition goes."""

    INGRESS = "ingress"
    """NetworkPolicy: who may connect to the endpoint. Name and value: a namespace, or a network in CIDR form."""
    BOOT = "boot.json"
    """A section of boot.json. Name: the section; value: its JSON."""
    POLICY = "policy.json"
    """A section of policy.json. Name: the section; value: its JSON."""
    EGRESS = "egress"
    """NetworkPolicy: where the pods must be able to connect. Name and value: a URL, whose host and port count."""
    LEDGER = "ledger"
    """An object of a privacy budget's ledger, which nothing owns. Name: the object; value: its spec as JSON."""
    VOLUME = "volume"
    """A volume of the pods. Name: the volume; value: JSON with its `source` and `mountPath`, and `writable` true for one that is not
    read-only."""
    CREDENTIALS = "credentials"
    """Credentials in the pods' environment. Name: what the variables begin with (`AWS`); value: the Secret."""


@dataclass(frozen=True, slots=True, order=True)
class Verdict:
    """Why a model must not serve: it is scaled to zero, and the condition `type` says so."""

    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True, order=True)
class Addition:
    """One thing that a room adds to the plan."""

    slot: Slot
    name: str
    value: str


def volume(name: str, path: str, source: Mapping[str, Any], *, writable: bool = False) -> Addition:
    """Return the addition of one volume, mounted at `path`; `source` is as in a pod's `volumes`."""
    part = {"mountPath": path, "source": source} | ({"writable": True} if writable else {})
    return Addition(Slot.VOLUME, name, canonical_json(part))


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many replicas may run, both ends included. Unbounded by default: somebody outside decides."""

    minimum: int = 0
    maximum: int = NO_LIMIT

    def __and__(self, other: "Bounds") -> "Bounds":
        return Bounds(max(self.minimum, other.minimum), min(self.maximum, other.maximum))

    def clamp(self, number: int) -> int:
        """Return the number within the bounds that is nearest."""
        return min(max(number, self.minimum), self.maximum)

    @property
    def empty(self) -> bool:
        """True when no number fits."""
        return self.minimum > self.maximum


@dataclass(frozen=True, slots=True)
class Ruling:
    """What one room, or all of them together, decided about one ModelDeployment."""

    verdicts: frozenset[Verdict] = frozenset()
    replicas: Bounds = Bounds()
    additions: frozenset[Addition] = frozenset()

    def __and__(self, other: "Ruling") -> "Ruling":
        return Ruling(self.verdicts | other.verdicts, self.replicas & other.replicas, self.additions | other.additions)

    @property
    def denied(self) -> bool:
        """True when the model must not serve."""
        return bool(self.verdicts)

    def names(self, slot: Slot) -> list[str]:
        """Return the names that were added to `slot`, sorted."""
        return sorted(a.name for a in self.additions if a.slot is slot)

    def values(self, slot: Slot) -> dict[str, str]:
        """Return the values that were added to `slot` by name. Of a contradiction one is left: it is a denial anyway."""
        return {a.name: a.value for a in sorted((a for a in self.additions if a.slot is slot), reverse=True)}

    def parts(self, slot: Slot) -> dict[str, Any]:
        """Return the values that were added to `slot` by name, read as JSON."""
        return {name: json.loads(value) for name, value in sorted(self.values(slot).items())}


def settle(rulings: Iterable[Ruling]) -> Ruling:
    """Combine the rooms' rulings; what contradicts itself becomes a verdict."""
    joint = reduce(Ruling.__and__, rulings, Ruling())
    return Ruling(joint.verdicts | set(_contradictions(joint)), joint.replicas, joint.additions)


def _contradictions(joint: Ruling) -> Iterable[Verdict]:
    if joint.replicas.empty:
        yield Verdict(
            "Ready",
            "ReplicaBoundsConflict",
            f"at least {joint.replicas.minimum} replicas are asked for and at most {joint.replicas.maximum} are allowed",
        )
    values: dict[tuple[Slot, str], set[str]] = {}
    for addition in joint.additions:
        values.setdefault((addition.slot, addition.name), set()).add(addition.value)
    for (slot, name), different in sorted(values.items()):
        if len(different) > 1:
            yield Verdict(
                "Ready", "PolicyConflict", f"policies disagree about {slot} {name}: {', '.join(sorted(different))}"
            )
