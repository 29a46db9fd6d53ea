"""What GET /load tells: the integral of the concurrency, and when an answer comes."""

import asyncio
import json
from typing import Any
from urllib.parse import quote

import pytest

from modelward_runtime import admin
from modelward_runtime.config import Boot, ModelSource
from modelward_runtime.meter import Ask, Meter, parse_ask
from modelward_runtime.report import Report
from tests.until import PATIENCE
from tests.wire import ask

BOOT = Boot(api_version="runtime/v1", kind="Boot", model=ModelSource(name="m", version="7", uri="s3://b/m.onnx"))
LONG = 2 * PATIENCE


class Clock:
    """Seconds that pass when told."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def meter(clock: Clock) -> Meter:
    return Meter(clock)


def told(meter: Meter) -> Any:
    return json.loads(meter.to_json())


def test_the_integral_gives_the_exact_mean_between_two_answers(meter: Meter, clock: Clock) -> None:
    before = told(meter)
    meter.enter()
    clock.now += 1
    meter.enter()
    clock.now += 2
    meter.leave()
    clock.now += 1
    after = told(meter)
    assert 1 * 1 + 2 * 2 + 1 * 1 == after["busySeconds"] - before["busySeconds"]
    assert 4 == after["now"] - before["now"]
    assert (1, 1) == (after["concurrency"], after["requests"])


async def test_those_answered_in_one_turn_all_count_for_the_whole_of_it(meter: Meter, clock: Clock) -> None:
    """One after the other on the loop's thread, while the others wait in the kernel's buffers: four at a time, and not one."""
    meter.enter()  # somebody else, who waits for a worker all the while
    for _ in range(4):
        meter.enter()
        clock.now += 1
        meter.answer_at_once()
    assert 5 == meter.concurrency, "the turn is not over"
    await asyncio.sleep(0)
    meter.leave()
    assert 4 * 4 + 4 == told(meter)["busySeconds"]
    assert (0, 5) == (told(meter)["concurrency"], told(meter)["requests"])


async def test_one_caller_alone_is_one_at_a_time(meter: Meter, clock: Clock) -> None:
    for _ in range(3):
        meter.enter()
        clock.now += 1
        meter.answer_at_once()
        await asyncio.sleep(0)
        clock.now += 2
    assert 3 == told(meter)["busySeconds"]
    assert 2 == told(meter)["idleSeconds"]


async def test_who_is_put_off_is_no_request_yet(meter: Meter, clock: Clock) -> None:
    meter.enter()
    clock.now += 1
    meter.put_off()
    assert (0, 0) == (told(meter)["concurrency"], told(meter)["requests"])
    assert 1 == told(meter)["busySeconds"]


async def test_a_burst_that_is_answered_at_once_is_heard(meter: Meter) -> None:
    waiting = asyncio.ensure_future(meter.reach(Ask(above=3, wait=LONG)))
    await asyncio.sleep(0)
    for _ in range(3):
        meter.enter()
        meter.answer_at_once()
    await asyncio.wait_for(waiting, PATIENCE)


def test_idle_begins_when_it_can_be_called_and_with_the_last_answer(meter: Meter, clock: Clock) -> None:
    clock.now += 600  # in which it loads
    meter.begin()
    clock.now += 3
    assert told(meter)["idleSeconds"] == 3
    meter.enter()
    clock.now += 5
    assert told(meter)["idleSeconds"] == 0
    meter.leave()
    clock.now += 2
    assert told(meter)["idleSeconds"] == 2


async def test_an_answer_comes_as_soon_as_so_many_are_in_flight(meter: Meter) -> None:
    waiting = asyncio.ensure_future(meter.reach(Ask(above=2, wait=LONG)))
    await asyncio.sleep(0)
    meter.enter()
    await asyncio.sleep(0.02)
    assert not waiting.done()
    meter.enter()
    await asyncio.wait_for(waiting, PATIENCE)


async def test_who_asks_for_what_is_so_already_waits_for_nothing(meter: Meter) -> None:
    meter.enter()
    await asyncio.wait_for(meter.reach(Ask(above=1, wait=LONG)), PATIENCE)


async def test_an_answer_comes_in_the_end_whatever_happens(meter: Meter) -> None:
    await asyncio.wait_for(meter.reach(Ask(above=1, wait=0.01)), PATIENCE)
    await asyncio.wait_for(meter.reach(Ask(wait=0.01)), PATIENCE)


async def test_the_newest_waits_and_who_waited_before_is_answered(meter: Meter) -> None:
    older = asyncio.ensure_future(meter.reach(Ask(above=1, wait=LONG)))
    await asyncio.sleep(0)
    newer = asyncio.ensure_future(meter.reach(Ask(above=1, wait=LONG)))
    await asyncio.wait_for(older, PATIENCE)
    await meter.reach(Ask())
    assert not newer.done(), "who does not wait displaces nobody"
    meter.enter()
    await asyncio.wait_for(newer, PATIENCE)


async def test_who_leaves_while_waiting_leaves_nothing_behind(meter: Meter) -> None:
    waiting = asyncio.ensure_future(meter.reach(Ask(above=1, wait=LONG)))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    meter.enter()
    await asyncio.wait_for(meter.reach(Ask(above=1, wait=LONG)), PATIENCE)


async def test_the_end_of_the_process_answers_who_waits_and_who_would(meter: Meter) -> None:
    waiting = asyncio.ensure_future(meter.reach(Ask(above=1, wait=LONG)))
    await asyncio.sleep(0)
    meter.close()
    await asyncio.wait_for(waiting, PATIENCE)
    await asyncio.wait_for(meter.reach(Ask(above=1, wait=LONG)), PATIENCE)


@pytest.mark.parametrize(
    ("query", "ask"),
    [
        ("", Ask()),
        ("wait=60", Ask(wait=60)),
        ("above=1", Ask(above=1)),
        ("wait=0.5&above=5.6", Ask(5.6, 0.5)),
        ("above=2.", Ask(2)),
    ],
)
def test_a_query_that_can_be_meant(query: str, ask: Ask) -> None:
    assert ask == parse_ask(query)


@pytest.mark.parametrize(
    "query",
    ["wait=61", "wait=-1", "wait=nan", "wait=inf", "wait=", "wait=1e1", "above=x", "above=1&above=2", "soon=1", "wait", "above=2000000",
     "wait=٣", "wait=%31"],
)  # fmt: skip
async def test_a_query_that_cannot_be_meant_is_refused(query: str) -> None:
    path = "/load?" + quote(query, safe="=&%")
    status, _, body = await ask(admin.App(Report(BOOT, "0123456789ab"), bytes), "GET", path)
    assert 400 == status
    assert b"wait" in body
