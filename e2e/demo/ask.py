"""Asks a served model for predictions in the three ways that clients use, and compares with onnxruntime's own answers.

tritonclient is a client that nobody here wrote: over HTTP it sends binary tensors, over gRPC raw ones.
"""

from __future__ import annotations

from collections.abc import Callable

import httpx
import numpy as np
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from e2e.demo.inside import Endpoint
from e2e.models.rows import DATATYPES, Array, Rows, as_tensors, from_tensors

# Where a model runs alone, on one thread, in the same library, only the order of float32 sums may differ.
TOLERANCE = 1e-5
LIMIT = 30.0
# What any of the ways raises when it gets no answer, or an error for one.
FAILURES = (httpx.HTTPError, InferenceServerException, ConnectionError)

Ask = Callable[[Endpoint, Rows], dict[str, Array]]


def over_rest(at: Endpoint, rows: Rows) -> dict[str, Array]:
    url = f"http://{at.http}/v2/models/{rows.model}/infer"
    answer = httpx.post(
        url, json={"inputs": as_tensors(rows.inputs)}, headers=at.headers, timeout=LIMIT, trust_env=False
    )
    if answer.is_error:
        raise ConnectionError(f"{url}: {answer.status_code} {answer.text[:500]}")
    return from_tensors(answer.json()["outputs"])


def over_binary(at: Endpoint, rows: Rows) -> dict[str, Array]:
    client = tritonclient.http.InferenceServerClient(at.http, connection_timeout=LIMIT, network_timeout=LIMIT)
    try:
        return _infer(tritonclient.http, client, rows, at.headers)
    finally:
        client.close()


def over_grpc(at: Endpoint, rows: Rows) -> dict[str, Array]:
    client = tritonclient.grpc.InferenceServerClient(at.grpc)
    try:
        return _infer(tritonclient.grpc, client, rows, at.headers)
    finally:
        client.close()


def status_without_token(at: Endpoint, rows: Rows) -> int:
    """What a caller is answered who says nothing of himself."""
    url = f"http://{at.http}/v2/models/{rows.model}/infer"
    return httpx.post(url, json={"inputs": as_tensors(rows.inputs)}, timeout=LIMIT, trust_env=False).status_code


# What a person reads, and what is called.
WAYS: dict[str, Ask] = {
    "REST, JSON": over_rest,
    "REST, binary tensors (tritonclient)": over_binary,
    "gRPC (tritonclient)": over_grpc,
}


def _infer(library: object, client: object, rows: Rows, headers: dict[str, str]) -> dict[str, Array]:
    inputs = []
    for name, array in rows.inputs.items():
        tensor = library.InferInput(name, list(array.shape), DATATYPES[array.dtype.name])  # type: ignore[attr-defined]  # untyped
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    answer = client.infer(rows.model, inputs, headers=headers)  # type: ignore[attr-defined]  # untyped library
    return {name: answer.as_numpy(name) for name in rows.outputs}


def largest_difference(expected: dict[str, Array], served: dict[str, Array]) -> float:
    """The largest absolute difference over all outputs; infinite where names, shapes, types or integers differ."""
    worst = 0.0
    for name, array in expected.items():
        other = served.get(name)
        if other is None or other.shape != array.shape or other.dtype != array.dtype:
            return float("inf")
        if array.dtype.kind == "f":
            difference = np.abs(array.astype(np.float64) - other)
            worst = max(worst, float(difference.max()) if np.isfinite(difference).all() else float("inf"))
        elif (array != other).any():
            return float("inf")
    return worst
