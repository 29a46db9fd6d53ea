"""One trace on one case: the world moves, the autoscaler and the budgets decide, and what happened is noted down. Called by `command.py`.

    next of: a request │ a look of the autoscaler │ an evaluation of the budgets │ a note of the timeline
             ▼
    world.advance ─▶ (arrive) ─▶ pilot.look ─▶ asked ─▶ purse.look ─▶ ruling ─▶ world.scale(what may run of what is asked)

The same order as a pass has: the autoscaler proposes, the rooms bound. Deterministic: the same case, trace and options give the same
outcome, to the last digit.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from modelward_operator.facts import Demand
from modelward_operator.policies.autoscaling.rule import proposed
from modelward_operator.rulings import Ruling
from modelward_operator.simulation.case import Case
from modelward_operator.simulation.outcome import Diary, Outcome
from modelward_operator.simulation.pilot import pilot_of
from modelward_operator.simulation.purse import Purse
from modelward_operator.simulation.trace import ServiceTime, Trace, arrivals
from modelward_operator.simulation.world import Shape, World

MONDAY: Final = datetime(2026, 6, 1, tzinfo=UTC)
"""When a trace without dates begins: a Monday that begins a month, so that every period begins with it."""
ACTIVATORS: Final = 2
"""Pods of the activator, as the chart has them."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the user chooses beside trace and spec."""

    parallel: int = 1
    start_seconds: float = 30.0
    service: ServiceTime = ServiceTime.CONSTANT
    seed: int = 1


def replay(case: Case, trace: Trace, options: Options) -> Outcome:
    """Return what happens. The trace's requests are the same for every case."""
    run = _Run(case, trace, options)
    for at, service in arrivals(trace, options.seed, options.service):
        run.until(at)
        run.world.arrive(service)
        run.react()
    return run.end(trace.length)


class _Run:
    """The state of one replay."""

    def __init__(self, case: Case, trace: Trace, options: Options) -> None:
        scaling = case.spec.scaling
        self.case = case
        self.pilot = pilot_of(scaling)
        shape = Shape(
            parallel=options.parallel,
            start_seconds=options.start_seconds,
            hold_seconds=float(scaling.activating.hold_seconds),
            max_held=scaling.activating.max_held * ACTIVATORS,
            activates=scaling.reaches_zero,
        )
        self.world = World(shape, self.pilot.wanted)
        self.purse = Purse(case, trace.begins or MONDAY)
        self.diary = Diary(case, trace)
        self.ruling = Ruling()
        self.budget()

    def until(self, at: float) -> None:
        """Let everything happen that is due before the next request."""
        while (due := min(self.pilot.due, self.purse.due, self.diary.due)) < at:
            self.world.advance(due)
            if self.pilot.due <= due or self.pilot.hears(self.world):
                self.scale()
            if self.purse.due <= due:
                self.budget()
            if self.diary.due <= due:
                self.diary.note(self.world, self.purse, self.pilot.wanted)
        self.world.advance(at)

    def react(self) -> None:
        """Do at once what a push or a pod that turns ready calls for."""
        if self.pilot.hears(self.world):
            self.scale()

    def scale(self) -> None:
        """Ask the autoscaler, and have what may run of what it asks for."""
        before = self.pilot.wanted
        if self.pilot.look(self.world) != before:
            self.budget()
        else:
            self._have()

    def budget(self) -> None:
        """Charge, ask the budgets, and have what may run."""
        self.ruling = self.purse.look(self.world, self._asked())
        self._have()

    def end(self, length: float) -> Outcome:
        """Let what is still in the queue end, without new decisions; the bill is that of the trace's length."""
        self.until(length)
        self.purse.charge(self.world)
        self.diary.note(self.world, self.purse, self.pilot.wanted)
        bill, pod_seconds = self.purse.total, self.world.pod_seconds()
        self.world.advance(self.world.now + 86_400.0)
        return self.diary.close(self.world, self.purse, bill, pod_seconds)

    def _asked(self) -> int:
        demand = Demand(self.pilot.wanted, "simulated", MONDAY)
        return proposed(replace(self.case.given, demand=demand), self.case.spec) or 0

    def _have(self) -> None:
        """As `plan/replicas.py` has it: what is proposed, within what the rooms allow; zero where they deny."""
        allowed = 0 if self.ruling.denied else self.ruling.replicas.clamp(self._asked())
        may_wake = not self.ruling.denied and self.ruling.replicas.maximum > 0
        if not may_wake and self.world.may_wake:
            self.world.deny()
        self.world.may_wake = may_wake
        if allowed != self.world.wanted:
            self.world.scale(allowed)
