"""The gRPC side in one process: what the contract ring cannot bring about with a model that works."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from modelward_runtime import grpc_server
from modelward_runtime.exchange import Exchange
from modelward_runtime.metrics import Metrics
from modelward_runtime.proto import inference_pb2 as pb
from modelward_runtime.proto import inference_pb2_grpc as pb_grpc
from tests.doors import door
from tests.runtime_models import doubler


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    made = Exchange("tiny", "1", Metrics())
    made.serve(doubler(), None)
    yield made
    made.close()


@pytest.fixture
async def stub(exchange: Exchange) -> AsyncIterator[Any]:
    server = grpc_server.create(exchange, door(), max_body_bytes=1 << 20)
    port = server.add_port("127.0.0.1", 0)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield pb_grpc.GRPCInferenceServiceStub(channel)
    await server.stop(0)


def request(name: str = "tiny") -> Any:
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 4])
    tensor.contents.fp32_contents.extend([1, 2, 3, 4])
    return pb.ModelInferRequest(model_name=name, id=name, inputs=[tensor])


def break_once(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    real = exchange.begin

    def broken(*_: object) -> None:
        monkeypatch.setattr(exchange, "begin", real)
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(exchange, "begin", broken)


async def test_a_flaw_of_ours_is_a_logged_internal_error_without_details(
    stub: Any, exchange: Exchange, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    break_once(exchange, monkeypatch)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ModelInfer(request())
    assert (grpc.StatusCode.INTERNAL, "internal error") == (caught.value.code(), caught.value.details())
    assert "ZeroDivisionError: secret" in caplog.text


async def test_a_flaw_of_ours_answers_its_request_of_a_stream_and_ends_nothing(
    stub: Any, exchange: Exchange, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    break_once(exchange, monkeypatch)
    answers = [answer async for answer in stub.ModelStreamInfer(iter([request(), request("other"), request()]))]
    told = ["internal error", "that model is not served here, 'tiny' is", ""]
    assert told == [answer.error_message for answer in answers]
    assert ["tiny", "other", "tiny"] == [answer.infer_response.id for answer in answers]
    assert [2, 4, 6, 8] == list(answers[2].infer_response.outputs[0].contents.fp32_contents)
    assert "ZeroDivisionError: secret" in caplog.text
    codes = exchange.metrics.exposition().decode()
    for code in ("INTERNAL", "NOT_FOUND", "OK"):
        assert f'modelward_requests_total{{code="{code}",transport="grpc"}} 1.0' in codes
