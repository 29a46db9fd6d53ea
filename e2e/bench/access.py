"""Suite access: what the door costs a call whose token is known, next to the same server without a door. Needs no cluster.

Two servers in one process and on one loop, over one model double: the one asks who calls and holds limits, the other does not. The very
same requests go to both by turns, token included, over one connection each; what differs between the two is the door. What it costs that a
token is sent at all, on both sides of the wire, is told apart: calls without one to the server without a door. The authenticator answers
from memory, because the verdict is remembered: what a stranger costs is a question to the API server, and not measured here.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
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
KINDS = ("bare", "open", "shut")  # no token and no door; a token and no door; a token and a door
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
    sent = ", ".join(f"{name} {row['open50'] - row['bare50']:.1f} µs" for name, row in found.items())
    print(f"beside: that a token of {len(TOKEN)} bytes is sent, door or none: {sent} (p50)")
    held = all(row["added50"] <= BAR for row in found.values())
    print(
        f"{'held' if held else 'MISSED'}: the door adds at most {BAR:g} µs to a call (medians of the fastest of {rounds} rounds)"
    )
    results.write("access", {"calls": CALLS * rounds, "bar_us": BAR, "held": held, **found})
    return held


async def _measure(rounds: int) -> dict[str, dict[str, float]]:
    async with AsyncExitStack() as stack:
        calls = {kind: await _serve(stack, kind == "shut", token=kind != "bare") for kind in KINDS}
        found = {}
        for number, transport in enumerate(("REST", "gRPC")):
            asked = {kind: calls[kind][number] for kind in KINDS}
            found[transport] = _summary([await _round(asked) for _ in range(rounds + 1)][1:])
        return found


async def _round(calls: dict[str, Call]) -> dict[str, list[float]]:
    """Microseconds of each call, by turns in changing order: what one leaves to be done, another has to wait for."""
    times: dict[str, list[float]] = {kind: [] for kind in calls}
    order = list(calls)
    for _ in range(CALLS):
        random.shuffle(order)
        for kind in order:
            began = time.perf_counter()
            await calls[kind]()
            times[kind].append((time.perf_counter() - began) * 1e6)
    return times


def _summary(rounds: list[dict[str, list[float]]]) -> dict[str, float]:
    """The fastest round of each kind: whatever else the machine does only adds."""
    found: dict[str, float] = {}
    for percent in (50, 99):
        for kind in KINDS:
            found[f"{kind}{percent}"] = min(statistics.quantiles(times[kind], n=100)[percent - 1] for times in rounds)
        found[f"added{percent}"] = found[f"shut{percent}"] - found[f"open{percent}"]
    return found


async def _serve(stack: AsyncExitStack, guarded: bool, *, token: bool) -> tuple[Call, Call]:
    """A server, and how to call it by REST and by gRPC."""
    exchange = Exchange("tiny", "1", Metrics())
    exchange.serve(doubler(), None)
    gate = GuardedGate(Known(), Known()) if guarded else OpenGate()
    door = Door(gate, Subjects(lambda: GENEROUS if guarded else None), exchange.metrics.refused)
    listener = HttpListener(App(exchange, door, max_body_bytes=1 << 20), "127.0.0.1", 0)
    server = grpc_server.create(exchange, door, max_body_bytes=1 << 20)
    port = server.add_port("127.0.0.1", 0)
    await listener.start()
    await server.start()
    stack.callback(exchange.close)
    stack.push_async_callback(listener.stop, 1)
    stack.push_async_callback(server.stop, 0)
    return await _rest(stack, listener.port, token=token), await _grpc(stack, port, token=token)


async def _rest(stack: AsyncExitStack, port: int, *, token: bool) -> Call:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    stack.callback(writer.close)
    body = json.dumps({"inputs": [TENSOR]}).encode()
    shown = f"authorization: Bearer {TOKEN}\r\n" if token else ""
    head = f"POST /v2/models/tiny/infer HTTP/1.1\r\nhost: h\r\n{shown}content-length: {len(body)}\r\n\r\n"
    sent = head.encode() + body

    async def call() -> None:
        writer.write(sent)
        answer = await reader.readuntil(b"]}]}")
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(answer.decode())

    return call


async def _grpc(stack: AsyncExitStack, port: int, *, token: bool) -> Call:
    channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
    stub = pb_grpc.GRPCInferenceServiceStub(channel)
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 4])
    tensor.contents.fp32_contents.extend([1, 2, 3, 4])
    request = pb.ModelInferRequest(model_name="tiny", inputs=[tensor])
    metadata = (("authorization", f"Bearer {TOKEN}"),) if token else ()

    async def call() -> None:
        await cast("Any", stub).ModelInfer(request, metadata=metadata)

    return call
