"""Rules in the conductor: a request keeps its own from beginning to end, and nothing foreign is told or logged while a policy holds."""

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Mapping

import numpy as np
import pytest

from modelward_runtime.caller import ANONYMOUS
from modelward_runtime.codec import Answer, RestCall
from modelward_runtime.errors import ApiError, InferenceFailed, OutputWithheld
from modelward_runtime.exchange import Exchange
from modelward_runtime.metrics import Metrics
from modelward_runtime.model import Array, Face, TensorSpec
from modelward_runtime.privacy.rules import Rules
from modelward_runtime.states import Decoded
from tests.privacy_policies import rules
from tests.runtime_models import Double
from tests.until import PATIENCE


class Held:
    """A model that waits, then gives its input back as `y` and twice that as `z`."""

    def __init__(self) -> None:
        self.go_on, self.started = threading.Event(), threading.Event()
        self.go_on.set()
        both = (TensorSpec("y", "FP32", (-1, 4)), TensorSpec("z", "FP32", (-1, 4)))
        self.model = Double(self.compute, (TensorSpec("x", "FP32", (-1, 4)),), both)
        self.failure: Exception | None = None

    def compute(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self.started.set()
        assert self.go_on.wait(PATIENCE)
        if self.failure:
            raise self.failure
        return {"y": inputs["x"], "z": inputs["x"] * 2}


def made(held: Held, **sections: object) -> Rules:
    return rules(held.model, **sections)


@pytest.fixture
async def held() -> Held:
    return Held()


@pytest.fixture
async def exchange(held: Held) -> AsyncIterator[Exchange]:
    one = Exchange("tiny", "1", Metrics())
    one.serve(held.model, None)
    yield one
    one.close()


def call(*outputs: str) -> RestCall:
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1.26, 2, 3, 4]}
    body = {"inputs": [tensor], "outputs": [{"name": name} for name in outputs]}
    return RestCall("tiny", "", json.dumps(body).encode(), None)


async def ask(exchange: Exchange, *outputs: str) -> dict[str, list[float]]:
    answer: Answer = await exchange.infer(call(*outputs), ANONYMOUS, asyncio.get_running_loop().time() + 10)
    return {output["name"]: output["data"] for output in json.loads(answer.body)["outputs"]}


async def test_a_request_is_released_by_the_rules_that_cleared_it(exchange: Exchange, held: Held) -> None:
    exchange.govern(made(held, input={"tensors": [{"name": "x", "columns": [{"indices": [3], "action": "Zero"}]}]}))
    held.go_on.clear()
    first = asyncio.ensure_future(ask(exchange))
    assert await asyncio.to_thread(held.started.wait, 10)
    exchange.govern(made(held, output={"tensors": [{"name": "z", "drop": True}, {"name": "y", "decimals": 1}]}))
    held.go_on.set()
    np.testing.assert_allclose([1.26, 2, 3, 0], (await first)["y"], rtol=1e-6)
    assert {"y", "z"} == (await first).keys(), "the new rules must not reach back"
    second = await ask(exchange)
    assert {"y"} == second.keys()
    np.testing.assert_allclose([1.3, 2, 3, 4], second["y"], rtol=1e-6)
    with pytest.raises(OutputWithheld, match="policy: output-withheld: output 'z' is not returned"):
        await ask(exchange, "z")
    assert ["y"] == [spec.name for spec in exchange.describe("tiny", "").outputs]


async def test_what_is_withheld_is_not_even_computed(exchange: Exchange, held: Held) -> None:
    asked: list[tuple[str, ...]] = []

    class Spy(Double):
        def run(self, inputs: Mapping[str, Array], outputs: object) -> list[Array]:
            asked.append(tuple(outputs))  # type: ignore[arg-type]  # the protocol's sequence of names
            return super().run(inputs, asked[-1])

    one = Exchange("tiny", "1", Metrics())
    one.serve(Spy(held.compute, held.model.inputs, held.model.outputs), None)
    one.govern(made(held, output={"tensors": [{"name": "z", "drop": True}]}))
    await ask(one)
    one.close()
    assert [("y",)] == asked


@pytest.mark.parametrize("governed", [True, False])
async def test_the_models_words_are_kept_under_a_policy(exchange: Exchange, held: Held, *, governed: bool) -> None:
    held.failure = ValueError("indices element out of data bounds, idx=4242")
    if governed:
        exchange.govern(made(held))
    with pytest.raises(InferenceFailed) as caught:
        await ask(exchange)
    assert governed == ("4242" not in caught.value.message)
    assert governed == caught.value.message.startswith("policy: model-failed: ")


async def test_a_flaw_of_ours_is_told_by_its_kind_and_place(
    exchange: Exchange, held: Held, caplog: pytest.LogCaptureFixture
) -> None:
    value = "4242"

    class Broken(RestCall):
        def decode(self, face: Face) -> Decoded:
            raise KeyError(value, face.name)

    exchange.govern(made(held))
    with caplog.at_level(logging.ERROR), pytest.raises(ApiError, match=r"^internal error$") as caught:
        await exchange.infer(Broken("tiny", "", b"{}", None), ANONYMOUS, asyncio.get_running_loop().time() + 10)
    (record,) = caplog.records
    assert "KeyError" == record.__dict__["type"]
    assert "test_privacy_exchange.py" in record.__dict__["where"]
    assert value not in str(record.__dict__)
    assert caught.value.__suppress_context__
