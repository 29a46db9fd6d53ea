"""The faults: a function each. It begins when it is called, and is over when it returns; users go on meanwhile.

A new one is a function and a line in `FAULTS`.
"""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from e2e.cases import previous
from e2e.chaos.hands import UNREACHABLE, Hands
from e2e.chaos.judge import Snapshot, silent_about_the_node, silent_about_the_store
from e2e.chaos.operators import Operator
from e2e.chaos.plane import ControlPlane


@dataclass
class World:
    """What faults are done to."""

    plane: ControlPlane
    operators: list[Operator]
    random: random.Random
    leader: Callable[[], Awaitable[Operator]]
    """The one that holds the Lease now."""
    hands: Hands
    look: Callable[[Callable[[Snapshot], list[str]], float], Awaitable[list[str]]]
    """Looks again and again until a question about all that is there has no answer; the last answer, after so many seconds."""
    violations: list[str] = field(default_factory=list)
    """What a fault itself has seen that must not be."""

    async def some_time(self, least: float, most: float) -> None:
        await asyncio.sleep(self.random.uniform(least, most))


@dataclass(frozen=True)
class Fault:
    """`patience`: seconds that may pass from its end until all is as it should be."""

    name: str
    do: Callable[[World], Awaitable[None]]
    patience: float
    disturbs: bool = True
    """The operator may not see everything meanwhile, so that ends of pods may be charged as estimates."""


async def nothing(world: World) -> None:
    """No fault: what the others are held against."""
    await world.some_time(2, 4)


async def leader_killed(world: World) -> None:
    """The leader is killed at a random moment, several times."""
    for _ in range(3):
        await world.some_time(0.2, 4)
        await (await world.leader()).end(signal.SIGKILL)


async def leader_ended(world: World) -> None:
    """The leader is asked to end, as by a rolling update."""
    await world.some_time(0.2, 2)
    await (await world.leader()).end(signal.SIGTERM)


async def leader_frozen(world: World) -> None:
    """The leader stands still for longer than its Lease lasts, in the middle of its work, and goes on."""
    await world.some_time(0.2, 2)
    frozen = await world.leader()
    frozen.freeze()
    await asyncio.sleep(22)
    frozen.thaw()
    await asyncio.sleep(2)


async def api_server_killed(world: World) -> None:
    """The API server is killed, and started again."""
    await world.some_time(0.2, 2)
    world.plane.kill_api_server()
    await world.some_time(0.5, 5)
    await asyncio.to_thread(world.plane.start_api_server)


async def etcd_frozen(world: World) -> None:
    """etcd stands still for longer than a leader goes on without renewing its Lease."""
    await world.some_time(0.2, 2)
    with world.plane.frozen_etcd():
        await asyncio.sleep(13)


async def too_many_requests(world: World) -> None:
    """Seven of ten requests are answered with 429."""
    await _refuse(world, 429)


async def internal_errors(world: World) -> None:
    """Seven of ten requests are answered with 500."""
    await _refuse(world, 500)


async def _refuse(world: World, status: int) -> None:
    for operator in world.operators:
        operator.proxy.faults.refusal = status
    await world.some_time(6, 9)
    for operator in world.operators:
        operator.proxy.faults.refusal = 0


async def watches_silent(world: World) -> None:
    """Every open watch stays open, and says nothing for ever."""
    for operator in world.operators:
        operator.proxy.silence()
    await world.some_time(3, 5)


async def watches_outdated(world: World) -> None:
    """Every open watch ends with 410, several times."""
    for _ in range(3):
        await world.some_time(0.2, 2)
        for operator in world.operators:
            operator.proxy.outdate()


async def leader_cut_off(world: World) -> None:
    """The leader reaches the API server no more for longer than its Lease lasts; the other does."""
    await world.some_time(0.2, 2)
    cut = await world.leader()
    cut.proxy.faults.cut = True
    cut.proxy.cut()
    await asyncio.sleep(20)
    cut.proxy.faults.cut = False


async def late_writes(world: World) -> None:
    """Every write, of the Lease too, is held up for up to four seconds."""
    for operator in world.operators:
        operator.proxy.faults.late = 4.0
    await asyncio.sleep(15)
    for operator in world.operators:
        operator.proxy.faults.late = 0.0


async def tokens_rotated(world: World) -> None:
    """The tokens expire, and new ones are in their files."""
    for operator in world.operators:
        operator.rotate()
    await world.some_time(2, 4)


async def tokens_expired(world: World) -> None:
    """The tokens are taken no more; it takes a while until new ones are in their files."""
    for operator in world.operators:
        operator.expire()
    await asyncio.sleep(14)
    for operator in world.operators:
        operator.rotate()


async def clocks_jump(world: World) -> None:
    """The leader's clock on the wall goes back by an hour, and then ahead by two; the other's does the opposite."""
    for hour in (-3600, 3600):
        leader = await world.leader()
        for operator in world.operators:
            operator.set_clock(hour if operator is leader else -hour)
        await asyncio.sleep(12)
    for operator in world.operators:
        operator.set_clock(0)


async def store_away(world: World) -> None:
    """Pods that begin cannot read their model. Models must say so, and what serves must serve on."""
    world.hands.store_away = True
    serving = world.hands.serving()
    try:
        world.violations += await world.look(
            lambda seen: silent_about_the_store(seen, world.hands.waiting(), UNREACHABLE), 60
        )
        world.violations += world.hands.lost(serving)
    finally:
        world.hands.store_away = False


async def node_away(world: World) -> None:
    """The node does not answer: its pods are not ready, as its controller has it, and none begins. Models must say so."""
    world.hands.node_away = True
    try:
        world.violations += await world.look(silent_about_the_node, 60)
        await world.some_time(2, 5)
    finally:
        world.hands.node_away = False


async def another_version(world: World) -> None:
    """An operator of another version, with another serving image, takes over; then the one from before again."""
    for image in ("registry.example/runtime:2", "registry.example/runtime:1"):
        for operator in world.operators:
            operator.environment["RUNTIME_IMAGE"] = image
            await operator.end(signal.SIGTERM)
            await world.some_time(3, 5)


async def version_before(world: World) -> None:
    """Operators of the version before, by its own code, come one after the other, and then those of this one again."""
    for sources in (await asyncio.to_thread(previous.sources), None):
        for operator in world.operators:
            operator.sources = sources
            await operator.end(signal.SIGTERM)
            await world.some_time(4, 7)
        await world.some_time(2, 5)


FAULTS: Final = (
    Fault("nothing", nothing, 30, disturbs=False),
    Fault("leader killed", leader_killed, 60),
    Fault("leader ended", leader_ended, 30),
    Fault("leader frozen", leader_frozen, 60),
    Fault("leader cut off", leader_cut_off, 60),
    Fault("API server killed", api_server_killed, 60),
    Fault("etcd frozen", etcd_frozen, 60),
    Fault("429 storm", too_many_requests, 60),
    Fault("500 storm", internal_errors, 60),
    Fault("watches silent", watches_silent, 150),
    Fault("watches outdated", watches_outdated, 30),
    Fault("late writes", late_writes, 60),
    Fault("tokens rotated", tokens_rotated, 120),
    Fault("tokens expired", tokens_expired, 120),
    Fault("clocks jump", clocks_jump, 60),
    Fault("store away", store_away, 60, disturbs=False),
    Fault("node away", node_away, 60, disturbs=False),
    Fault("another version", another_version, 60),
    Fault("version before", version_before, 60),
)
