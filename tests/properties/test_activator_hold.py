"""Whatever happens to a model and its pods while requests are held: each request gets exactly one answer, and its own."""

import asyncio
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from modelward_runtime.access.config import Access
from modelward_runtime.activator.config import Ports, Refusal, Route
from modelward_runtime.activator.endpoints import Listed
from modelward_runtime.activator.errors import HoldExpired, HoldFull, Leaving, NotWoken
from modelward_runtime.activator.metrics import Metrics
from modelward_runtime.activator.pods import Pod
from modelward_runtime.activator.probing import Prober
from modelward_runtime.activator.route import ApiPlace, LiveRoute, Surroundings
from modelward_runtime.activator.share import Common
from modelward_runtime.activator.upstream import ConnectFailed
from modelward_runtime.errors import ApiError
from tests.until import PATIENCE

ROUTE = Route(
    namespace="risk",
    name="m",
    ports=Ports(http=20000, grpc=20001),
    access=Access(),
    tls=None,
    hold_seconds=1,
    max_held=6,
    wake=True,
    refusal=None,
    max_body_bytes=1000,
)
DENIED = {"wake": False, "refusal": Refusal(reason="BudgetExceeded", message="spent")}
EVENTS = ["come", "cancel", "appear", "vanish", "refuses", "denied", "allowed", "step", "leave"]


class Asleep(Prober):
    """No sockets here: pods are listed ready, or not at all."""

    def watch(self, *_: Any) -> None:
        """Nobody is asked."""


class World:
    """A route, and every request that ever came to it."""

    def __init__(self) -> None:
        self.rises = 0
        self.seats = Common(8)
        place = ApiPlace("https://nowhere.invalid", Path("/nowhere"), Path("/nowhere"))
        around = Surroundings(place, self.seats, Common(1 << 30), Metrics(), Asleep(), self.rise)
        self.live = LiveRoute(ROUTE, around)
        self.requests: list[asyncio.Task[int]] = []
        self.served: list[int] = []
        self.refusing = 0

    def rise(self) -> None:
        self.rises += 1

    async def use(self, pod: Pod, number: int) -> int:
        """What a transport does: it fails before it sends, or it sends once."""
        if self.refusing:
            self.refusing -= 1
            raise ConnectFailed("refused")
        await asyncio.sleep(0)
        self.served.append(number)
        return number

    def come(self) -> None:
        number = len(self.requests)
        self.requests.append(asyncio.ensure_future(self.live.attend(lambda pod: self.use(pod, number))))

    def list_pods(self, count: int) -> None:
        pods = {f"u{n}": Listed(f"u{n}-{id(object())}", f"127.0.0.{n}", 1, 2, True, False) for n in range(count)}
        self.live.list_pods(pods)

    def do(self, event: str) -> None:
        match event:
            case "come":
                self.come()
            case "cancel" if self.requests:
                self.requests[len(self.requests) // 2].cancel()
            case "appear":
                self.list_pods(1)
            case "vanish":
                self.list_pods(0)
            case "refuses":
                self.refusing += 1
            case "denied":
                self.live.change(replaced(DENIED))
            case "allowed":
                self.live.change(ROUTE)
            case "leave":
                self.live.leave()


def replaced(change: dict[str, Any]) -> Route:
    return Route(**{name: change.get(name, getattr(ROUTE, name)) for name in ROUTE.__struct_fields__})


async def live_through(events: list[str]) -> World:
    world = World()
    for event in events:
        world.do(event)
        line = world.live.line
        assert line.held <= ROUTE.max_held
        assert line.held <= world.seats.taken
        await asyncio.sleep(0)
    for _ in range(20):
        world.list_pods(0)
        await asyncio.sleep(0)
        world.list_pods(1)
        await asyncio.sleep(0)
    await asyncio.wait_for(asyncio.gather(*world.requests, return_exceptions=True), PATIENCE)
    return world


@settings(deadline=None, max_examples=150)
@given(st.lists(st.sampled_from(EVENTS), min_size=1, max_size=60))
def test_every_request_gets_one_answer_and_its_own(events: list[str]) -> None:
    world = asyncio.run(live_through(events))
    assert len(world.served) == len(set(world.served)), "no request is served twice"
    for number, request in enumerate(world.requests):
        if request.cancelled():
            continue
        error = request.exception()
        if error is None:
            assert number == request.result()
            assert number in world.served
        else:
            assert isinstance(error, HoldFull | HoldExpired | NotWoken | Leaving), error
            assert number not in world.served, "who was served is told so"
    assert (0, 0, 0) == (world.live.line.held, world.live.line.forwarding, world.seats.taken), "nobody is forgotten"


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(["come", "step"]), min_size=1, max_size=40))
def test_the_operator_hears_each_time_that_a_queue_is_no_longer_empty(events: list[str]) -> None:
    async def watch() -> None:
        world, before = World(), 0
        for event in events:
            world.do(event)
            await asyncio.sleep(0)
            held = world.live.line.held
            assert (held > 0) == (world.rises == 1)
            assert held >= before
            before = held
        for request in world.requests:
            request.cancel()
        results = await asyncio.gather(*world.requests, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError | ApiError) for one in results)
        assert 0 == world.live.line.held

    asyncio.run(watch())
