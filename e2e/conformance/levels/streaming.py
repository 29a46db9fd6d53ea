"""ModelStreamInfer: many inferences on one stream."""

from typing import Any

import grpc

from e2e.conformance import cites
from e2e.conformance.levels.grpc_core import floats, sound
from e2e.conformance.rule import Level, rule
from e2e.conformance.target import Target, input_tensor, request


def stream(target: Target, requests: list[Any]) -> list[Any]:
    """All answers of one stream."""
    try:
        calls = target.stub.ModelStreamInfer(iter(requests), timeout=target.timeout, metadata=target.metadata)
        return list(calls)
    except grpc.RpcError as error:
        raise AssertionError(f"the stream ended: {error.code().name}: {error.details()}") from error


@rule("STREAM-01", Level.STREAMING, cites=(cites.STREAM,))
def in_order(target: Target) -> None:
    """A stream answers each request, in order, with its identifier."""
    asked = [
        request(target, input_tensor("x", "FP32", [1, 4], fp32_contents=[float(n)] * 4), id=f"r{n}") for n in range(20)
    ]
    answers = stream(target, asked)
    assert [answer.infer_response.id for answer in answers] == [f"r{n}" for n in range(20)], "other identifiers"
    totals = [floats(answer.infer_response, "total") for answer in answers]
    assert totals == [[4.0 * n] for n in range(20)], f"totals: {totals}"


@rule("STREAM-02", Level.STREAMING, cites=(cites.STREAM,))
def goes_on(target: Target) -> None:
    """An error answers its request and ends nothing."""
    wrong = request(target, input_tensor("x", "FP32", [1, 3], fp32_contents=[0.0] * 3))
    answers = stream(target, [sound(target), wrong, sound(target)])
    assert [bool(answer.error_message) for answer in answers] == [False, True, False], f"answers: {answers}"
