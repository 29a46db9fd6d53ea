"""What the evaluator keeps of the models of a namespace, so that a look at thousands reads only those that changed. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelward_operator.api.parse import Invalid, parse
from modelward_operator.facts import Json
from modelward_operator.plan.names import canonical_json
from modelward_operator.plan.pod import resources_of
from modelward_operator.policies.cost.members import ceiling_of


@dataclass(frozen=True, slots=True)
class Outline:
    """What budgets read of a ModelDeployment, at one version of it."""

    version: int
    labels: Mapping[str, str]
    asked: int | None
    ceiling: int
    needs: str
    """What the price of a replica depends on where it has no pods."""


@dataclass
class Memory:
    """What is kept of a namespace between two looks. By model."""

    outlines: dict[str, Outline] = field(default_factory=dict)
    replicas: dict[str, tuple[int, int]] = field(default_factory=dict)
    """What its Deployment asks for, at a version of it."""

    def forget(self, exist: set[str]) -> set[str]:
        """Drop what was kept of models that are gone; returns which."""
        gone = self.outlines.keys() - exist
        for name in gone:
            del self.outlines[name]
            self.replicas.pop(name, None)
        return gone


def outline_of(raw: Json, version: int) -> Outline:
    """Return what budgets read of a ModelDeployment."""
    labels = raw["metadata"].get("labels") or {}
    spec = parse(raw)
    if isinstance(spec, Invalid):  # what runs keeps running
        return Outline(version, labels, None, 1, "")
    needs = canonical_json([resources_of(spec), spec.scheduling.node_selector])
    if spec.suspend:  # its floor is not paid for, and set aside from nobody
        return Outline(version, labels, 0, 0, needs)
    return Outline(version, labels, spec.scaling.replicas, ceiling_of(spec), needs)
