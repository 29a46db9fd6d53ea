"""A policy with differential privacy in the request path: what it asks of the model, what a call costs, what the caller is told."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import grpc
import msgspec
import numpy as np
import pytest

from modelward_runtime import grpc_server
from modelward_runtime.epsilon import amount
from modelward_runtime.epsilon.account import Terms
from modelward_runtime.epsilon.ledger import Clocks, Ledger
from modelward_runtime.epsilon.promise import Promise
from modelward_runtime.epsilon.subjects import EVERYBODY, Everybody
from modelward_runtime.errors import LoadError
from modelward_runtime.exchange import Exchange, Limits
from modelward_runtime.metrics import Metrics
from modelward_runtime.model import Array, TensorSpec
from modelward_runtime.privacy.compile import compile_rules
from modelward_runtime.privacy.config import Privacy
from modelward_runtime.proto import inference_pb2 as pb
from modelward_runtime.proto import inference_pb2_grpc as pb_grpc
from modelward_runtime.web import App
from tests.doors import door
from tests.ledgers import Clock, Memory
from tests.runtime_models import Double
from tests.unit.test_runtime_web import Client

LEDGER = {"namespace": "risk", "policy": "standard", "server": "https://api", "tokenFile": "t", "caFile": "c"}
LABEL = {
    "name": "label",
    "mechanism": "RandomizedResponse",
    "labels": ["0", "1", "2"],
    "epsilon": "0.5",
    "budget": {"epsilon": "2", "period": "Day", "scope": "All"},
    "ledger": LEDGER,
}
NUMBER = {k: v for k, v in LABEL.items() if k != "labels"} | {
    "name": "scores", "mechanism": "Laplace", "lower": "0", "upper": "1",
}  # fmt: skip
X = TensorSpec("x", "FP32", (-1, 4))
OUTPUTS = (TensorSpec("label", "INT64", (-1,)), TensorSpec("scores", "FP32", (-1, 3)))


def classify(inputs: Mapping[str, Array]) -> dict[str, Array]:
    scores = inputs["x"][:, :3]
    return {"label": scores.argmax(axis=1), "scores": scores}


MODEL = Double(classify, (X,), OUTPUTS)


def policy(section: Mapping[str, Any], *dropped: str, **more: Any) -> Privacy:
    output = {"tensors": [{"name": name, "drop": True} for name in dropped], "differentialPrivacy": section, **more}
    return msgspec.convert({"policy": "standard", "policyGeneration": 1, "output": output}, Privacy)


REFUSED = [
    ("an output beside it", policy(LABEL), MODEL, "drop every other output, or it tells what 'label' hides: scores"),
    ("an output that is not there", policy(LABEL | {"name": "lable"}, "scores"), MODEL, "the model has no output 'lable'"),
    ("an output that is dropped", policy(LABEL, "label"), MODEL, "nothing would be answered"),
    ("labels for numbers", policy(LABEL | {"name": "scores"}, "label"), MODEL, "takes one label a row"),
    ("noise for labels", policy(NUMBER | {"name": "label"}, "scores"), MODEL, "Laplace takes BF16, FP16, FP32, FP64"),
    ("labels that are no numbers", policy(LABEL | {"labels": ["a", "b"]}, "scores"), MODEL, "some of the labels are not"),
    ("labels that are one number", policy(LABEL | {"labels": ["1", "01"]}, "scores"), MODEL, "are the same number"),
    ("noise beside it", policy(NUMBER, "label", perturbation=[{"name": "scores", "distribution": "Laplace", "scale": "1"}]), MODEL,
     "leave perturbation out"),
    ("an answer for the whole call", policy(LABEL), replace(MODEL, outputs=(TensorSpec("label", "INT64", (1,)),)),
     "a row of answers for a row of inputs"),
    ("a second axis that tells", policy(NUMBER), replace(MODEL, outputs=(TensorSpec("scores", "FP32", (-1, -1)),)),
     "only the first axis may be dynamic"),
    ("a key that is not there", policy(LABEL | {"budget": {"epsilon": "2", "period": "Day", "scope": "Subject"},
     "ledger": LEDGER | {"keyFile": "/nowhere/key"}}, "scores"), MODEL, "/nowhere/key: No such file"),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "wanted", "model", "problem"), REFUSED, ids=[case[0] for case in REFUSED])
def test_a_policy_that_the_model_cannot_keep_is_refused(
    reason: str, wanted: Privacy, model: Double, problem: str
) -> None:
    with pytest.raises(LoadError, match=problem) as refused:
        compile_rules(wanted, model)
    assert "privacy.output.differentialPrivacy" in refused.value.message, reason


@pytest.mark.parametrize(
    ("reason", "changed"),
    [
        ("too much", {"epsilon": "21"}),
        ("nothing", {"epsilon": "0"}),
        ("more than the budget", {"epsilon": "2.5"}),
        ("an exponent", {"epsilon": "1e-3"}),
        ("one label", {"labels": ["0"]}),
        ("bounds of another mechanism", {"lower": "0"}),
        ("subjects without a key", {"budget": {"epsilon": "2", "period": "Day", "scope": "Subject"}}),
        ("a key for nobody", {"ledger": LEDGER | {"keyFile": "k"}}),
        ("plain HTTP", {"ledger": LEDGER | {"server": "http://api"}}),
    ],
)
def test_a_section_that_promises_nothing_is_refused_when_it_is_read(reason: str, changed: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        policy(LABEL | changed)


def test_what_is_reserved_outlives_a_policy_that_changes_elsewhere() -> None:
    before = compile_rules(policy(LABEL, "scores"), MODEL).promise
    same = compile_rules(replace_input(policy(LABEL, "scores")), MODEL, before=before).promise
    other = compile_rules(policy(LABEL | {"epsilon": "0.25"}, "scores"), MODEL, before=before).promise
    assert before is same
    assert before is not other


def replace_input(wanted: Privacy) -> Privacy:
    return msgspec.convert(
        msgspec.to_builtins(wanted) | {"input": {"maxElements": 100}, "policyGeneration": 2}, Privacy
    )


class Served:
    """One model under the policy, with a ledger in memory."""

    def __init__(self, section: Mapping[str, Any], dropped: str, limits: Limits | None = None) -> None:
        self.clock = Clock()
        self.store = Memory(lambda: self.clock.wall)
        rules = compile_rules(policy(section, dropped), MODEL)
        assert rules.promise is not None
        clocks = Clocks(lambda: self.clock.wall, lambda: self.clock.passed)
        budget = amount.parse(rules.promise.section.budget.epsilon)
        ledger = Ledger(self.store, Everybody(), Terms(budget, "Day"), clocks)
        self.promise = Promise(rules.promise.section, rules.promise._mechanism, ledger)
        self.metrics = Metrics()
        self.exchange = Exchange("tiny", "1", self.metrics, limits)
        self.exchange.serve(MODEL, None)
        self.exchange.govern(msgspec.structs.replace(rules, promise=self.promise))
        self.client = Client(self.exchange)
        self.client.app = App(self.exchange, door(), max_body_bytes=1 << 20)

    async def ask(self, rows: int, *, outputs: list[str] | None = None) -> tuple[int, dict[str, str], Any]:
        tensor = {"name": "x", "shape": [rows, 4], "datatype": "FP32", "data": [[0, 1, 0, 0]] * rows}
        body: dict[str, Any] = {"inputs": [tensor]}
        if outputs:
            body["outputs"] = [{"name": name} for name in outputs]
        status, headers, answer = await self.client.infer(json.dumps(body).encode())
        return status, headers, json.loads(answer)


@contextmanager
def served(section: Mapping[str, Any], dropped: str) -> Iterator[Served]:
    made = Served(section, dropped)
    yield made
    made.exchange.close()


async def test_each_row_costs_its_epsilon_and_the_end_is_told_with_its_time() -> None:
    with served(LABEL, "scores") as one:
        status, _, answer = await one.ask(3)
        (output,) = answer["outputs"]
        assert (200, "label", [3]) == (status, output["name"], output["shape"])
        assert set(output["data"]) <= {0, 1, 2}
        assert 1_500_000 == one.promise.ledger.spent <= one.store.spent(EVERYBODY, EVERYBODY)
        status, headers, answer = await one.ask(2)
        assert (403, str(12 * 3600)) == (status, headers["retry-after"])
        assert (
            "policy: epsilon-spent: the privacy budget is spent, it begins anew at 2026-11-26T00:00:00Z"
            == answer["error"]
        )
        assert 200 == (await one.ask(1))[0]
        status, headers, answer = await one.ask(5)
        assert (403, True) == (status, "epsilon-call-too-large" in answer["error"])
        assert "retry-after" not in headers


async def test_the_answers_are_random_and_within_their_bounds() -> None:
    with served(
        NUMBER | {"epsilon": "20", "budget": {"epsilon": "1000", "period": "Day", "scope": "All"}}, "label"
    ) as one:
        _, _, answer = await one.ask(50)  # 150 numbers, each inside its bounds with a probability of a half
        numbers = np.array(answer["outputs"][0]["data"])
        assert np.all((numbers >= 0) & (numbers <= 1))
        assert len(np.unique(numbers)) > 20, "each value has noise of its own"


async def test_what_is_dropped_is_not_to_be_had_and_costs_nothing() -> None:
    with served(LABEL, "scores") as one:
        status, _, answer = await one.ask(1, outputs=["scores"])
        assert (403, True) == (status, "output-withheld" in answer["error"])
        assert 0 == one.promise.ledger.spent


async def test_a_request_that_is_refused_before_the_model_sees_it_costs_nothing() -> None:
    with served(LABEL, "scores") as one:
        status, _, _ = await one.client.infer(b"{}")
        assert (400, 0) == (status, one.promise.ledger.spent)


async def test_a_full_queue_gives_back_what_was_paid_and_a_model_that_breaks_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with served(LABEL, "scores") as one:
        assert one.exchange._batcher is not None
        monkeypatch.setattr(one.exchange._batcher, "_max_queue", 0)
        assert 429 == (await one.ask(2))[0]
        assert 0 == one.promise.ledger.spent
    with served(LABEL, "scores") as one:

        def broken(inputs: Mapping[str, Array]) -> dict[str, Array]:
            raise ValueError("row 7")

        one.exchange.serve(replace(MODEL, compute=broken), None)
        status, _, answer = await one.ask(2)
        assert (500, False) == (status, "row 7" in answer["error"])
        assert 1_000_000 == one.promise.ledger.spent


async def test_a_model_that_answers_other_rows_than_it_was_asked_is_not_answered() -> None:
    with served(LABEL, "scores") as one:
        one.exchange.serve(replace(MODEL, batchable=False, compute=lambda x: {"label": np.zeros(9, np.int64)}), None)
        assert 500 == (await one.ask(1))[0]


async def test_without_a_ledger_nobody_is_answered() -> None:
    with served(LABEL, "scores") as one:
        one.store.away = True
        status, _, answer = await one.ask(1)
        assert (503, "policy: epsilon-ledger-unavailable") == (status, answer["error"][:34])
        assert "away" == one.exchange.report_epsilon()["failure"]  # type: ignore[index]


async def test_what_was_spent_is_in_report_and_metrics_and_no_subject_is() -> None:
    with served(LABEL, "scores") as one:
        await one.ask(2)
        expected = {"policy": "standard", "spent": "1", "reserved": "0.03125", "remaining": "1", "failure": ""}
        assert expected == one.exchange.report_epsilon()
        text = one.metrics.exposition().decode()
        assert 'modelward_privacy_epsilon_spent_total{policy="standard"} 1.0' in text
        assert 'modelward_privacy_epsilon_remaining{policy="standard"} 1.0' in text


@pytest.fixture
async def stub() -> AsyncIterator[Any]:
    with served(LABEL, "scores") as one:
        server = grpc_server.create(one.exchange, door(), max_body_bytes=1 << 20)
        port = server.add_port("127.0.0.1", 0)
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield pb_grpc.GRPCInferenceServiceStub(channel)
        await server.stop(0)


async def test_grpc_says_the_same(stub: Any) -> None:
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[4, 4])
    tensor.contents.fp32_contents.extend([1.0] * 16)
    request = pb.ModelInferRequest(model_name="tiny", inputs=[tensor])
    answer = await stub.ModelInfer(request)
    assert ["label"] == [output.name for output in answer.outputs]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.ModelInfer(request)
    told = "policy: epsilon-spent: the privacy budget is spent, it begins anew at 2026-11-26T00:00:00Z"
    assert (grpc.StatusCode.PERMISSION_DENIED, told) == (refused.value.code(), refused.value.details())
    assert str(12 * 3600) == dict(refused.value.trailing_metadata())["retry-after"]
