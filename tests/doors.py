"""Doors for tests of the request path."""

from modelward_runtime.access.config import Limits
from modelward_runtime.access.door import Door, Gate, OpenGate
from modelward_runtime.access.limits import Subjects


def door(gate: Gate | None = None, limits: Limits | None = None) -> Door:
    """A door with this gate, or one that lets everybody in; no time passes for its limits: what is used up stays so."""
    return Door(gate or OpenGate(), Subjects(lambda: limits, clock=lambda: 1000.0), lambda _: None)
