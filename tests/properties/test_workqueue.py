"""The work queue loses no key and never runs one key twice at once, whatever order rings come in."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from modelward_operator.parts import _priority
from modelward_operator.workqueue import Pace, Priority, WorkQueue
from tests.loop_clock import LATER, put_forward
from tests.until import PATIENCE, until

KEYS = st.integers(min_value=0, max_value=5)
PRIORITIES = st.sampled_from(list(Priority))
PACE = Pace(debounce=0.01, backoff_first=0.25, backoff_limit=8.0, ageing=5.0, share=4)


class Clock:
    """A clock that a test moves by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class QueueMachine(RuleBasedStateMachine):
    """Workers, rings, failures and time in any order, against a model that only counts what is owed."""

    working: Bundle[int] = Bundle("working")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.queue: WorkQueue[int] = WorkQueue(pace=PACE, clock=self.clock, uniform=lambda: 0.5)
        self.owed: set[int] = set()  # rung since the last hand-out: must come out again
        self.held: Counter[int] = Counter()

    @rule(key=KEYS, priority=PRIORITIES, copies=st.integers(min_value=1, max_value=3))
    def ring(self, key: int, priority: Priority, copies: int) -> None:
        """The same event once, or duplicated."""
        for _ in range(copies):
            self.queue.add(key, priority)
        self.owed.add(key)

    @rule(key=KEYS, delay=st.floats(min_value=0.0, max_value=100.0))
    def ring_later(self, key: int, delay: float) -> None:
        self.queue.add_after(key, delay)
        self.owed.add(key)

    @rule(age=st.floats(min_value=0.0, max_value=20.0))
    def demote(self, age: float) -> None:
        """Another leader has seen to what is old: it is less urgent, and not forgotten."""
        self.queue.demote(age)

    @rule(target=working, wait=st.floats(min_value=0.0, max_value=20.0))
    def take(self, wait: float) -> Any:
        self.clock.now += wait
        key = self.queue.poll()
        if key is None:
            return multiple()
        self.held[key] += 1
        assert key in self.owed, "a key comes out only when somebody rang for it"
        self.owed.discard(key)
        return key

    @rule(key=consumes(working))
    def finish(self, key: int) -> None:
        self.queue.forget(key)
        self.queue.done(key)
        self.held[key] -= 1

    @rule(key=consumes(working))
    def fail(self, key: int) -> None:
        delay = self.queue.retry(key)
        self.queue.done(key)
        self.held[key] -= 1
        self.owed.add(key)
        assert 0.0 < delay <= PACE.backoff_limit

    @invariant()
    def never_twice_at_once(self) -> None:
        assert all(count <= 1 for count in self.held.values())
        assert self.queue.processing == {key for key, count in self.held.items() if count}

    def teardown(self) -> None:
        """Whatever is still owed comes out once its worker is done and its time has come: no key is lost."""
        for key, count in self.held.items():
            if count:
                self.queue.done(key)
        came: list[int] = []
        late: int | None
        for _ in range(3):
            self.clock.now += 1000.0
            while (late := self.queue.poll()) is not None:
                came.append(late)
                self.queue.done(late)
        assert set(came) == self.owed
        assert len(came) == len(set(came)), "no key waits in two places"
        assert self.queue.depth == 0


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


def make() -> tuple[Clock, WorkQueue[str]]:
    clock = Clock()
    return clock, WorkQueue(pace=PACE, clock=clock, uniform=lambda: 0.0)


def test_a_burst_becomes_one_pass_and_the_debounce_is_not_prolonged() -> None:
    clock, queue = make()
    for _ in range(10):
        queue.add("a")
        clock.now += 0.0009
    assert queue.poll() is None
    clock.now += 0.0011
    assert queue.poll() == "a"
    assert queue.poll() is None


def test_a_live_ring_cuts_a_back_off_short() -> None:
    clock, queue = make()
    queue.add("a")
    clock.now += 1
    assert queue.poll() == "a"
    for _ in range(8):
        queue.retry("a")
    queue.done("a")
    queue.add("a")
    clock.now += PACE.debounce
    assert queue.poll() == "a"


@given(st.lists(st.floats(min_value=0.0, max_value=0.999), min_size=1, max_size=20))
def test_back_off_doubles_within_jitter_up_to_the_limit_and_starts_anew_when_forgotten(rolls: list[float]) -> None:
    numbers = iter([*rolls, 0.0])
    queue: WorkQueue[str] = WorkQueue(pace=PACE, clock=Clock(), uniform=lambda: next(numbers))
    for attempt in range(len(rolls)):
        ceiling = min(PACE.backoff_first * 2**attempt, PACE.backoff_limit)
        assert ceiling / 2 <= queue.retry("a") <= ceiling
    queue.forget("a")
    assert queue.retry("a") == PACE.backoff_first / 2


def test_a_listing_does_not_starve_live_changes() -> None:
    clock, queue = make()
    for number in range(10_000):
        queue.add(f"listed-{number}", Priority.ROUTINE)
    clock.now += 60.0  # everything listed is old by now
    queue.add("live")
    clock.now += PACE.debounce
    first = [queue.poll() for _ in range(PACE.share)]
    assert "live" in first


def test_live_changes_do_not_starve_a_listing() -> None:
    clock, queue = make()
    queue.add("listed", Priority.ROUTINE)
    clock.now += PACE.ageing + 1
    for number in range(100):
        queue.add(f"live-{number}")
    clock.now += PACE.debounce
    assert "listed" in [queue.poll() for _ in range(PACE.share + 1)]


def test_a_change_waits_for_no_creation_before_it() -> None:
    clock, queue = make()
    for number in range(1000):
        queue.add(f"made-{number}")
    clock.now += 20.0  # they take long
    queue.add("changed", Priority.CHANGE)
    clock.now += PACE.debounce
    assert "changed" in [queue.poll(), queue.poll()]


def test_who_changes_without_end_is_urgent_once_in_a_while() -> None:
    """A hundred keys that are changed again as soon as they were worked on take no more than their turn from the others."""
    clock, queue = make()
    for number in range(100):
        queue.add(f"restless-{number}", Priority.CHANGE)
    queue.add("news")
    clock.now += PACE.debounce
    came: list[str] = []
    while "news" not in came:
        key = queue.poll()
        assert key is not None
        came.append(key)
        queue.done(key)
        queue.add(key, Priority.CHANGE)
        clock.now += PACE.debounce
    assert len(came) <= 101
    clock.now += PACE.hurry
    for number in range(3):
        queue.add(f"other-{number}")
    queue.add("restless-0", Priority.CHANGE)
    clock.now += PACE.debounce
    assert "restless-0" in [queue.poll() for _ in range(PACE.share)]


def test_no_line_starves_behind_another() -> None:
    clock, queue = make()
    queue.add("listed", Priority.ROUTINE)
    queue.add("made")
    clock.now += PACE.ageing + 1
    for number in range(100):
        queue.add(f"changed-{number}", Priority.CHANGE)
    clock.now += PACE.debounce
    assert {"listed", "made"} <= {queue.poll() for _ in range(2 * PACE.share)}


@given(st.lists(st.tuples(PRIORITIES, st.floats(min_value=0.0, max_value=20.0)), min_size=1, max_size=40))
def test_whoever_has_waited_long_enough_is_overtaken_by_so_many_at_most(rings: list[tuple[Priority, float]]) -> None:
    """However urgent the others are: of `share` turns one is for whom has waited longest."""
    clock, queue = make()
    rung: dict[str, float] = {}
    for number, (priority, later) in enumerate(rings):
        clock.now += later
        queue.add(str(number), priority)
        rung[str(number)] = clock.now
    clock.now += PACE.debounce + PACE.ageing
    oldest = min(rung, key=lambda key: (rung[key], int(key)))
    assert oldest in [queue.poll() for _ in range(PACE.share)]


def test_a_listed_key_that_changes_now_moves_to_the_front() -> None:
    clock, queue = make()
    for name in "abc":
        queue.add(name, Priority.ROUTINE)
    clock.now += 1
    queue.depth  # noqa: B018  -- reading it moves what is due to its line
    queue.add("c", Priority.LIVE)
    assert [queue.poll(), queue.poll(), queue.poll(), queue.poll()] == ["c", "a", "b", None]


def test_depth_and_age_tell_what_waits() -> None:
    clock, queue = make()
    queue.add("a")
    queue.add_after("later", 500.0)
    assert (queue.depth, queue.oldest_age) == (0, 0.0)
    clock.now += 10.0
    assert queue.depth == 1
    assert queue.oldest_age == pytest.approx(10.0 - PACE.debounce)


@pytest.mark.parametrize(
    ("event", "status", "expected"),
    [
        ("MODIFIED", {"observedGeneration": 1}, Priority.CHANGE),
        ("MODIFIED", {"observedGeneration": 2}, Priority.LIVE),
        ("ADDED", {"observedGeneration": -1}, Priority.LIVE),
        ("ADDED", None, Priority.LIVE),
        (None, {"observedGeneration": 1}, Priority.ROUTINE),
    ],
    ids=["its spec is another one", "its status was written", "as the CRD makes it", "it is new", "of a listing"],
)
def test_a_change_of_what_may_serve_is_more_urgent_than_other_news(
    event: str | None, status: dict[str, int] | None, expected: Priority
) -> None:
    obj = {"metadata": {"name": "fraud", "generation": 2}, **({} if status is None else {"status": status})}
    assert _priority(event, obj) is expected


async def test_waiting_workers_share_the_keys_and_each_key_is_worked_on_alone() -> None:
    queue: WorkQueue[int] = WorkQueue(pace=Pace(debounce=0.001))
    at_work: Counter[int] = Counter()
    passes: Counter[int] = Counter()
    overlaps: list[int] = []

    async def work() -> None:
        while True:
            key = await queue.get()
            at_work[key] += 1
            if at_work[key] > 1:
                overlaps.append(key)
            try:
                await asyncio.sleep(0.001)
                passes[key] += 1
            except asyncio.CancelledError:
                queue.add(key)  # the pass was cut short: owed again
                raise
            finally:
                at_work[key] -= 1
                queue.done(key)

    workers = [asyncio.create_task(work()) for _ in range(8)]
    for turn in range(300):
        queue.add(turn % 20)
        if turn % 50 == 0:
            await asyncio.sleep(0.002)
            workers[turn % 8].cancel()  # a worker goes away, waiting or working; no key is lost with it
            workers[turn % 8] = asyncio.create_task(work())
    await until(lambda: len(passes) == 20 and not queue.depth)
    for worker in workers:
        worker.cancel()
    assert overlaps == []
    assert set(passes) == set(range(20))


async def test_a_delayed_key_wakes_a_sleeping_worker_and_an_earlier_one_is_not_held_up_by_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    queue: WorkQueue[str] = WorkQueue(pace=Pace(debounce=0.001), clock=lambda: loop.time())  # noqa: PLW0108  it is put forward
    queue.add_after("later", LATER)
    getter = asyncio.create_task(queue.get())
    await asyncio.sleep(0.01)
    queue.add("now")
    async with asyncio.timeout(PATIENCE):
        assert await getter == "now"
    getter = asyncio.create_task(queue.get())
    await asyncio.sleep(0.01)
    assert not getter.done()
    put_forward(monkeypatch)
    async with asyncio.timeout(PATIENCE):
        assert await getter == "later"


def test_what_was_rung_long_ago_goes_behind_what_was_rung_just_now() -> None:
    clock = Clock()
    queue: WorkQueue[int] = WorkQueue(pace=PACE, clock=clock)
    for key in (1, 2, 3):
        queue.add(key)
        clock.now += 10.0
    queue.add(1)  # long known, and changed again just now
    clock.now += 1.0
    assert queue.depth == 3
    queue.demote(15.0)
    assert [queue.poll(), queue.poll(), queue.poll()] == [1, 3, 2]
