"""What pricing knows of pods, nodes and books: frozen values made from live objects. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

from modelward_operator.api.pricebook import PriceBookSpec
from modelward_operator.api.quantity import MOST, amount
from modelward_operator.facts import Json
from modelward_operator.pricing.reasons import Why

GIB: Final = 2**30
LONGEST: Final = 40
"""Characters of a quantity that can be less than `MOST`: the API server writes billionths, and no zeros in front."""
_HUGE: Final = re.compile(r"[eE][+]?[0-9]{3}")
_PLAIN: Final = frozenset({"cpu", "memory", "ephemeral-storage", "pods"})


@dataclass(frozen=True, slots=True)
class Rate:
    """What something costs per hour."""

    nano: int
    """10⁻⁹ of the currency's unit."""
    currency: str


@dataclass(frozen=True, slots=True)
class Unpriced:
    """Why a price is not known."""

    why: Why
    message: str

    def __str__(self) -> str:
        return f"{self.why}: {self.message}"


@dataclass(frozen=True, slots=True)
class Requests:
    """What a pod takes of its node, by what it requests."""

    cpu: Fraction = Fraction(0)
    """Cores."""
    memory: Fraction = Fraction(0)
    """Bytes."""
    devices: Mapping[str, int] = field(default_factory=dict)
    """By resource name: nvidia.com/gpu."""

    @property
    def is_empty(self) -> bool:
        """True when nothing is asked for."""
        return not (self.cpu or self.memory or self.devices)


@dataclass(frozen=True, slots=True)
class Node:
    """What a node has for pods."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    cpu: Fraction = Fraction(0)
    memory: Fraction = Fraction(0)
    devices: Mapping[str, int] = field(default_factory=dict)
    is_cordoned: bool = False
    """True where no pod is to be put any more."""


@dataclass(frozen=True, slots=True)
class PriceBook:
    """A PriceBook, as it is now."""

    name: str
    spec: PriceBookSpec


def node_of(raw: Json) -> Node:
    """Return what a live Node has. Without `allocatable` what it says of its capacity."""
    status = raw.get("status", {})
    has = amounts(status.get("allocatable") or status.get("capacity") or {})
    cordoned = bool((raw.get("spec") or {}).get("unschedulable"))
    return Node(
        raw["metadata"]["name"], raw["metadata"].get("labels") or {}, has.cpu, has.memory, has.devices, cordoned
    )


def amounts(resources: Mapping[str, Any]) -> Requests:
    """Return what a list of resources, as Kubernetes writes them, holds of CPU, memory and devices."""
    found = {name: _amount(str(quantity)) for name, quantity in resources.items()}
    devices = {name: int(n) for name, n in found.items() if name not in _PLAIN and "/" in name and n}
    return Requests(found.get("cpu", Fraction(0)), found.get("memory", Fraction(0)), devices)


def _amount(quantity: str) -> Fraction:
    """Return a quantity, or `MOST` for more: the API server takes 1e1000000 cores of a pod, and arithmetic with it would take minutes."""
    if len(quantity) > LONGEST or _HUGE.search(quantity):
        return Fraction(MOST)
    return min(amount(quantity), Fraction(MOST))
