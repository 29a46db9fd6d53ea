"""How servers are asked: the bytes of a request, and the rows of an answer. No load here, and nothing about any one server.

An `Ask` is one case's request to one server, whole: what `load.py` repeats is what `checked` has compared with ONNX Runtime's own answer.
REST bodies are the Open Inference Protocol's, flat JSON or binary tensors, or BentoML's own JSON; gRPC has raw contents both ways.
"""

import http.client
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import grpc
import numpy as np

from e2e.bench.serving.models import Made
from modelward_runtime.proto import inference_pb2 as pb
from modelward_runtime.proto import inference_pb2_grpc as pb_grpc

JSON, BINARY, GRPC = "JSON", "binary", "gRPC"
ENCODINGS: Final = (JSON, BINARY, GRPC)
LENGTH: Final = "Inference-Header-Content-Length"
TIMEOUT: Final = 30.0
TOLERANCE: Final = 1e-4
"""Relative, and absolute: a batch is summed in another order than a single row, and JSON has a decimal rendering in between."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, as it goes over the wire."""

    encoding: str
    port: int
    path: str
    headers: Mapping[str, str]
    body: bytes
    read: Callable[[Mapping[str, str], bytes], Any]
    """Headers in lower case and body of an answer to its rows."""


def oip_json(made: Made, port: int) -> Ask:
    """The protocol's JSON, with numbers as short as FP32 allows."""
    numbers = ",".join(str(number) for number in made.rows.ravel())
    head = json.dumps({"name": "x", "datatype": "FP32", "shape": list(made.rows.shape)})[:-1]
    body = f'{{"inputs":[{head}, "data": [{numbers}]}}]}}'
    return Ask(JSON, port, _path(made), {"Content-Type": "application/json"}, body.encode(), _read_json)


def oip_binary(made: Made, port: int) -> Ask:
    """The protocol's binary tensor extension, in and out."""
    data = made.rows.tobytes()
    parameters = {"binary_data_size": len(data)}
    tensor = {"name": "x", "datatype": "FP32", "shape": list(made.rows.shape), "parameters": parameters}
    wanted = {"name": "y", "parameters": {"binary_data": True}}
    head = json.dumps({"inputs": [tensor], "outputs": [wanted]}).encode()
    headers = {"Content-Type": "application/octet-stream", LENGTH: str(len(head))}
    return Ask(BINARY, port, _path(made), headers, head + data, _read_binary)


def own_json(made: Made, port: int) -> Ask:
    """BentoML's: the parameters' names and their values, rows in lists of lists."""
    body = json.dumps({"x": made.rows.tolist()}).encode()
    return Ask(JSON, port, "/infer", {"Content-Type": "application/json"}, body, lambda _, got: json.loads(got))


def oip_grpc(made: Made, port: int) -> Ask:
    """ModelInfer with raw contents."""
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=list(made.rows.shape))
    request = pb.ModelInferRequest(model_name=made.name, inputs=[tensor], raw_input_contents=[made.rows.tobytes()])
    return Ask(GRPC, port, "", {}, request.SerializeToString(), _read_grpc)


def answer(ask: Ask) -> Any:
    """Ask once: the rows, right or wrong; None for an error of the server's. OSError: nobody listens."""
    return _call(ask) if ask.encoding == GRPC else _post(ask)


def checked(ask: Ask, made: Made) -> bool:
    """Ask once; whether the answer is ONNX Runtime's own."""
    rows = answer(ask)
    return rows is not None and right(rows, made)


def right(answer: Any, made: Made) -> bool:
    """Whether rows, of whatever shape, are what ONNX Runtime answers."""
    rows = np.asarray(answer, np.float32).reshape(-1)
    wanted = made.answer.reshape(-1)
    return rows.shape == wanted.shape and np.allclose(rows, wanted, rtol=TOLERANCE, atol=TOLERANCE)


def _path(made: Made) -> str:
    return f"/v2/models/{made.name}/infer"


def _post(ask: Ask) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", ask.port, timeout=TIMEOUT)
    try:
        connection.request("POST", ask.path, ask.body, dict(ask.headers))
        found = connection.getresponse()
        body = found.read()
        if found.status != 200:
            return None
        return ask.read({name.lower(): text for name, text in found.getheaders()}, body)
    except http.client.HTTPException:
        return None
    finally:
        connection.close()


def _call(ask: Ask) -> Any:
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{ask.port}", options) as channel:
        stub = cast("Any", pb_grpc.GRPCInferenceServiceStub(channel))
        try:
            request = pb.ModelInferRequest.FromString(ask.body)
            found = stub.ModelInfer(request, timeout=TIMEOUT, wait_for_ready=True)
        except grpc.RpcError:
            return None
    return ask.read({}, found.SerializeToString())


def _read_json(_: Mapping[str, str], body: bytes) -> Any:
    return json.loads(body)["outputs"][0]["data"]


def _read_binary(headers: Mapping[str, str], body: bytes) -> Any:
    if LENGTH.lower() not in headers:  # it may answer in JSON, whatever was asked for
        return _read_json(headers, body)
    return np.frombuffer(body, np.float32, offset=int(headers[LENGTH.lower()]))


def _read_grpc(_: Mapping[str, str], body: bytes) -> Any:
    found = pb.ModelInferResponse.FromString(body)
    if found.raw_output_contents:
        return np.frombuffer(found.raw_output_contents[0], np.float32)
    return list(found.outputs[0].contents.fp32_contents)
