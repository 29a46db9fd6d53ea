"""Suite access: what the door costs a call whose token is known, next to the same server without a door. Needs no cluster.

Two servers in one process and on one loop, over one model double: the one asks who calls and holds limits, the other does not. The very
same requests go to both by turns, token included, over one connection each; what differs between the two is the door. The authenticator
answers from memory, because the verdict is remembered: what a stranger costs is a question to the API server, and not measured here.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, cast

import grpc
import uvloop

from e2e.bench import results
from modelward_runtime import grpc_server
from modelward_runtime.access.config import Limits
from modelward_runtime.access.door import Door, GuardedGate, OpenGate
from modelward_runtime.access.identity import Identity
from modelward_runtime.access.limits import Subjects
from modelward_runtime.exchange import Exchange
from modelward_runtime.listen import HttpListener
from modelward_runtime.metrics import Metrics
from modelward_runtime.proto import inference_pb2 as pb
from modelward_runtime.proto import inference_pb2_grpc as pb_grpc
from modelward_runtime.web import App
from tests.runtime_models import doubler

BAR = 30.0  # microseconds
CALLS = 2000  # of each, in a round
TOKEN = secrets.token_urlsafe(900)  # as long as a service account's
COMPARED = ("without", "with", "added")
COLUMNS = ("open50", "shut50", "added50", "open99", "shut99", "added99")
GENEROUS = Limits(requests_per_second="900000", burst=1_000_000, concurrency=1000)
Call = Callable[[], Awaitable[None]]
TENSOR = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}


class Known:
    """Knows everybody."""

    async def authenticate(self, token: bytes) -> Identity:
        return Identity("system:serviceaccount:shop:checkout")

    async def permits(self, identity: Identity) -> bool:
        return True


def run(rounds: int) -> bool:
    """Measure, print, keep; whether the bars were held."""
    logging.getLogger("modelward.access").setLevel(logging.WARNING)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(_measure(rounds))
    rows = [(name, *(f"{row[key]:.1f}" for key in COLUMNS)) for name, row in found.items()]
    print(results.table([("µs", *(f"{what} p{percent}" for percent in (50, 99) for what in COMPARED)), *rows]))
    held = all(row["added50"] <= BAR for row in found.values())
    print(
        f"{'held' if held else 'MISSED'}: the door adds at most {BAR:g} µs to a call (medians of the fastest of {rounds} rounds)"
    )
    results.write("access", {"calls": CALLS * rounds, "bar_us": BAR, "held": held, **found})
    return held


async def _measure(rounds: int) -> dict[str, dict[str, float]]:
    async with AsyncExitStack() as stack:
        calls = {name: await _serve(stack, name == "shut") for name in ("open", "shut")}
        found = {}
        for number, transport in enumerate(("REST", "gRPC")):
            pairs = [await _round(calls["open"][number], calls["shut"][number]) for _ in range(rounds + 1)][1:]
            found[transport] = _summary(pairs)
        return found


async def _round(first: Call, second: Call) -> tuple[list[float], list[float]]:
    """Microseconds of each call, the two by turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(CALLS):
        for call, kept in ((first, times[0]), (second, times[1])):
            began = time.perf_counter()
            await call()
            kept.append((time.perf_counter() - began) * 1e6)
    return times


def _summary(rounds: list[tuple[list[float], list[float]]]) -> dict[str, float]:
    """The fastest round of each side: whatever else the machine does only adds."""
    found: dict[str, float] = {}
    for percent in (50, 99):
        first, second = (
            min(statistics.quantiles(pair[side], n=100)[percent - 1] for pair in rounds) for side in (0, 1)
        )
        found |= {f"open{percent}": first, f"shut{percent}": second, f"added{percent}": second - first}
    return found


async def _serve(stack: AsyncExitStack, guarded: bool) -> tuple[Call, Call]:
    """A server, and how to call it by REST and by gRPC."""
    exchange = Exchange("tiny", "1", Metrics())
    exchange.serve(doubler(), None)
    gate = GuardedGate(Known(), Known()) if guarded else OpenGate()
    door = Door(gate, Subjects(lambda: GENEROUS if guarded else None), exchange.metrics.refused)
    listener = HttpListener(App(exchange, door, max_body_bytes=1 << 20), "127.0.0.1", 0)
    server = grpc_server.create(exchange, door, max_body_bytes=1 << 20)
    port = server.add_insecure_port("127.0.0.1:0")
    await listener.start()
    await server.start()
    stack.callback(exchange.close)
    stack.push_async_callback(listener.stop, 1)
    stack.push_async_callback(server.stop, 0)
    return await _rest(stack, listener.port), await _grpc(stack, port)


async def _rest(stack: AsyncExitStack, port: int) -> Call:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    stack.callback(writer.close)
    body = json.dumps({"inputs": [TENSOR]}).encode()
    head = f"POST /v2/models/tiny/infer HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {len(body)}\r\n\r\n"
    sent = head.encode() + body

    async def call() -> None:
        writer.write(sent)
        answer = await reader.readuntil(b"]}]}")
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(answer.decode())

    return call


async def _grpc(stack: AsyncExitStack, port: int) -> Call:
    channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
    stub = pb_grpc.GRPCInferenceServiceStub(channel)
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 4])
    tensor.contents.fp32_contents.extend([1, 2, 3, 4])
    request, metadata = (
        pb.ModelInferRequest(model_name="tiny", inputs=[tensor]),
        (("authorization", f"Bearer {TOKEN}"),),
    )

    async def call() -> None:
        await cast("Any", stub).ModelInfer(request, metadata=metadata)

    return call
