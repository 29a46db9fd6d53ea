"""What the operator hears from the activator's pods, over real HTTP: pods on addresses of the loopback, the admin port of a test's own."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from modelward_operator.cluster.hearing import SPACING, WAIT, Hearing
from modelward_operator.cluster.switchboard import ActivatorPod
from modelward_operator.facts import Key
from tests.ports import free_ports
from tests.until import until

FRAUD, CHURN = Key("risk", "fraud"), Key("shop", "churn")


@dataclass
class Activator:
    """One pod of the activator: what it says, and whether it says it."""

    address: str
    cursor: int = 1
    models: list[dict[str, Any]] = field(default_factory=list)
    body: str | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def say(self, *models: tuple[Key, int, int]) -> None:
        self.models = [
            {"namespace": k.namespace, "name": k.name, "held": held, "forwarding": forwarding, "oldestSeconds": 0.1}
            for k, held, forwarding in models
        ]
        self.cursor += 1
        self.changed.set()

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.query["since"], request.query["wait"]))
        if request.query["since"] == str(self.cursor):
            self.changed.clear()
            await self.changed.wait()
        told = {"cursor": self.cursor, "models": self.models, "routes": {"modelward-activator-routes-0": 7}}
        return web.Response(text=json.dumps(told) if self.body is None else self.body)


@dataclass
class Board:
    """The part of the switchboard that is asked."""

    present: list[ActivatorPod]
    read: dict[str, dict[str, int]] = field(default_factory=dict)

    def pods(self) -> list[ActivatorPod]:
        return self.present

    def heard(self, pod: str, read: dict[str, int]) -> None:
        self.read[pod] = read


@dataclass
class Ear:
    """What came of it."""

    pods: tuple[Activator, Activator]
    board: Board
    totals: dict[Key, tuple[int, int]] = field(default_factory=dict)
    rung: list[Key] = field(default_factory=list)

    async def until(self, true: Callable[[], bool]) -> None:
        await until(true)


@asynccontextmanager
async def _serving(pods: tuple[Activator, Activator], port: int) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for pod in pods:
            app = web.Application()
            app.router.add_get("/demand", pod.answer)
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, pod.address, port).start()
        yield


@pytest.fixture
async def ear() -> AsyncIterator[Ear]:
    pods = (Activator("127.78.0.1"), Activator("127.78.0.2"))
    board = Board([ActivatorPod(f"uid-{n}", pod.address, is_ready=True) for n, pod in enumerate(pods)])
    made = Ear(pods, board)
    (port,) = free_ports(1)
    async with _serving(pods, port), aiohttp.ClientSession() as session:

        def note(key: Key, held: int, forwarding: int) -> None:
            made.totals[key] = (held, forwarding)

        hearing = Hearing(session, board, note, made.rung.append, admin_port=port)  # type: ignore[arg-type]  # the part that is asked
        task = asyncio.create_task(hearing.run())
        await made.until(lambda: len(board.read) == 2)
        yield made
        for pod in pods:
            pod.say()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_request_that_is_held_rings_for_its_model_at_once(ear: Ear) -> None:
    assert ear.board.read == {f"uid-{n}": {"modelward-activator-routes-0": 7} for n in (0, 1)}
    assert not ear.rung
    ear.pods[0].say((FRAUD, 1, 0))
    async with asyncio.timeout(WAIT / 2):
        await ear.until(lambda: FRAUD in ear.rung)
    assert ear.totals == {FRAUD: (1, 0)}


async def test_a_model_is_rung_for_when_a_pod_begins_to_hold_and_not_while_it_starts(ear: Ear) -> None:
    ear.pods[0].say((FRAUD, 1, 0))
    await ear.until(lambda: ear.rung == [FRAUD])
    ear.pods[0].say((FRAUD, 5, 0), (CHURN, 1, 0))
    await ear.until(lambda: ear.totals == {FRAUD: (5, 0), CHURN: (1, 0)})
    assert [FRAUD, CHURN] == ear.rung
    ear.pods[0].say((FRAUD, 0, 5))
    await ear.until(lambda: ear.totals[FRAUD] == (0, 5))
    ear.pods[0].say((FRAUD, 1, 4))
    await ear.until(lambda: ear.rung == [FRAUD, CHURN, FRAUD])


async def test_what_several_pods_hold_of_a_model_is_one_number(ear: Ear) -> None:
    ear.pods[0].say((FRAUD, 3, 1), (CHURN, 0, 2))
    ear.pods[1].say((FRAUD, 4, 0))
    await ear.until(lambda: ear.totals == {FRAUD: (7, 1), CHURN: (0, 2)})
    assert CHURN not in ear.rung, "what is being forwarded has been woken"
    ear.pods[0].say()
    await ear.until(lambda: ear.totals == {FRAUD: (4, 0), CHURN: (0, 0)})


async def test_what_a_pod_held_that_is_gone_is_held_no_more(ear: Ear) -> None:
    ear.pods[0].say((FRAUD, 3, 0))
    ear.pods[1].say((FRAUD, 1, 0))
    await ear.until(lambda: ear.totals == {FRAUD: (4, 0)})
    ear.board.present = ear.board.present[1:]
    await ear.until(lambda: ear.totals == {FRAUD: (1, 0)})


def told(held: str, cursor: str = "9", version: str = "7") -> str:
    model = f'{{"namespace": "risk", "name": "fraud", "held": {held}, "forwarding": 0}}'
    return f'{{"cursor": {cursor}, "models": [{model}], "routes": {{"a": {version}}}}}'


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        '{"cursor": 9}',
        '{"cursor": "x", "models": [], "routes": {}}',
        "\x00",
        "[" * 200_000,
        told("Infinity"),
        told("NaN"),
        told("-5"),
        told("1", cursor="Infinity"),
        told("1", version="-Infinity"),
        told("1" * 400),
    ],
)
async def test_a_pod_that_talks_nonsense_counts_as_silent_and_is_asked_again(ear: Ear, body: str) -> None:
    ear.pods[0].say((FRAUD, 3, 0))
    await ear.until(lambda: ear.totals == {FRAUD: (3, 0)})
    ear.pods[0].body = body
    ear.pods[0].say((FRAUD, 5, 0))
    await ear.until(lambda: ear.totals == {FRAUD: (0, 0)})
    ear.pods[0].body = None
    await ear.until(lambda: ear.totals == {FRAUD: (5, 0)})


async def test_one_question_to_each_pod_is_open_at_a_time(ear: Ear) -> None:
    await ear.until(lambda: len(ear.pods[0].asked) == 2)  # the first answer came at once
    await asyncio.sleep(0.5)
    assert len(ear.pods[0].asked) == 2, "it hangs until there is something to say"
    assert ear.pods[0].asked[0] == ("0", "10")


async def test_a_pod_that_always_has_something_to_say_is_not_asked_without_a_pause(ear: Ear) -> None:
    ear.pods[0].say((FRAUD, 1, 0))
    ear.pods[0].body = told("1", cursor="0")  # never the cursor that it is asked with
    ear.pods[0].cursor = -1
    loop, before = asyncio.get_running_loop(), len(ear.pods[0].asked)
    began = loop.time()
    await ear.until(lambda: len(ear.pods[0].asked) >= before + 10)
    took = loop.time() - began
    ear.pods[0].body, ear.pods[0].cursor = None, 7
    assert took > 8 * SPACING, "ten questions have nine pauses between them, and one may have begun before"
