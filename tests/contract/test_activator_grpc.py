"""What the activator forwards over gRPC: messages as bytes, metadata, trailers, statuses, deadlines, cancellation, streams."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton

from modelward_runtime.proto import inference_pb2 as pb
from modelward_runtime.proto import inference_pb2_grpc as pb_grpc
from tests.activators import Stage
from tests.callers import request
from tests.onnx_models import WEIGHTS

pytestmark = pytest.mark.process
INFER = "/inference.GRPCInferenceService/ModelInfer"
DETAILS = b"\x08\x05\x12\x04told"


class Told:
    """What a pod of the test's own heard, and when its call ended."""

    def __init__(self) -> None:
        self.metadata: dict[str, Any] = {}
        self.remaining: float | None = None
        self.ended = threading.Event()
        self.come = threading.Event()


class Service(pb_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]  # generated, without types
    """Answers by the request's id."""

    def __init__(self, told: Told) -> None:
        self.told = told

    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802  the protocol's name
        if request.id == "hangs" and not context.add_callback(self.told.ended.set):
            self.told.ended.set()  # it has ended already: gRPC calls nobody any more, and refuses what follows
        self.told.metadata = dict(context.invocation_metadata())
        self.told.remaining = context.time_remaining()
        self.told.come.set()
        context.send_initial_metadata((("first", "1"), ("raw-bin", b"\x00\xff")))
        context.set_trailing_metadata((("last", "2"), ("grpc-status-details-bin", DETAILS)))
        if request.id == "fails":
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "in the pod's own words: ä")
        if request.id == "hangs":
            self.told.ended.wait(30)
        return pb.ModelInferResponse(id=request.id)


@pytest.fixture
def told(on: Stage) -> Iterator[Told]:
    """A pod that tells what it hears; listed and ready."""
    told, pod = Told(), on.stranger()
    server = grpc.server(ThreadPoolExecutor(4))
    pb_grpc.add_GRPCInferenceServiceServicer_to_server(Service(told), server)
    server.add_insecure_port(f"{pod.address}:{on.pod_ports[1]}")
    server.start()
    on.list_pod(pod, ready=True)
    yield told
    told.ended.set()
    server.stop(0).wait()


@pytest.fixture
def stub(on: Stage) -> Iterator[Any]:
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{on.ports[1]}", options=options) as channel:
        yield pb_grpc.GRPCInferenceServiceStub(channel)


def test_metadata_and_trailers_go_through(told: Told, stub: Any) -> None:
    sent = (("x-tenant", "a"), ("x-raw-bin", b"\x00\x01"), ("authorization", "Bearer t"))
    answer, call = stub.ModelInfer.with_call(pb.ModelInferRequest(model_name="m", id="7"), metadata=sent, timeout=20)
    assert "7" == answer.id
    assert dict(sent).items() <= told.metadata.items()
    assert told.remaining is not None
    assert 10 < told.remaining <= 20, "the caller's deadline, less what has passed"
    assert {"first": "1", "raw-bin": b"\x00\xff"} == dict(call.initial_metadata())
    assert "2" == dict(call.trailing_metadata())["last"]


def test_a_status_goes_through_with_its_words_and_details(told: Told, stub: Any) -> None:
    with pytest.raises(grpc.RpcError) as failed:
        stub.ModelInfer(pb.ModelInferRequest(model_name="m", id="fails"), timeout=20)
    assert grpc.StatusCode.FAILED_PRECONDITION is failed.value.code()
    assert "in the pod's own words: ä" == failed.value.details()
    trailing = dict(failed.value.trailing_metadata())
    assert ("2", DETAILS) == (trailing["last"], trailing["grpc-status-details-bin"])


def test_a_caller_who_cancels_ends_the_call_in_the_pod(told: Told, stub: Any) -> None:
    call = stub.ModelInfer.future(pb.ModelInferRequest(model_name="m", id="hangs"), timeout=120)
    assert told.come.wait(20)
    call.cancel()
    assert told.ended.wait(20), "long before the pod itself has done"


def test_a_deadline_ends_the_call_at_both_ends(told: Told, stub: Any) -> None:
    for seconds in (1, 2, 4, 8):  # a deadline may pass before a pod has heard of the call: then there is nothing to end
        with pytest.raises(grpc.RpcError) as failed:
            stub.ModelInfer(pb.ModelInferRequest(model_name="m", id="hangs"), timeout=seconds)
        assert grpc.StatusCode.DEADLINE_EXCEEDED is failed.value.code()
        if told.come.is_set():
            break
    assert told.ended.wait(20), "long before the pod itself has done"


def test_health_is_told_without_waking_anybody(on: Stage, stub: Any) -> None:
    cursor = on.demand()["cursor"]
    assert stub.ServerLive(pb.ServerLiveRequest(), timeout=20).live
    assert stub.ServerReady(pb.ServerReadyRequest(), timeout=20).ready
    assert stub.ModelReady(pb.ModelReadyRequest(name="m", version="1"), timeout=20).ready
    for name, version in (("other", ""), ("m", "9")):
        with pytest.raises(grpc.RpcError) as failed:
            stub.ModelReady(pb.ModelReadyRequest(name=name, version=version), timeout=20)
        assert grpc.StatusCode.NOT_FOUND is failed.value.code()
    with pytest.raises(grpc.RpcError) as failed:
        stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="m"), timeout=20)
    assert grpc.StatusCode.PERMISSION_DENIED is failed.value.code()
    assert cursor == on.demand()["cursor"]
    on.route(wake=False, refusal={"reason": "BudgetExceeded", "message": "spent"})
    assert stub.ServerLive(pb.ServerLiveRequest(), timeout=20).live
    assert not stub.ServerReady(pb.ServerReadyRequest(), timeout=20).ready
    assert not stub.ModelReady(pb.ModelReadyRequest(name="m"), timeout=20).ready


@pytest.mark.parametrize("packing", [grpc.Compression.NoCompression, grpc.Compression.Gzip], ids=["plain", "packed"])
@pytest.mark.parametrize(("name", "version"), [("other", ""), ("m", "9"), ("", "")])
def test_another_models_name_or_version_wakes_nobody_whatever_is_asked(
    on: Stage, stub: Any, name: str, version: str, packing: Any
) -> None:
    cursor = on.demand()["cursor"]
    inference: Any = request(name, rows=400_000)  # is not read for it
    inference.model_version = version
    described = pb.ModelMetadataRequest(name=name, version=version)
    calls: list[Callable[[], Any]] = [
        lambda: stub.ModelInfer(inference, timeout=20, compression=packing),
        lambda: stub.ModelMetadata(described, timeout=20, compression=packing),
        lambda: next(stub.ModelStreamInfer(iter([inference]), timeout=20, compression=packing)),
    ]
    if not name:
        calls = calls[1:2]  # of a long message the pod has to say that it names nobody
    for call in calls:
        with pytest.raises(grpc.RpcError) as failed:
            call()
        assert grpc.StatusCode.NOT_FOUND is failed.value.code()
        assert "'m'" in failed.value.details(), "in a pod's own words"
    assert cursor == on.demand()["cursor"]
    assert 0 == on.held()


def test_an_unknown_method_wakes_nobody(on: Stage) -> None:
    cursor = on.demand()["cursor"]
    with grpc.insecure_channel(f"127.0.0.1:{on.ports[1]}") as channel, pytest.raises(grpc.RpcError) as failed:
        channel.unary_unary("/inference.GRPCInferenceService/Nothing")(b"", timeout=20)
    assert grpc.StatusCode.UNIMPLEMENTED is failed.value.code()
    assert cursor == on.demand()["cursor"]


def test_a_stream_is_held_and_then_goes_both_ways(on: Stage) -> None:
    answers: list[Any] = []
    arrived = threading.Semaphore(0)

    def take(result: Any, error: Any) -> None:
        answers.append(error or result.as_numpy("y"))
        arrived.release()

    rows = [np.full((1, 4), number, np.float32) for number in range(5)]
    with triton.InferenceServerClient(f"127.0.0.1:{on.ports[1]}") as client:
        client.start_stream(take)
        for row in rows:
            tensor = triton.InferInput("x", [1, 4], "FP32")
            tensor.set_data_from_numpy(row)
            client.async_stream_infer("m", [tensor])
        on.until_held(1)
        on.begin_pod()
        for _ in rows:
            assert arrived.acquire(timeout=30)
        client.stop_stream()
    for row, answer in zip(rows, answers, strict=True):
        np.testing.assert_allclose(answer, row @ WEIGHTS)


def test_a_connection_is_told_to_go_after_two_seconds(on: Stage) -> None:
    pod = on.begin_pod()
    with grpc.insecure_channel(f"127.0.0.1:{on.ports[1]}") as channel:
        states: list[Any] = []
        channel.subscribe(states.append)
        pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request("m"), timeout=30)
        deadline = time.monotonic() + 20
        while grpc.ChannelConnectivity.IDLE not in states[1:]:
            assert time.monotonic() < deadline, states
            time.sleep(0.02)
    on.end_pod(pod)


@pytest.mark.parametrize("rows", [1, 400_000], ids=["a small message", "6 MB, which nobody reads before"])
def test_a_call_outlives_the_age_of_its_connection(on: Stage, stub: Any, rows: int) -> None:
    call = stub.ModelInfer.future(request("m", rows=rows), timeout=120)
    on.until_held(1)
    time.sleep(3)
    on.begin_pod()
    assert [rows, 3] == list(call.result(120).outputs[0].shape)


def test_a_message_over_the_limit_is_refused(on: Stage, stub: Any) -> None:
    on.route(maxBodyBytes=4096)
    on.begin_pod()
    stub.ModelInfer(request("m"), timeout=30, wait_for_ready=True)
    with pytest.raises(grpc.RpcError) as failed:
        stub.ModelInfer(request("m", rows=4096), timeout=30, wait_for_ready=True)
    assert grpc.StatusCode.RESOURCE_EXHAUSTED is failed.value.code()
