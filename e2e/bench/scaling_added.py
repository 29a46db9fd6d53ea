"""Suite scaling, part added: what a call costs more that comes through the activator while there is a pod.

The activator ends each connection when there is a pod, so that clients move on; so every call, this way and that, has a connection of its
own. The calls go from the node straight to the pods' addresses: the Service would lead past the activator.
"""

from __future__ import annotations

import http.client
import json
import statistics
import time
from collections.abc import Callable
from functools import cache

import tritonclient.grpc

from e2e.bench.pods import pods_of
from e2e.bench.scaling_model import MODEL, NAMESPACE, inputs, pods, served
from e2e.demo.kube import read
from e2e.models.rows import DATATYPES, as_tensors

CALLS = {"REST": 400, "gRPC": 200}
Address = tuple[str, int]


def added() -> dict[str, dict[str, float]]:
    """Seconds at the median and the 99th percentile, straight, through the activator, and the difference, by transport."""
    with served("added", minReplicas=0, maxReplicas=1, idleSeconds=600):
        pod = str(pods("added")[0]["status"]["podIP"])
        slice_ = read("endpointslice", "added-activator", "-n", NAMESPACE)
        ports = [int(n) for n in slice_["metadata"]["annotations"]["modelward.dev/activator-ports"].split(",")]
        activator = pods_of("modelward-system", "app.kubernetes.io/name=modelward-activator")[0]["status"]["podIP"]
        return {
            "REST": _compare(_rest, (pod, 8080), (activator, ports[0]), CALLS["REST"]),
            "gRPC": _compare(_grpc, (pod, 8081), (activator, ports[1]), CALLS["gRPC"]),
        }


def _compare(call: Callable[[Address], None], straight: Address, through: Address, calls: int) -> dict[str, float]:
    times: dict[Address, list[float]] = {straight: [], through: []}
    for _ in range(calls + 20):
        for address, kept in times.items():
            began = time.perf_counter()
            call(address)
            kept.append(time.perf_counter() - began)
    found: dict[str, float] = {}
    for percent in (50, 99):
        first, second = (statistics.quantiles(times[a][20:], n=100)[percent - 1] for a in (straight, through))
        found |= {f"straight{percent}": first, f"through{percent}": second, f"added{percent}": second - first}
    return found


def _rest(address: Address) -> None:
    connection = http.client.HTTPConnection(*address, timeout=30)
    try:
        connection.request("POST", f"/v2/models/{MODEL}/infer", _body(), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != http.client.OK:
            raise ConnectionError(f"{answer.status} {text[:200]!r}")
    finally:
        connection.close()


def _grpc(address: Address) -> None:
    client = tritonclient.grpc.InferenceServerClient(f"{address[0]}:{address[1]}")
    try:
        client.infer(MODEL, _tensors(), client_timeout=30)
    finally:
        client.close()


@cache
def _tensors() -> list[tritonclient.grpc.InferInput]:
    made = []
    for name, array in inputs().items():
        tensor = tritonclient.grpc.InferInput(name, list(array.shape), DATATYPES[array.dtype.name])
        tensor.set_data_from_numpy(array)
        made.append(tensor)
    return made


@cache
def _body() -> str:
    return json.dumps({"inputs": as_tensors(inputs())})
