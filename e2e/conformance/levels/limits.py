"""Requests that are too much: refused early, cheaply, and without harm."""

import json
import time

import grpc

from e2e.conformance import cites
from e2e.conformance.rule import Level, rule
from e2e.conformance.target import Target, input_tensor, numbers, outputs_of, read_answer, request, tensor

SOON = 5.0
"""Seconds in which a refusal comes that needs no work."""


@rule("LIMIT-SHAPE", Level.LIMITS, cites=(cites.INFERENCE_ERROR, cites.GRPC_CODES))
def overflowing_shape(target: Target) -> None:
    """A shape whose product overflows, or needs all memory there is, is refused at once.

    2^62 by 4 elements with eight bytes of data, over REST and gRPC: nothing is set aside before the data are counted.
    """
    begun = time.monotonic()
    for rows in (2**62, 10**12, 2**63 - 1):
        target.infer({"inputs": [tensor("x", "FP32", [rows, 4], [1.0, 2.0])]}).refused()
        huge = request(target, input_tensor("x", "FP32", [rows, 4], fp32_contents=[1.0, 2.0]))
        target.fails("ModelInfer", huge, grpc.StatusCode.INVALID_ARGUMENT)
    assert time.monotonic() - begun < SOON, f"it took {time.monotonic() - begun:.1f} s"
    outputs_of(target.infer(numbers()))


@rule("LIMIT-DEPTH", Level.LIMITS, cites=(cites.INFERENCE_ERROR, cites.CLIENT_ERROR))
def deep_json(target: Target) -> None:
    """JSON nested a hundred thousand deep is refused, and the server lives.

    A parser that recurses ends with its process.
    """
    for body in (b"[" * 100_000, b'{"inputs":' * 50_000, b'{"inputs": [' + b"[" * 100_000 + b"]" * 100_000 + b"]}"):
        target.http("POST", target.infer_path, body, {"Content-Type": "application/json"}).refused()
    outputs_of(target.infer(numbers()))


@rule("LIMIT-HEAD", Level.LIMITS, cites=(cites.CLIENT_ERROR, cites.STURDY))
def huge_head(target: Target) -> None:
    """A request head of a megabyte is refused or cut off, and the server lives.

    431, 400 or 413, or the connection closed; not a 5xx, not the memory of whoever sends more.
    """
    with target.connect() as wire:
        try:
            wire.sendall(target.head("GET", "/v2", *(f"X-Filler-{n}: {'a' * 1000}" for n in range(1000))))
            status = read_answer(wire).status
        except OSError:
            status = 431  # the connection was closed
        except Exception as error:  # noqa: BLE001  http.client has a dozen ways to say that nothing came
            status = 431 if "RemoteDisconnected" in type(error).__name__ or not str(error) else 0
    assert 400 <= status < 500, f"status {status}"
    outputs_of(target.infer(numbers()))


@rule("LIMIT-ANNOUNCED", Level.LIMITS, cites=(cites.CLIENT_ERROR, cites.STURDY))
def announced_terabyte(target: Target) -> None:
    """A body announced as a terabyte costs nothing until it comes.

    It is refused by a 4xx, or waited for; either way other callers are answered at once.
    """
    with target.connect() as wire:
        wire.sendall(
            target.head("POST", target.infer_path, "Content-Type: application/json", f"Content-Length: {2**40}")
        )
        wire.sendall(b'{"inputs": [')
        begun = time.monotonic()
        outputs_of(target.infer(numbers()))
        assert time.monotonic() - begun < SOON, "others had to wait"


@rule("LIMIT-BIG", Level.LIMITS, cites=(cites.BATCH,))
def big_body(target: Target) -> None:
    """A sound request of ten megabytes is answered.

    An image in JSON is no smaller. A server with a lower limit says 413 with an error object.
    """
    rows = 200_000
    body = json.dumps({"inputs": [tensor("x", "FP32", [rows, 4], [0.5] * (rows * 4))], "outputs": [{"name": "total"}]})
    padded = body.encode() + b" " * max(0, 10_000_000 - len(body))
    answer = target.http("POST", target.infer_path, padded, {"Content-Type": "application/json"})
    if answer.status == 413:
        answer.refused(413)
    else:
        found = outputs_of(answer)["total"]
        assert len(found["data"]) == rows and set(found["data"]) == {2.0}, "other numbers"
