"""The core over gRPC."""

import struct
from typing import Any

import grpc
from tritonclient.grpc import service_pb2 as pb

from e2e.conformance import cites
from e2e.conformance.rule import Level, rule
from e2e.conformance.target import DOUBLE, TOTAL, X_ROWS, Target, input_tensor, request

X = [value for row in X_ROWS for value in row]
RAW_X = struct.pack("<8f", *X)
REFUSED = (grpc.StatusCode.INVALID_ARGUMENT,)
UNKNOWN = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNAVAILABLE)


def sound(target: Target, **more: Any) -> pb.ModelInferRequest:
    """An inference with typed contents."""
    return request(target, input_tensor("x", "FP32", [2, 4], fp32_contents=X), **more)


def floats(answer: pb.ModelInferResponse, name: str) -> list[float]:
    """An FP32 output's numbers, raw or typed."""
    names = [output.name for output in answer.outputs]
    assert name in names, f"no output {name}: {names}"
    place = names.index(name)
    if answer.raw_output_contents:
        raw = answer.raw_output_contents[place]
        return list(struct.unpack(f"<{len(raw) // 4}f", raw))
    return list(answer.outputs[place].contents.fp32_contents)


@rule("GRPC-01", Level.GRPC, cites=(cites.GRPC_HEALTH,))
def health(target: Target) -> None:
    """The server is live and ready, and so is the model.

    ServerLive, ServerReady and ModelReady answer OK with true.
    """
    assert target.call("ServerLive", pb.ServerLiveRequest()).live, "ServerLive: live is false"
    assert target.call("ServerReady", pb.ServerReadyRequest()).ready, "ServerReady: ready is false"
    assert target.call("ModelReady", pb.ModelReadyRequest(name=target.model)).ready, "ModelReady: ready is false"


@rule("GRPC-02", Level.GRPC, cites=(cites.GRPC_METADATA,))
def metadata(target: Target) -> None:
    """Server and model describe themselves as they do over REST."""
    assert target.call("ServerMetadata", pb.ServerMetadataRequest()).name, "ServerMetadata: no name"
    found = target.call("ModelMetadata", pb.ModelMetadataRequest(name=target.model))
    assert found.name == target.model, f"the name is {found.name!r}"
    inputs = {item.name: (item.datatype, list(item.shape)) for item in found.inputs}
    outputs = {item.name: (item.datatype, list(item.shape)) for item in found.outputs}
    assert inputs == {"x": ("FP32", [-1, 4])}, f"inputs: {inputs}"
    assert outputs == {"double": ("FP32", [-1, 4]), "total": ("FP32", [-1])}, f"outputs: {outputs}"


@rule("GRPC-03", Level.GRPC, cites=(cites.GRPC_INFER, cites.GRPC_CONTENTS))
def typed(target: Target) -> None:
    """An inference with typed contents is answered."""
    answer = target.call("ModelInfer", sound(target))
    assert answer.model_name == target.model, f"model_name: {answer.model_name!r}"
    assert floats(answer, "double") == DOUBLE, f"double: {floats(answer, 'double')}"
    assert floats(answer, "total") == TOTAL, f"total: {floats(answer, 'total')}"


@rule("GRPC-04", Level.GRPC, cites=(cites.GRPC_RAW,))
def raw(target: Target) -> None:
    """An inference with raw contents is answered.

    tritonclient sends nothing else.
    """
    answer = target.call("ModelInfer", request(target, input_tensor("x", "FP32", [2, 4]), raw=[RAW_X]))
    assert floats(answer, "double") == DOUBLE, f"double: {floats(answer, 'double')}"


@rule("GRPC-05", Level.GRPC, cites=(cites.IDENTIFIER,))
def identifier(target: Target) -> None:
    """An identifier comes back."""
    answer = target.call("ModelInfer", sound(target, id="request-42"))
    assert answer.id == "request-42", f"id: {answer.id!r}"


@rule("GRPC-06", Level.GRPC, cites=(cites.OUTPUTS,))
def some_outputs(target: Target) -> None:
    """Who asks for an output gets that one alone."""
    wanted = [pb.ModelInferRequest.InferRequestedOutputTensor(name="total")]
    answer = target.call("ModelInfer", sound(target, outputs=wanted))
    names = [output.name for output in answer.outputs]
    assert names == ["total"], f"asked for total, got {names}"
    assert floats(answer, "total") == TOTAL, f"total: {floats(answer, 'total')}"


@rule("GRPC-07", Level.GRPC, cites=(cites.GRPC_INFER,))
def unknown_model(target: Target) -> None:
    """A model that is not there is a status, not an empty answer.

    ModelInfer and ModelMetadata fail with NOT_FOUND (or what the server calls it), and the message is not empty.
    """
    strange = sound(target)
    strange.model_name = "no-such-model"
    assert target.fails("ModelInfer", strange, *UNKNOWN), "no message"
    assert target.fails("ModelMetadata", pb.ModelMetadataRequest(name="no-such-model"), *UNKNOWN), "no message"


@rule("GRPC-08", Level.GRPC, cites=(cites.GRPC_RAW, cites.GRPC_CODES))
def raw_and_typed(target: Target) -> None:
    """Raw and typed contents together are refused.

    Which of the two was meant nobody can know.
    """
    both = request(target, input_tensor("x", "FP32", [2, 4], fp32_contents=X), raw=[RAW_X])
    target.fails("ModelInfer", both, *REFUSED)


@rule("GRPC-09", Level.GRPC, cites=(cites.GRPC_RAW, cites.GRPC_CODES))
def raw_of_another_size(target: Target) -> None:
    """Raw contents of another size than the shape's are refused.

    Fewer and more bytes, and fewer and more contents than inputs.
    """
    for contents in ([RAW_X[:-1]], [RAW_X + b"\0\0\0\0"], [RAW_X, RAW_X]):
        target.fails("ModelInfer", request(target, input_tensor("x", "FP32", [2, 4]), raw=contents), *REFUSED)
    target.fails("ModelInfer", request(target, input_tensor("x", "FP32", [2, 4])), *REFUSED)


@rule("GRPC-10", Level.GRPC, cites=(cites.GRPC_CONTENTS, cites.GRPC_CODES))
def typed_of_another_size(target: Target) -> None:
    """Typed contents of another size than the shape's are refused, and so are contents of another type."""
    target.fails("ModelInfer", request(target, input_tensor("x", "FP32", [2, 4], fp32_contents=X[:-1])), *REFUSED)
    target.fails("ModelInfer", request(target, input_tensor("x", "FP32", [2, 4], int64_contents=[1] * 8)), *REFUSED)
