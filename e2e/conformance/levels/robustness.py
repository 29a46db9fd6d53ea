"""Callers as they are: slow, impatient, rude. Nobody else notices, and nobody gets another's answer."""

import contextlib
import json
import math
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

import grpc
from tritonclient.grpc import service_pb2 as pb

from e2e.conformance import cites
from e2e.conformance.levels.grpc_core import sound
from e2e.conformance.rule import Level, rule
from e2e.conformance.target import DOUBLE, Target, flat, input_tensor, numbers, outputs_of, read_answer, request, tensor

SOON = 5.0
BODY = json.dumps(numbers()).encode()


def head_of(target: Target, *lines: str, length: int | None = len(BODY)) -> bytes:
    """The head of an inference."""
    lengths = [] if length is None else [f"Content-Length: {length}"]
    return target.head("POST", target.infer_path, "Content-Type: application/json", *lengths, *lines)


def others_are_served(target: Target) -> None:
    """A sound request is answered, and soon."""
    begun = time.monotonic()
    assert flat(outputs_of(target.infer(numbers()))["double"]["data"]) == DOUBLE, "other numbers"
    assert time.monotonic() - begun < SOON, f"a sound request took {time.monotonic() - begun:.1f} s"


@rule("ROBUST-SLOW", Level.ROBUSTNESS, cites=(cites.PERSISTENT, cites.STURDY))
def slow_senders(target: Target) -> None:
    """Fifty slow senders hold up nobody.

    Each sends half a request and waits; sound requests are answered meanwhile, and a slow one too once the rest has come.
    """
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(target.connect()) for _ in range(50)]
        for wire in wires:
            wire.sendall(head_of(target) + BODY[:20])
        others_are_served(target)
        wires[0].sendall(BODY[20:])
        assert read_answer(wires[0]).status == 200, "the slow one was not answered"


@rule("ROBUST-DRIP", Level.ROBUSTNESS, cites=(cites.PERSISTENT,))
def dripping_head(target: Target) -> None:
    """A head that comes a few bytes at a time is read."""
    with target.connect() as wire:
        message = head_of(target) + BODY
        for start in range(0, len(message), 7):
            wire.sendall(message[start : start + 7])
            time.sleep(0.002)
        assert read_answer(wire).status == 200, "it was not answered"


@rule("ROBUST-ABORT", Level.ROBUSTNESS, cites=(cites.INCOMPLETE, cites.STURDY))
def aborted_bodies(target: Target) -> None:
    """Connections that end within a body are forgotten.

    A hundred of them; the server answers on.
    """
    for cut in range(100):
        with target.connect() as wire:
            wire.sendall(head_of(target) + BODY[: cut % len(BODY)])
    others_are_served(target)


@rule("ROBUST-HALF", Level.ROBUSTNESS, cites=(cites.INCOMPLETE, cites.STURDY))
def half_closed(target: Target) -> None:
    """A caller who closes its sending half after a whole request is answered, or let go of; it never hangs.

    HTTP does not say whether it has left. A server that takes it for gone may stop its work; one that keeps both sides waiting may not.
    """
    with target.connect() as wire:
        wire.sendall(head_of(target, "Connection: close") + BODY)
        wire.shutdown(socket.SHUT_WR)
        wire.settimeout(min(SOON, target.timeout))
        received = _until_closed(wire)
        assert not received or received.startswith(b"HTTP/1.1 200"), f"got {received[:200]!r}"
    others_are_served(target)


@rule("ROBUST-KEEP", Level.ROBUSTNESS, cites=(cites.PERSISTENT,))
def kept_alive(target: Target) -> None:
    """A connection carries many requests, an error among them.

    Whoever opens one a request pays a round trip, and with TLS two, each time.
    """
    wrong = json.dumps({"inputs": []}).encode()
    with target.connect() as wire:
        for body, kind in ((BODY, 2), (wrong, 4), (BODY, 2), (BODY, 2)):
            wire.sendall(head_of(target, length=len(body)) + body)
            answer = read_answer(wire)
            assert answer.status // 100 == kind, f"expected {kind}xx, got {answer.status}: {answer.body[:200]!r}"


@rule("ROBUST-PIPELINE", Level.ROBUSTNESS, cites=(cites.PIPELINE,))
def pipelined(target: Target) -> None:
    """Requests sent ahead are answered in their order."""
    with target.connect() as wire:
        bodies = [json.dumps(numbers(id=f"p{n}")).encode() for n in range(5)]
        wire.sendall(b"".join(head_of(target, length=len(body)) + body for body in bodies))
        with wire.makefile("rb") as reader:
            found = [_next_identifier(reader) for _ in bodies]
        assert found == [f"p{n}" for n in range(5)], f"order: {found}"


def _next_identifier(reader: BinaryIO) -> str:
    """Read one answer; `http.client` would read ahead into the next."""
    status, headers = int(reader.readline().split()[1]), dict[bytes, bytes]()
    while line := reader.readline().strip():
        name, _, value = line.partition(b":")
        headers[name.lower()] = value.strip()
    assert status == 200, f"status {status}"
    return str(json.loads(reader.read(int(headers[b"content-length"])))["id"])


@rule("ROBUST-CHUNKS", Level.ROBUSTNESS, cites=(cites.CLIENT_ERROR,))
def chunked(target: Target) -> None:
    """A chunked body is read, or refused with 411.

    HTTP clients that stream do not know the length beforehand.
    """
    with target.connect() as wire:
        wire.sendall(head_of(target, "Transfer-Encoding: chunked", length=None))
        wire.sendall(f"{len(BODY):x}\r\n".encode() + BODY + b"\r\n0\r\n\r\n")
        answer = read_answer(wire)
    assert answer.status in {200, 411}, f"status {answer.status}: {answer.body[:200]!r}"


@rule("ROBUST-EXPECT", Level.ROBUSTNESS, cites=(cites.CONTINUE,))
def expecting(target: Target) -> None:
    """Expect: 100-continue is answered before the body is sent.

    curl sends it with bodies over a megabyte and waits a second where nothing comes.
    """
    with target.connect() as wire:
        wire.sendall(head_of(target, "Expect: 100-continue"))
        wire.settimeout(min(SOON, target.timeout))
        try:
            first = wire.recv(64)
        except TimeoutError:
            raise AssertionError("neither 100 nor a final status came") from None
        assert first.startswith(b"HTTP/1.1 100"), f"got {first!r}"
        wire.sendall(BODY)
        answer = read_answer(wire)
    assert answer.status == 200, f"status {answer.status}"


@rule("ROBUST-SMUGGLE", Level.ROBUSTNESS, cites=(cites.SMUGGLING, cites.LENGTHS))
def smuggled(target: Target) -> None:
    """Two lengths that disagree are never two requests.

    Content-Length beside Transfer-Encoding, and two different Content-Length: an error and the connection closed, so that a proxy in front
    and the server cannot disagree about where a request ends.
    """
    hidden = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    both = head_of(target, "Transfer-Encoding: chunked", length=4) + b"0\r\n\r\n" + hidden
    twice = head_of(target, f"Content-Length: {len(BODY) + len(hidden)}") + BODY + hidden
    for message in (both, twice):
        with target.connect() as wire:
            wire.sendall(message)
            wire.settimeout(min(SOON, target.timeout))
            received = _until_closed(wire)
        assert received.count(b"HTTP/1.1 ") <= 1, f"two answers to one request: {received[:400]!r}"
    others_are_served(target)


def _until_closed(wire: socket.socket) -> bytes:
    received = b""
    try:
        while piece := wire.recv(65536):
            received += piece
    except TimeoutError:
        raise AssertionError(f"the connection stays open: {received[:200]!r}") from None
    except OSError:
        pass  # reset: closed all the same
    return received


@rule("ROBUST-DEADLINE", Level.ROBUSTNESS, cites=(cites.DEADLINE,), role="slow")
def deadline(target: Target) -> None:
    """A deadline that passes ends the call, and what it asked for is not awaited by others.

    DEADLINE_EXCEEDED within a moment of the deadline, which is a quarter of the time that an answer takes, so that it passes on a fast
    machine as on a slow one. The quickest of three counts, each shorter than the one before.
    """
    call = request(target, input_tensor("x", "FP32", [1], fp32_contents=[1.0]))
    quickest = min(_seconds(target, call) for _ in range(3))
    least = min(_ends_after(target, call, quickest / share) for share in (4, 8, 16))
    assert least < 1.0, f"it took {least:.1f} s"
    target.call("ModelInfer", call)


def _seconds(target: Target, call: pb.ModelInferRequest) -> float:
    begun = time.monotonic()
    target.call("ModelInfer", call)
    return time.monotonic() - begun


def _ends_after(target: Target, call: pb.ModelInferRequest, deadline: float) -> float:
    """Seconds until the deadline has ended the call; infinity where the answer came before it."""
    begun = time.monotonic()
    try:
        target.stub.ModelInfer(call, timeout=deadline, metadata=target.metadata)
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED, f"got {error.code().name}: {error.details()}"
        return time.monotonic() - begun
    return math.inf


@rule("ROBUST-CANCEL", Level.ROBUSTNESS, cites=(cites.INCOMPLETE, cites.STURDY), role="slow")
def cancelled(target: Target) -> None:
    """Callers who leave take nobody with them.

    Ten callers over REST leave while the model runs, and ten over gRPC; a caller who stays gets its own answer.
    """
    body = json.dumps({"inputs": [tensor("x", "FP32", [1], [1.0])]}).encode()
    for _ in range(10):
        with target.connect() as wire:
            wire.sendall(head_of(target, length=len(body)) + body)
    call = request(target, input_tensor("x", "FP32", [1], fp32_contents=[1.0]))
    futures = [target.stub.ModelInfer.future(call, timeout=target.timeout, metadata=target.metadata) for _ in range(10)]
    for future in futures:
        future.cancel()
    answer = outputs_of(target.infer({"inputs": [tensor("x", "FP32", [2], [3.0, 4.0])]}))["y"]
    assert flat(answer["data"]) == [7.0, 8.0], f"x + its largest: {answer}"


@rule("ROBUST-MIXED", Level.ROBUSTNESS, cites=(cites.BATCH,))
def mixed(target: Target) -> None:
    """Callers at the same time get their own rows, and a wrong request spoils none of them.

    Eight threads with numbers of their own, every fifth request wrong: a server that batches must split fairly and fail alone.
    """

    def caller(number: int) -> None:
        for turn in range(20):
            if turn % 5 == 4:
                target.infer({"inputs": [tensor("x", "FP32", [1, 3], [1.0, 2.0, 3.0])]}).refused()
                continue
            rows = 1 + turn % 3
            data = [float(number * 1000 + turn)] * (rows * 4)
            answer = target.infer({"inputs": [tensor("x", "FP32", [rows, 4], data)]})
            came = flat(outputs_of(answer)["double"]["data"])
            assert came == [value * 2 for value in data], f"caller {number}, turn {turn}: sent {data}, got {came}"

    with ThreadPoolExecutor(8) as callers:
        list(callers.map(caller, range(8)))


@rule("ROBUST-HTTP2", Level.ROBUSTNESS, cites=(cites.GRPC_INFER,))
def channel_lasts(target: Target) -> None:
    """A gRPC channel carries calls beside each other, failures among them."""
    wrong = request(target, input_tensor("x", "FP32", [1, 3], fp32_contents=[0.0] * 3))
    calls = [wrong if n % 3 == 2 else sound(target, id=str(n)) for n in range(30)]
    futures = [target.stub.ModelInfer.future(call, timeout=target.timeout, metadata=target.metadata) for call in calls]
    for n, future in enumerate(futures):
        error = future.exception()
        if n % 3 == 2:
            assert isinstance(error, grpc.RpcError), f"call {n} was wrong and was answered"
        else:
            assert error is None and future.result().id == str(n), f"call {n}: {error}"
