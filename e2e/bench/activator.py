"""Suite activator: what the activator adds to a call while it is in the path, over REST and gRPC. Needs no cluster.

One activator and one pod, real processes on loopback. The same call goes straight to the pod and through the activator by turns: over REST
on a connection of its own, because the activator's answers close theirs; over gRPC on a channel that stands, and is told by the activator
to leave every two seconds, as in the cluster. What is added is the difference of the medians, and of the 99th percentiles.
"""

from __future__ import annotations

import http.client
import json
import socket
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from e2e.bench import results
from modelward_runtime.proto import inference_pb2_grpc as pb_grpc
from tests.activators import Stage, stage
from tests.callers import request
from tests.onnx_models import linear, save

BAR = 2.0  # milliseconds, at the median
CALLS = 400  # of each, in a round
TENSOR = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}
BODY = json.dumps({"inputs": [TENSOR]}).encode()
Call = Callable[[], None]


def run(rounds: int) -> bool:
    """Measure, print, keep; whether the bar was held."""
    if warning := results.busy():
        print(warning)
    with tempfile.TemporaryDirectory() as folder:
        save(linear(), Path(folder) / "m/model.onnx")
        with stage(Path(folder), Path(folder) / "m") as on:
            found = {transport: _measure(on, transport, rounds) for transport in ("rest", "grpc")}
    held = all(one["added50"] <= BAR for one in found.values())
    header = ("milliseconds", "straight p50", "through p50", "added p50", "straight p99", "through p99", "added p99")
    columns = ("straight50", "through50", "added50", "straight99", "through99", "added99")
    print(results.table([header, *((name, *(f"{one[c]:.3f}" for c in columns)) for name, one in found.items())]))
    print(f"bar: at most {BAR:g} ms added at p50: {'held' if held else 'MISSED'}")
    results.write("activator", {"bar": BAR, "held": held, "calls": CALLS * rounds, **found})
    return held


def _measure(on: Stage, transport: str, rounds: int) -> dict[str, float]:
    """Both ways by turns; one more round comes first to warm up."""
    if not on.routes:
        on.route()
        pod = on.begin_pod()
        _rest("127.0.0.1", on.ports[0])
        on.list_pod(pod, ready=True)
    (pod,) = on.pods.values()
    if transport == "rest":
        straight, through = _rest_of(pod.address, on.pod_ports[0]), _rest_of("127.0.0.1", on.ports[0])
        return _compare(straight, through, rounds)
    with (
        grpc.insecure_channel(f"{pod.address}:{on.pod_ports[1]}") as near,
        grpc.insecure_channel(f"127.0.0.1:{on.ports[1]}") as far,
    ):
        return _compare(_grpc_of(near), _grpc_of(far), rounds)


def _compare(straight: Call, through: Call, rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {"straight": [], "through": []}
    for turn in range(rounds + 1):
        for name, one in (("straight", straight), ("through", through)):
            taken = [_timed(one) for _ in range(CALLS)]
            times[name] += taken if turn else []
    found: dict[str, float] = {}
    for name, taken in times.items():
        quantiles = statistics.quantiles(taken, n=100)
        found |= {f"{name}50": statistics.median(taken), f"{name}99": quantiles[98]}
    return found | {f"added{q}": found[f"through{q}"] - found[f"straight{q}"] for q in (50, 99)}


def _timed(call: Call) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def _rest_of(host: str, port: int) -> Call:
    return lambda: _rest(host, port)


def _rest(host: str, port: int) -> None:
    connection = http.client.HTTPConnection(host, port, timeout=60)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.request("POST", "/v2/models/m/infer", BODY)
    answer = connection.getresponse()
    told = answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"status {answer.status}: {told[:200]!r}")


def _grpc_of(channel: Any) -> Call:
    stub, message = pb_grpc.GRPCInferenceServiceStub(channel), request("m")
    return lambda: stub.ModelInfer(message, timeout=60)
