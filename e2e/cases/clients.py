"""Predictions over the three ways of the Open Inference Protocol v2, by clients that nobody here wrote, and by their asyncio variants.

Each takes the endpoint's host, the model's name and the inputs, and returns the outputs by name. Called by the cases.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx
import numpy as np
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
from numpy.typing import NDArray

from e2e.models.rows import DATATYPES, as_tensors, from_tensors

Arrays = dict[str, NDArray[Any]]
HTTP, GRPC = 8080, 8081


def rest_json(host: str, model: str, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
    """POST as curl would."""
    body = {"inputs": as_tensors(inputs)}
    answer = httpx.post(f"http://{host}:{HTTP}/v2/models/{model}/infer", json=body, timeout=30, trust_env=False)
    answer.raise_for_status()
    return from_tensors(answer.json()["outputs"])


def rest_binary(host: str, model: str, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
    """tritonclient.http as it comes: binary tensors both ways."""
    client = tritonclient.http.InferenceServerClient(f"{host}:{HTTP}", network_timeout=30, connection_timeout=30)
    try:
        return _answered(client.infer(model, _asked(tritonclient.http, inputs)))
    finally:
        client.close()


def grpc(host: str, model: str, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
    """tritonclient.grpc as it comes: raw tensors both ways."""
    client = tritonclient.grpc.InferenceServerClient(f"{host}:{GRPC}")
    try:
        return _answered(client.infer(model, _asked(tritonclient.grpc, inputs), client_timeout=30))
    finally:
        client.close()


def asyncio_rest(host: str, model: str, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
    """tritonclient.http.aio as it comes."""

    async def ask() -> Arrays:
        async with tritonclient.http.aio.InferenceServerClient(f"{host}:{HTTP}", conn_timeout=30) as client:
            return _answered(await client.infer(model, _asked(tritonclient.http, inputs)))

    return asyncio.run(ask())


def asyncio_grpc(host: str, model: str, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
    """tritonclient.grpc.aio as it comes."""

    async def ask() -> Arrays:
        async with tritonclient.grpc.aio.InferenceServerClient(f"{host}:{GRPC}") as client:
            return _answered(await client.infer(model, _asked(tritonclient.grpc, inputs), client_timeout=30))

    return asyncio.run(ask())


WAYS: Final[dict[str, Callable[[str, str, Mapping[str, NDArray[Any]]], Arrays]]] = {
    "REST with JSON": rest_json,
    "REST with binary tensors": rest_binary,
    "gRPC": grpc,
    "asyncio, REST": asyncio_rest,
    "asyncio, gRPC": asyncio_grpc,
}


def _asked(transport: Any, inputs: Mapping[str, NDArray[Any]]) -> list[Any]:
    asked = []
    for name, array in inputs.items():
        tensor = transport.InferInput(name, list(array.shape), DATATYPES[array.dtype.name])
        tensor.set_data_from_numpy(array)
        asked.append(tensor)
    return asked


def _answered(result: Any) -> Arrays:
    described = result.get_response()
    outputs = described["outputs"] if isinstance(described, dict) else described.outputs
    names = [output["name"] if isinstance(output, dict) else output.name for output in outputs]
    return {name: result.as_numpy(name) for name in names}


def add(host: str, model: str = "scorer") -> float:
    """Ask an adder what it adds: which version of it answered."""
    return float(rest_json(host, model, {"x": np.zeros((1, 4), np.float32)})["y"][0, 0])
