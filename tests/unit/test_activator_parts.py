"""The activator's small parts: what it imports, what the operator is told, certificates, the bound of connections."""

import asyncio
import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from cryptography import x509

from modelward_runtime.access.certificate import Unusable
from modelward_runtime.activator.admin import App
from modelward_runtime.activator.authority import Authority
from modelward_runtime.activator.connection import Crowd
from modelward_runtime.activator.demand import Demand, Line
from modelward_runtime.activator.errors import HoldFull
from modelward_runtime.activator.hold import Queue
from modelward_runtime.activator.metrics import Metrics
from modelward_runtime.activator.route import LiveRoute
from modelward_runtime.activator.share import Common
from tests import wire
from tests.contract.test_activator_tls import found
from tests.until import PATIENCE


def test_the_activator_needs_neither_numpy_nor_onnxruntime() -> None:
    heavy = "print([m for m in ('numpy', 'onnxruntime', 'obstore') if m in sys.modules])"
    code = f"import sys, modelward_runtime.activator.run, modelward_runtime.main; {heavy}"
    assert "[]\n" == subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


# ---- what the operator is told


def demand(*lines: Line) -> Demand:
    return Demand(lambda: lines, lambda: 1000.0)


async def test_an_answer_comes_at_once_unless_the_reader_knows_it() -> None:
    told = demand(Line("risk", "m", 1, 0, 0.5), Line("risk", "idle", 0, 0, 0.0))
    for since in (None, 0, 17, 10**15):
        answer = await told.told(since, 30)
        assert (1_000_000, ["m"]) == (answer.cursor, [line.name for line in answer.models])


async def test_who_waits_hears_when_a_queue_is_no_longer_empty_and_when_routes_are_open() -> None:
    told = demand()
    for happens in (told.rise, lambda: told.open({"a": 1})):
        cursor = (await told.told(None, 0)).cursor
        waiting = asyncio.ensure_future(told.told(cursor, 2 * PATIENCE))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        happens()
        assert cursor + 1 == (await asyncio.wait_for(waiting, PATIENCE)).cursor
    told.open({"a": 1})
    assert cursor + 1 == (await told.told(None, 0)).cursor, "nothing new"


async def test_who_waits_hears_nothing_after_a_while() -> None:
    told = demand()
    began = time.monotonic()
    assert 1_000_000 == (await told.told(1_000_000, 0.05)).cursor
    assert time.monotonic() - began >= 0.05


async def test_however_many_wait_who_comes_next_hears_of_a_held_call() -> None:
    told = demand()
    crowd = [asyncio.ensure_future(told.told(1_000_000, 2 * PATIENCE)) for _ in range(200)]
    await asyncio.sleep(0)
    operator = asyncio.ensure_future(told.told(1_000_000, 2 * PATIENCE))
    await asyncio.sleep(0.01)
    assert not operator.done(), "it waits as the last of them"
    assert 168 < sum(reader.done() for reader in crowd) < 200, "the longest were answered, so that so many never wait"
    told.rise()
    assert 1_000_001 == (await asyncio.wait_for(operator, PATIENCE)).cursor
    await asyncio.gather(*crowd)


async def ask(app: App, path: str, query: str = "", method: str = "GET") -> tuple[int, bytes]:
    status, _, body = await wire.ask(app, method, f"{path}?{query}" if query else path)
    return status, body


@pytest.mark.parametrize(
    "query", ["since=a", "since=-1", "wait=61", "wait=-1", "wait=nan", "wait=x", "since=1&since=2", "other=1", "wait="]
)
async def test_a_question_that_is_none_is_refused(query: str) -> None:
    assert 400 == (await ask(App(Metrics(), demand(), lambda: ""), "/demand", query))[0]


async def test_the_admin_port_tells_of_demand_and_obstacles() -> None:
    line = Line("risk", "m", 1, 2, 0.5)
    app = App(Metrics(), demand(line), lambda: "draining")
    status, body = await ask(app, "/demand", "since=0&wait=10")
    expected = {"namespace": "risk", "name": "m", "held": 1, "forwarding": 2, "oldestSeconds": 0.5}
    assert (200, {"cursor": 1_000_000, "models": [expected], "routes": {}}) == (status, json.loads(body))
    assert (503, b"draining\n") == await ask(app, "/readyz")
    assert (200, b"") == await ask(app, "/livez", method="HEAD")
    assert 405 == (await ask(app, "/livez", method="POST"))[0]
    assert 404 == (await ask(app, "/report"))[0]


# ---- certificates


def test_a_leaf_is_for_its_names_by_the_ca_for_a_day_and_renewed_before(tmp_path: Path) -> None:
    found(tmp_path, "ca")
    now = [time.time()]
    authority = Authority(tmp_path, lambda: now[0], lambda: now[0])
    pair = authority.leaf(["m.risk.svc"])
    leaf, ca = x509.load_pem_x509_certificate(pair.chain), read(tmp_path)
    leaf.verify_directly_issued_by(ca)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert ["m.risk.svc"] == names.get_values_for_type(x509.DNSName)
    assert leaf.not_valid_after_utc <= datetime.now(UTC) + timedelta(hours=24)
    assert leaf.not_valid_after_utc <= ca.not_valid_after_utc
    assert pair is authority.leaf(["m.risk.svc"])
    assert pair is not authority.leaf(["n.risk.svc"])
    now[0] += 17 * 3600
    assert pair is not authority.leaf(["m.risk.svc"])


def read(directory: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((directory / "tls.crt").read_bytes())


def test_a_ca_that_is_not_there_or_over_signs_nothing_and_a_broken_one_leaves_the_last(tmp_path: Path) -> None:
    now = [time.time()]
    authority = Authority(tmp_path, lambda: now[0], lambda: now[0])
    with pytest.raises(Unusable):
        authority.leaf(["m"])
    found(tmp_path, "ca")
    pair = authority.leaf(["m"])
    (tmp_path / "..data/tls.crt").write_text("broken")
    now[0] += 60
    assert pair is authority.leaf(["m"])
    now[0] += 48 * 3600
    with pytest.raises(Unusable, match="expired"):
        authority.leaf(["m"])


# ---- connections of callers


class Model:
    def __init__(self, namespace: str) -> None:
        self.namespace = namespace


class Guest:
    """A connection to a model's port."""

    def __init__(self, route: Model) -> None:
        self.route = cast("LiveRoute", route)

    def shutdown(self) -> None:
        """It is none."""


def test_one_model_cannot_take_all_connections() -> None:
    crowd, m, n = Crowd(5, 5, 3), Model("risk"), Model("ads")
    ours, theirs = [Guest(m) for _ in range(4)], [Guest(n) for _ in range(3)]
    assert [True, True, True, False] == [crowd.enter(one) for one in ours]
    assert [True, True, False] == [crowd.enter(one) for one in theirs]
    crowd.leave(ours[3])
    assert 5 == crowd.count, "who never had a place gives none back"
    for one in (*ours[:3], *theirs):
        crowd.leave(one)
    assert 0 == crowd.count


def test_the_models_of_one_namespace_cannot_take_all_connections() -> None:
    crowd, other = Crowd(8, 4, 3), Guest(Model("risk"))
    ours = [Guest(Model("evil")) for _ in range(8)]
    assert [True] * 4 + [False] * 4 == [crowd.enter(one) for one in ours], "one for each of many models"
    assert crowd.enter(other)
    crowd.leave(ours[0])
    assert crowd.enter(ours[7])


# ---- who waits


async def fill(queue: Queue, count: int, most: int | None = 10_000) -> list[asyncio.Task[None]]:
    """So many more want to wait; those that were let in."""
    deadline = asyncio.get_running_loop().time() + 30
    came = [asyncio.create_task(queue.wait(deadline, most=most, patience=30, since=0.0)) for _ in range(count)]
    await asyncio.sleep(0)
    assert all(isinstance(one.exception(), HoldFull) for one in came if one.done())
    return [one for one in came if not one.done()]


async def test_models_that_never_start_cannot_take_all_seats() -> None:
    seats = Common(120)
    queues = [Queue(seats.share(tenant), lambda: None, time.monotonic) for tenant in "abcd"]
    waiting: list[asyncio.Task[None]] = []
    for queue, expected in zip(queues, (60, 30, 15, 8), strict=True):
        waiting += await fill(queue, 500)
        assert expected == len(queue), "half of what is free"
    for queue in queues:
        queue.let_go()
    await asyncio.gather(*waiting)
    assert 0 == seats.taken


async def test_who_was_in_the_queue_comes_back_to_it_also_when_another_model_has_come_meanwhile() -> None:
    seats = Common(40)
    first, second = (Queue(seats.share(tenant), lambda: None, time.monotonic) for tenant in "ab")
    waiting = await fill(first, 20)
    first.let_go()
    await asyncio.gather(*waiting)
    others = await fill(second, 20)
    again = await fill(first, 20, most=None)  # the pod refused them all
    assert (20, 20, 40) == (len(first), len(second), seats.taken)
    for task in (*others, *again):
        task.cancel()


async def test_the_models_of_one_namespace_leave_a_third_of_the_seats_to_others() -> None:
    seats = Common(120)
    queues = [Queue(seats.share("evil"), lambda: None, time.monotonic) for _ in range(40)]
    waiting = [task for queue in queues for task in await fill(queue, 100)]
    assert 80 == seats.taken == len(waiting)
    assert 60 == len(queues[0]), "and half to each other"
    other = Queue(seats.share("risk"), lambda: None, time.monotonic)
    waiting += await fill(other, 500)
    assert 20 == len(other)
    for queue in (*queues, other):
        queue.let_go()
    await asyncio.gather(*waiting)
    assert 0 == seats.taken == seats.of("evil")


def test_a_model_whose_pods_never_answer_leaves_room_for_other_models_calls() -> None:
    memory = Common(128)
    silent, other = memory.share("evil"), memory.share("risk")
    assert silent.take(64)
    assert not silent.take(64)
    assert other.take(32)
    assert 96 == memory.taken
    other.give_back(32)
    silent.give_back(64)
    assert 0 == memory.taken
    assert silent.take(128), "alone it may be as large as all of it"
