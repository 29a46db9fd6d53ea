"""Following single requests: what the slow-request log says and how much of it, and the spans that a real collector is sent."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from modelward_runtime.batch import Batching
from modelward_runtime.caller import Caller
from modelward_runtime.errors import DeadlineExceeded, InferenceFailed
from modelward_runtime.exchange import Exchange, Limits
from modelward_runtime.metrics import Metrics
from modelward_runtime.model import Array, Face, TensorSpec
from modelward_runtime.observability.config import Observability
from modelward_runtime.observability.follower import Follower
from modelward_runtime.observability.otel import OtelTracer, connect
from modelward_runtime.observability.settings import make_follower, traces
from modelward_runtime.observability.slow import MOST_LINES, SlowLog, trace_id_of
from modelward_runtime.observability.trail import Trail
from modelward_runtime.states import Decoded, Released
from tests.collector import Collector, attributes, collect
from tests.runtime_models import Double
from tests.until import PATIENCE

SECRET = "alice@example.org"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE, SPAN = PARENT.split("-")[1:3]
UNSAMPLED = PARENT[:-2] + "00"
STAGES = ["receive", "decode", "privacy in", "queue", "run", "privacy out", "encode"]


class Call:
    """An inference whose rows say what the model does with it."""

    name, version, size, parses, prints = "tiny", "", 4, 4, True

    def __init__(self, value: float) -> None:
        self.value = value

    def decode(self, face: Face) -> Decoded:
        return Decoded({"x": np.full((1, 4), self.value, np.float32)}, ("y",))

    def encode(self, face: Face, released: Released) -> list[float]:
        return list(released.outputs["y"][0])


class Served:
    """An exchange, and a model that waits for `go_on` when it is asked for 7 and fails for 13."""

    def __init__(self, follower: Follower | None, batching: Batching | None = None) -> None:
        self.go_on, self.started = threading.Event(), threading.Semaphore(0)
        spec = TensorSpec("x", "FP32", (-1, 4))
        model = Double(self.compute, (spec,), (TensorSpec("y", "FP32", (-1, 4)),))
        self.exchange = Exchange("tiny", "1", Metrics(), Limits())
        self.exchange.serve(model, batching)
        self.follower = self.exchange.follower = follower

    def compute(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        if 7 in inputs["x"]:
            self.started.release()
            assert self.go_on.wait(PATIENCE)
        if 13 in inputs["x"]:
            raise ValueError(SECRET)
        return {"y": inputs["x"] * 2}

    async def infer(self, value: float, traceparent: str = "", seconds: float = 20, transport: Any = "rest") -> Trail:
        assert self.follower
        trail = self.follower.begin(transport, traceparent)
        deadline = asyncio.get_running_loop().time() + seconds
        codes = ("200", "500", "504") if transport == "rest" else ("OK", "INTERNAL", "DEADLINE_EXCEEDED")
        try:
            answer = await self.exchange.infer(Call(value), Caller(SECRET), deadline, None, trail)
            assert answer == [2 * value] * 4
            trail.end(codes[0], 4, 5)
        except InferenceFailed:
            trail.end(codes[1], 4, 0)
        except DeadlineExceeded:
            trail.end(codes[2], 4, 0)
        return trail


class Clock:
    """What the slow log has run later."""

    def __init__(self) -> None:
        self.later: list[Callable[[], None]] = []

    def __call__(self, delay: float, call: Callable[[], None]) -> None:
        assert delay == 1.0
        self.later.append(call)

    def second(self) -> None:
        due, self.later = self.later, []
        for call in due:
            call()


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collect() as collector:
        yield collector


@pytest.fixture
def tracer(collector: Collector) -> Iterator[OtelTracer]:
    tracer = connect({"service.name": "tiny"}, collector.endpoint, 1.0)
    yield tracer
    tracer._provider.shutdown()


def slow_lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "modelward.slow"]


# ── stages ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_trail_has_each_stage_once_and_they_add_up() -> None:
    served = Served(Follower(None, None))
    trail = await served.infer(1)
    assert STAGES == [name for name, _, _ in trail.stages]
    edges = [time for _, begin, end in trail.stages for time in (begin, end)]
    assert edges == sorted(edges)
    assert trail.began == edges[0]
    assert edges[-1] <= trail.ended
    assert (1, 0) == (trail.run and trail.run.requests, trail.run and trail.run.rows)
    served.exchange.close()


async def test_a_request_ends_in_the_stage_that_it_failed_in() -> None:
    served = Served(Follower(None, None))
    busy = asyncio.ensure_future(served.infer(7))
    await asyncio.to_thread(served.started.acquire)
    waited = await served.infer(1, seconds=0.05)
    assert ["receive", "decode", "privacy in", "queue"] == [name for name, _, _ in waited.stages]
    assert waited.stage_seconds()["queue"] >= 0.04
    served.go_on.set()
    assert "encode" in (await busy).stage_seconds()
    served.exchange.close()


async def test_who_is_not_followed_costs_nobody_a_trail() -> None:
    served = Served(None)
    deadline = asyncio.get_running_loop().time() + 20
    assert [2.0] * 4 == await served.exchange.infer(Call(1), Caller(), deadline)
    served.exchange.close()


# ── the slow-request log ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_slow_request_is_one_line_with_its_stages(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    served = Served(Follower(SlowLog(0.05, clock), None))
    await served.infer(1)
    assert not slow_lines(caplog), "a fast one is none"
    busy = asyncio.ensure_future(served.infer(7, PARENT))
    await asyncio.to_thread(served.started.acquire)
    await served.infer(1, seconds=0.06)
    served.go_on.set()
    await busy
    late, done = slow_lines(caplog)
    assert ("504", ["receive", "decode", "privacy in", "queue"]) == (late.code, list(late.stageSeconds))  # type: ignore[attr-defined]
    told = vars(done)
    assert ("rest", "tiny", "1", "200", 4, 5) == tuple(
        told[name] for name in ("transport", "model", "version", "code", "requestBytes", "responseBytes")
    )
    assert (1, 0, TRACE) == (told["batchRequests"], told["batchRows"], told["traceId"])
    assert told["stageSeconds"]["run"] >= 0.05
    assert list(told["stageSeconds"]) == STAGES
    assert SECRET not in str(told)
    served.exchange.close()


def test_a_storm_is_counted_and_not_written(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    follower = Follower(SlowLog(1e-9, clock), None)

    def storm(requests: int) -> list[str]:
        caplog.clear()
        for _ in range(requests):
            follower.begin("rest").end("200", 1, 1)
        return [record.getMessage() for record in slow_lines(caplog)]

    assert ["slow request"] * MOST_LINES == storm(MOST_LINES + 25)
    caplog.clear()
    clock.second()
    (left,) = slow_lines(caplog)
    assert 25 == left.leftOut  # type: ignore[attr-defined]
    assert ["slow request"] * 2 == storm(2), "another second has lines of its own"
    caplog.clear()
    clock.second()
    assert not slow_lines(caplog), "nothing was left out"
    assert not clock.later, "nothing runs while nothing is slow"


@pytest.mark.parametrize(
    ("sent", "expected", "reason"),
    [
        (PARENT, TRACE, "a W3C traceparent"),
        ("", "", "none was sent"),
        (f"00-{'0' * 32}-{SPAN}-01", "", "all zeros is invalid, by the specification"),
        (f"00-{SECRET}-{SPAN}-01", "", "words of a caller never reach the log"),
        (PARENT + "\r\nx", "", "nor lines"),
        (PARENT.upper(), "", "lower case, by the specification"),
    ],
)
def test_only_a_trace_id_is_taken_from_a_header(sent: str, expected: str, reason: str) -> None:
    assert expected == trace_id_of(sent), reason


# ── traces ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_request_is_a_span_with_its_stages_below_its_callers(collector: Collector, tracer: OtelTracer) -> None:
    served = Served(Follower(None, tracer))
    await served.infer(1, PARENT)
    tracer.flush(20)
    (server,) = collector.wait_for("POST /v2/models/{name}/infer")
    assert (TRACE, SPAN) == (server.trace_id.hex(), server.parent_span_id.hex())
    assert 2 == server.kind, "SPAN_KIND_SERVER"
    assert {
        "http.request.method": "POST",
        "http.route": "/v2/models/{name}/infer",
        "http.response.status_code": 200,
        "modelward.model.name": "tiny",
        "modelward.model.version": "1",
        "modelward.request.bytes": 4,
        "modelward.response.bytes": 5,
    } == attributes(server)
    children = collector.children(server)
    assert set(STAGES) == set(children)
    assert {"modelward.batch.requests": 1, "modelward.batch.rows": 0} == attributes(children["run"])
    for span in children.values():
        assert server.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= server.end_time_unix_nano
    assert {"tiny"} == {resource["service.name"] for resource in collector.resources}
    assert {"/v1/traces"} == set(collector.paths)
    served.exchange.close()


async def test_requests_that_shared_a_run_are_linked(collector: Collector, tracer: OtelTracer) -> None:
    served = Served(Follower(None, tracer), Batching(8))
    busy = asyncio.ensure_future(served.infer(7))
    await asyncio.to_thread(served.started.acquire)
    mates = [asyncio.ensure_future(served.infer(value)) for value in (1, 2, 3)]
    while served.exchange.metrics.waiting() < 3:  # noqa: ASYNC110  a turn of the loop each
        await asyncio.sleep(0)
    served.go_on.set()
    await asyncio.gather(busy, *mates)
    tracer.flush(20)
    servers = collector.wait_for("POST /v2/models/{name}/infer", 4)[1:]
    first, *others = [collector.children(server)["run"] for server in servers]
    assert 3 == attributes(first)["modelward.batch.requests"]
    assert {server.span_id for server in servers[1:]} == {link.span_id for link in first.links}
    assert [[first.span_id]] * 2 == [[link.span_id for link in run.links] for run in others]
    assert 4 == len({span.trace_id for span in collector.named("run")}), "each stays in its own trace"
    served.exchange.close()


async def test_the_callers_decision_holds_and_what_fails_is_marked(collector: Collector, tracer: OtelTracer) -> None:
    served = Served(Follower(None, tracer))
    await served.infer(1, UNSAMPLED)
    await served.infer(13, PARENT)
    await served.infer(13, PARENT, transport="grpc")
    tracer.flush(20)
    (rest,) = collector.wait_for("POST /v2/models/{name}/infer")
    (grpc,) = collector.wait_for("inference.GRPCInferenceService/ModelInfer")
    assert (2, "500") == (rest.status.code, attributes(rest)["error.type"])
    assert (2, "INTERNAL") == (grpc.status.code, attributes(grpc)["rpc.response.status_code"])
    assert {"receive", "decode", "privacy in", "queue", "run"} <= set(collector.children(grpc))
    assert SECRET.encode() not in collector.raw, "neither who calls nor what went wrong is in a span"
    served.exchange.close()


async def test_a_ratio_is_about_those_who_send_no_traceparent(collector: Collector) -> None:
    tracer = connect({}, collector.endpoint, 0.0)
    served = Served(Follower(SlowLog(1e-9, lambda _, __: None), tracer))
    await served.infer(1)
    await served.infer(1, PARENT)
    tracer.flush(20)
    (only,) = collector.wait_for("POST /v2/models/{name}/infer")
    assert TRACE == only.trace_id.hex()
    tracer._provider.shutdown()
    served.exchange.close()


async def test_a_collector_that_is_away_costs_no_request(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0.2")
    tracer = connect({}, "http://127.0.0.1:9", 1.0)
    served = Served(Follower(None, tracer))
    for value in range(5):
        await served.infer(value)
    served.exchange.close()
    await asyncio.to_thread(tracer._provider.shutdown)
    assert SECRET not in caplog.text


# ── whether and how ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, False),
    ],
)
def test_the_standard_environment_turns_traces_on_and_off(environment: Mapping[str, str], expected: bool) -> None:
    assert expected == traces(None, environment)


def test_nobody_is_followed_unless_somebody_asks() -> None:
    assert make_follower(None, {}, "m") is None
    assert make_follower(Observability(slow_request_milliseconds=5), {}, "m") is not None


def test_a_missing_extra_is_named_and_serving_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "modelward_runtime.observability.otel", None)
    assert make_follower(None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, "m") is None
    assert "modelward-runtime[tracing]" in caplog.text
