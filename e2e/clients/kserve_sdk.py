"""The KServe SDK's own clients, REST with JSON, REST with binary tensors, and gRPC. Runs in KServe's environment."""

import asyncio
import json
import sys
from typing import Any

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

TYPES = {"FP32": np.float32, "FP64": np.float64, "INT64": np.int64, "INT32": np.int32, "BOOL": np.bool_}


def request(model: str, tensors: list[dict[str, Any]], *, binary: bool, outputs: list[str]) -> InferRequest:
    """An inference; with raw tensors where `binary`."""
    inputs = []
    for tensor in tensors:
        inputs.append(InferInput(tensor["name"], tensor["shape"], tensor["datatype"]))
        array = np.array(tensor["data"], TYPES[tensor["datatype"]]).reshape(tensor["shape"])
        inputs[-1].set_data_from_numpy(array, binary_data=binary)
    wanted = [RequestedOutput(name, {"binary_data": True}) for name in outputs] if binary and outputs else []
    return InferRequest(model_name=model, infer_inputs=inputs, request_outputs=wanted)


def told(response: Any) -> list[dict[str, Any]]:
    """The outputs as plain JSON."""
    arrays = [(one.name, one.datatype, one.as_numpy()) for one in response.outputs]
    return [{"name": n, "datatype": d, "shape": list(a.shape), "data": a.ravel().tolist()} for n, d, a in arrays]


async def main(rest: str, grpc: str, model: str) -> None:
    """Ask in every way."""
    tensors, found = json.load(sys.stdin), {}
    async with InferenceRESTClient(RESTConfig(protocol="v2", timeout=30, retries=0)) as client:
        assert await client.is_server_live(rest)
        assert await client.is_server_ready(rest)
        assert await client.is_model_ready(rest, model)
        sent = request(model, tensors, binary=False, outputs=[])
        found["REST with JSON"] = told(await client.infer(rest, sent, model_name=model))
        names = [one["name"] for one in found["REST with JSON"]]
        sent = request(model, tensors, binary=True, outputs=names)
        found["REST with binary tensors"] = told(await client.infer(rest, sent, model_name=model))
    async with InferenceGRPCClient(url=grpc, timeout=30, retries=0) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready(model)
        found["gRPC"] = told(await client.infer(request(model, tensors, binary=True, outputs=[])))
    print(json.dumps(found))


asyncio.run(main(*sys.argv[1:]))
