"""Going to zero and back loses nobody, whatever the order of load, passes, pods and nodes: a cluster in small, simulated.

truth:  pods start, turn ready, are asked to leave, and answer for DRAIN more seconds; the activator's pods are replaced, surge first
slices: what the operator and the endpoints controller wrote, with every earlier state
nodes:  each sees the slices as they were a while ago, up to LAG, or in the worst case FAR
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from modelward_operator.plan.activation import SETTLE, Standing, Step, next_step

BEGIN = datetime(2026, 11, 25, tzinfo=UTC)
TICK = 0.5
LAG = 4.0
FAR = 9.0
DRAIN = 5.0
START = 3.0
SURGE = 10.0
"""Seconds for which a new pod of the activator is ready before an old one leaves: the chart's minReadySeconds."""


@dataclass
class Small:
    """One model in a cluster."""

    now: float = 0.0
    made: int = 0
    pods: dict[str, float] = field(default_factory=dict)
    """When each pod that shall run turns ready."""
    able: tuple[str, ...] = ("10.0.0.1", "10.0.0.2")
    ends: dict[str, float] = field(default_factory=dict)
    """When pods that were asked to leave, the model's and the activator's, answer no more."""
    joined: tuple[str, ...] = ()
    since: datetime | None = None
    history: list[tuple[float, tuple[str, ...], tuple[str, ...]]] = field(default_factory=list)
    """Time, ready pods in the Service's own slices, addresses of the activator in the other."""

    def ready(self) -> tuple[str, ...]:
        return tuple(pod for pod, at in self.pods.items() if at <= self.now)

    def clock(self) -> datetime:
        return BEGIN + timedelta(seconds=self.now)

    def reconcile(self, wanted: int) -> Step:
        is_served = bool(self.history and self.history[-1][1])
        standing = Standing(len(self.pods), is_served, frozenset(self.joined), self.since)
        step = next_step(standing, wanted, self.able, self.clock(), may_serve=True)
        self.joined, self.since = step.endpoints, step.since
        while len(self.pods) > step.replicas:
            self._stop()
        while len(self.pods) < step.replicas:
            self.made += 1
            self.pods[f"pod-{self.made}"] = self.now + START
        return step

    def _stop(self) -> None:
        """As the ReplicaSet controller: those that are not ready go first."""
        last = max(self.pods, key=lambda pod: self.pods[pod])
        if self.pods.pop(last) <= self.now:
            self.ends[last] = self.now + DRAIN

    def publish(self) -> None:
        self.history.append((self.now, self.ready(), self.joined))

    def seen(self, lag: float) -> tuple[str, ...]:
        """Whom a node that is so far behind sends requests to, one or the other."""
        before = [state for state in self.history if state[0] <= self.now - lag]
        return (*before[-1][1], *before[-1][2]) if before else self.able

    def alive(self) -> set[str]:
        return {*self.ready(), *self.able, *(one for one, until in self.ends.items() if until > self.now)}


ticks = st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.booleans()), min_size=40, max_size=160)


def lived(small: Small, moves: list[tuple[int, bool, bool]]) -> Iterator[Step]:
    """Let time pass: at each tick the wanted number, whether a pass runs, and whether the activator's pods are replaced."""
    fresh, surged, idle = 3, 0.0, 0
    for wanted, passes, replaces in moves:
        small.now += TICK
        if replaces and small.now - surged > 2 * SURGE and len(small.able) == 2:
            small.able, surged, fresh = (*small.able, f"10.0.0.{fresh}"), small.now, fresh + 1
        elif len(small.able) == 3 and small.now - surged > SURGE:
            small.ends[small.able[0]], small.able = small.now + SURGE, small.able[1:]
        small.publish()
        idle = 0 if passes else idle + 1
        if passes or idle > 1:
            idle = 0
            yield small.reconcile(wanted)
            small.publish()


@settings(max_examples=100, deadline=None)
@given(moves=ticks, lag=st.floats(0.0, FAR))
def test_every_node_knows_somebody_who_answers_at_every_moment(moves: list[tuple[int, bool, bool]], lag: float) -> None:
    """Of a node that is less far behind than pods need to end, everybody whom it knows answers."""
    small = Small()
    small.reconcile(0)
    small.publish()
    small.now += FAR
    for _ in lived(small, moves):
        known = set(small.seen(lag))
        assert known & small.alive(), (small.now, known, small.pods, small.ends)
        assert lag > LAG or known <= small.alive()


@settings(max_examples=60, deadline=None)
@given(moves=ticks)
def test_it_comes_to_rest_where_it_should(moves: list[tuple[int, bool, bool]]) -> None:
    """After some time without change: no pods and the activator alone, or the pods alone."""
    for wanted in (0, 1):
        small = Small()
        list(lived(small, moves))
        list(lived(small, [(wanted, True, False)] * 60))
        assert (wanted, bool(wanted)) == (len(small.pods), not small.joined)


@settings(max_examples=60, deadline=None)
@given(moves=ticks)
def test_without_a_pod_of_the_activator_the_last_replica_stays(moves: list[tuple[int, bool, bool]]) -> None:
    small = Small(able=())
    small.reconcile(1)
    small.now = START
    small.publish()
    for step in lived(small, moves):
        assert step.replicas >= 1


@settings(max_examples=200, deadline=None)
@given(
    replicas=st.integers(0, 5),
    is_served=st.booleans(),
    joined=st.frozensets(st.sampled_from("abc")),
    age=st.none() | st.floats(-10, 20),
    able=st.frozensets(st.sampled_from("abc")),
    wanted=st.integers(0, 3),
)
def test_who_may_not_serve_has_no_pods_at_once_and_the_activator_says_so(
    replicas: int, is_served: bool, joined: frozenset[str], age: float | None, able: frozenset[str], wanted: int
) -> None:
    since = None if age is None else BEGIN - timedelta(seconds=age)
    standing = Standing(replicas, is_served, joined, since)
    denied = next_step(standing, 0, tuple(able), BEGIN, may_serve=False)
    assert (0, tuple(sorted(able))) == (denied.replicas, denied.endpoints)
    step = next_step(standing, wanted, tuple(able), BEGIN, may_serve=True)
    assert step.replicas == wanted or (wanted == 0 and step.replicas == 1 <= replicas)
    if wanted == 0 < replicas and step.replicas == 0:
        assert since is not None
        assert BEGIN - since >= SETTLE
        assert joined >= set(step.endpoints)
        assert step.endpoints
    again = next_step(
        Standing(replicas, is_served, frozenset(step.endpoints), step.since), wanted, tuple(able), BEGIN, may_serve=True
    )
    assert step == again, "a pass that changes nothing writes nothing"
