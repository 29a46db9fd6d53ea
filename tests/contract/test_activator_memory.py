"""What gRPC calls may cost the activator: its memory is every tenant's, and none of it grows with what a caller or a pod sends.

The activator is a real process, its peak is the kernel's word. The bound has room for a busy machine; one gathered message breaks it.
"""

import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from modelward_runtime.proto import inference_pb2 as pb
from modelward_runtime.proto import inference_pb2_grpc as pb_grpc
from tests.activators import Stage

pytestmark = pytest.mark.process
LARGE = 40 << 20  # bytes of a message; a route lets 64 MiB through
BOUND = 32 << 20  # that all calls together may add; 5 of them here
SERVICE = "/inference.GRPCInferenceService/"


def peak(on: Stage) -> int:
    """The most bytes that the process has had."""
    status = Path(f"/proc/{on.activator.child.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) << 10


@contextmanager
def calling(on: Stage) -> Iterator[Any]:
    """A channel that sends a large call again where its connection was just told to go (PROTOCOL.md)."""
    options = [("grpc.max_receive_message_length", -1), ("grpc.per_rpc_retry_buffer_size", 2 * LARGE)]
    with grpc.insecure_channel(f"127.0.0.1:{on.ports[1]}", options=options) as channel:
        yield channel


class Silent(pb_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]  # generated, without types
    """A pod of a tenant's own: it takes calls, reads no stream, and answers with more than anybody takes."""

    def ModelStreamInfer(self, request_iterator: Any, context: Any) -> Iterator[Any]:  # noqa: N802  the protocol's name
        del request_iterator, context
        answer = pb.ModelStreamInferResponse(error_message="x" * (1 << 20))
        yield from itertools.repeat(answer)


@contextmanager
def silent_pod(on: Stage) -> Iterator[None]:
    pod, server = on.stranger(), grpc.server(ThreadPoolExecutor(16))
    pb_grpc.add_GRPCInferenceServiceServicer_to_server(Silent(), server)
    server.add_insecure_port(f"{pod.address}:{on.pod_ports[1]}")
    server.start()
    on.list_pod(pod, ready=True)
    try:
        yield
    finally:
        server.stop(0).wait()


@pytest.mark.parametrize("packing", [grpc.Compression.NoCompression, grpc.Compression.Gzip], ids=["plain", "packed"])
@pytest.mark.parametrize(
    ("reason", "method", "message", "expected"),
    [
        ("the name of another model", "ModelReady", pb.ModelReadyRequest(name="n" * LARGE), "NOT_FOUND"),
        ("no message at all", "ModelReady", b"\x0b" * 64, "INVALID_ARGUMENT"),
        ("a call that is held", "ModelInfer", pb.ModelInferRequest(model_name="m", id="i" * LARGE), "UNAVAILABLE"),
    ],
)
def test_large_messages_cost_no_memory_while_there_is_no_pod(
    on: Stage, packing: Any, reason: str, method: str, message: Any, expected: str
) -> None:
    on.route(holdSeconds=2)
    content = message if isinstance(message, bytes) else message.SerializeToString()
    before = peak(on)
    with calling(on) as channel:
        call = channel.unary_unary(SERVICE + method, lambda sent: sent)
        calls = [call.future(content, timeout=120, compression=packing) for _ in range(8)]
        codes = [one.exception(120).code().name for one in calls]
    assert [expected] * 8 == codes, reason
    assert peak(on) - before < BOUND
    assert "request failed unexpectedly" not in on.activator.log()


def test_streams_that_a_pod_does_not_read_and_answers_that_nobody_takes_cost_no_memory(on: Stage) -> None:
    before = peak(on)
    with silent_pod(on), calling(on) as channel:
        stream = channel.stream_stream(f"{SERVICE}ModelStreamInfer", lambda sent: sent)
        content = pb.ModelInferRequest(model_name="m", id="i" * LARGE).SerializeToString()
        calls = [stream(iter([content, content]), timeout=120) for _ in range(8)]
        assert [1 << 20] * 8 == [len(pb.ModelStreamInferResponse.FromString(next(one)).error_message) for one in calls]
        time.sleep(4)  # and nobody reads anything more
        assert all(one.is_active() for one in calls), [one.code() for one in calls if not one.is_active()]
        for one in calls:
            one.cancel()
    assert peak(on) - before < BOUND
