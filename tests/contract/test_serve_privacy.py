"""A privacy policy through the real command, over REST and gRPC: what comes in, what goes out, what is said, and how policies change."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from tests.onnx_models import model, save, value
from tests.processes import POLICY, Process, call, run
from tests.waiting import wait_for

pytestmark = pytest.mark.process

CARD = "4242424242424242"
PRIVACY: dict[str, Any] = {
    "policy": "standard",
    "policyGeneration": 3,
    "input": {
        "maxElements": 1000,
        "maxTextBytes": 200_000,
        "tensors": [
            {"name": "x", "nonFinite": "Reject",
             "columns": [{"names": ["age"], "minimum": "0", "maximum": "120"}, {"indices": [3], "action": "Zero"}]},
            {"name": "w", "action": "Drop"},
        ],
        "pii": [{"kinds": ["Email", "IPAddress"], "action": "Mask"}, {"kinds": ["PaymentCard"], "action": "Reject"},
                {"kinds": ["IBAN"], "action": "Hash"}],
        "hashKeyFile": "KEY",
    },
    "output": {"tensors": [{"name": "probabilities", "topK": 1, "decimals": 2}, {"name": "embedding", "drop": True}]},
}  # fmt: skip


def classifier() -> onnx.ModelProto:
    """Gives back what it sees, beside scores of three classes; `w` has a default, `at` is an index that can be out of bounds."""
    weights = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [9, 9, 9]], np.float32)
    nodes = [
        helper.make_node("Mul", ["x", "w"], ["xw"]),
        helper.make_node("MatMul", ["xw", "weights"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"]),
        helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
        helper.make_node("Identity", ["xw"], ["embedding"]),
        helper.make_node("Identity", ["text"], ["seen"]),
        helper.make_node("Gather", ["table", "at"], ["looked_up"]),
    ]
    inputs = [value("x", TensorProto.FLOAT, ["n", 4]), value("text", TensorProto.STRING, ["n", 1]), value("at", TensorProto.INT64, ["n"]),
              value("w", TensorProto.FLOAT, [1])]  # fmt: skip
    outputs = [
        value("label", TensorProto.INT64, ["n"]), value("probabilities", TensorProto.FLOAT, ["n", 3]),
        value("embedding", TensorProto.FLOAT, ["n", 4]), value("seen", TensorProto.STRING, ["n", 1]),
        value("looked_up", TensorProto.FLOAT, ["n"]),
    ]  # fmt: skip
    made = model(nodes, inputs, outputs)
    tables = {"weights": weights, "table": np.zeros(4, np.float32), "w": np.ones(1, np.float32)}
    made.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in tables.items())
    onnx.helper.set_model_props(made, {"feature_names": '["age","b","c","d"]'})
    return made


def policy(folder: Path, generation: int = 1, **changes: Any) -> str:
    (folder / "key").write_bytes(b"k" * 32)
    privacy = {**PRIVACY, **changes}
    privacy["input"] = {**privacy["input"], "hashKeyFile": str(folder / "key")}
    return json.dumps({**POLICY, "generation": f"{generation:012d}", "privacy": privacy})


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("privacy")
    save(classifier(), folder / "model/model.onnx")
    with run(folder, {"directory": str(folder / "model")}, policy=policy(folder)) as process:
        process.until_ready()
        yield process


def written(process: Process) -> str:
    """What its log says, but for the seconds that things took: their digits are chance, and may be those that are looked for."""
    return re.sub(r'":[0-9]+[.][0-9]+', "", process.log())


class Refused(Exception):
    """An error answer: the code as the transport spells it, and the message."""


def over_rest(
    process: Process, x: list[float], text: str, at: int, wanted: list[str], extra: dict[str, list[float]]
) -> dict[str, Any]:
    inputs = [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": x},
              {"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": [text]},
              {"name": "at", "shape": [1], "datatype": "INT64", "data": [at]}]  # fmt: skip
    inputs += [{"name": name, "shape": [len(data)], "datatype": "FP32", "data": data} for name, data in extra.items()]
    body = json.dumps({"inputs": inputs, "outputs": [{"name": name} for name in wanted]}).encode()
    status, _, answer = call(process.ports[0], "POST", "/v2/models/m/infer", body)
    if status != 200:
        raise Refused(str(status), json.loads(answer)["error"])
    return {output["name"]: output["data"] for output in json.loads(answer)["outputs"]}


def over_grpc(
    process: Process, x: list[float], text: str, at: int, wanted: list[str], extra: dict[str, list[float]]
) -> dict[str, Any]:
    message = pb.ModelInferRequest(model_name="m")
    message.inputs.add(name="x", datatype="FP32", shape=[1, 4]).contents.fp32_contents.extend(x)
    message.inputs.add(name="text", datatype="BYTES", shape=[1, 1]).contents.bytes_contents.append(text.encode())
    message.inputs.add(name="at", datatype="INT64", shape=[1]).contents.int64_contents.append(at)
    for name, data in extra.items():
        message.inputs.add(name=name, datatype="FP32", shape=[len(data)]).contents.fp32_contents.extend(data)
    for name in wanted:
        message.outputs.add(name=name)
    with grpc.insecure_channel(f"127.0.0.1:{process.ports[1]}") as channel:
        try:
            answer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(message)
        except grpc.RpcError as error:
            raise Refused(error.code().name, error.details()) from None
    fields = {"INT64": "int64_contents", "FP32": "fp32_contents", "BYTES": "bytes_contents"}
    told = {output.name: list(getattr(output.contents, fields[output.datatype])) for output in answer.outputs}
    return {name: [item.decode() if isinstance(item, bytes) else item for item in data] for name, data in told.items()}


TRANSPORTS = {"rest": over_rest, "grpc": over_grpc}
X = [40.0, 41.0, 0.0, 5.0]


@pytest.fixture(params=sorted(TRANSPORTS))
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def ask(
    process: Process,
    transport: str,
    *,
    x: list[float] = X,
    text: str = "",
    at: int = 0,
    wanted: tuple[str, ...] = (),
    **extra: list[float],
) -> dict[str, Any]:
    return TRANSPORTS[transport](process, x, text, at, list(wanted), extra)


def test_the_model_sees_only_what_it_may_and_the_caller_too(one: Process, transport: str) -> None:
    answer = ask(one, transport, text="jo@example.com at 203.0.113.77: GB29 NWBK 6016 1331 9268 19")
    assert ["label", "probabilities", "seen", "looked_up"] == list(answer)
    assert [1] == answer["label"], "with column 3 the scores would be the same all over"
    np.testing.assert_allclose([0, 0.73, 0], answer["probabilities"], atol=1e-6)
    assert re.fullmatch(r"\[EMAIL\] at \[IP_ADDRESS\]: \[IBAN:[a-p]{16}\]", answer["seen"][0])
    again = ask(one, transport, text="gb29nwbk60161331926819", wanted=("seen",))
    assert answer["seen"][0].endswith(again["seen"][0])


def test_what_is_dropped_may_be_sent_and_does_nothing(one: Process, transport: str) -> None:
    assert ask(one, transport) == ask(one, transport, w=[1000.0])
    with pytest.raises(Refused, match=r"inputs\[[0-9]\] is not one of the model's"):
        ask(one, transport, v=[1.0])


REFUSALS: list[tuple[str, dict[str, Any], str, str, str]] = [
    ("a card", {"text": f"pay {CARD}"}, "400", "INVALID_ARGUMENT", "policy: pii-rejected: input 'text' holds PaymentCard (element 0)"),
    ("a card in disguise", {"text": "４２４２ 4242\u200b4242 4242"}, "400", "INVALID_ARGUMENT",
     "policy: pii-rejected: input 'text' holds PaymentCard (element 0)"),
    ("a range", {"x": [121.0, 0, 0, 0]}, "400", "INVALID_ARGUMENT",
     "policy: out-of-range: input 'x', column 0: a value is not between 0 and 120"),
    ("too much text", {"text": "x" * 200_001}, "400", "INVALID_ARGUMENT",
     "policy: text-too-long: 200001 bytes of text were sent, 200000 may be"),
    ("an output that is withheld", {"wanted": ("label", "embedding")}, "403", "PERMISSION_DENIED",
     "policy: output-withheld: output 'embedding' is not returned"),
    ("a model that fails", {"at": 4242}, "500", "INTERNAL",
     "policy: model-failed: the model failed on this input; what it said is not repeated"),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "said", "status", "code", "message"), REFUSALS, ids=[row[0] for row in REFUSALS])
def test_refusals_read_the_same_and_repeat_nothing(
    one: Process, transport: str, reason: str, said: dict[str, Any], status: str, code: str, message: str
) -> None:
    with pytest.raises(Refused) as caught:
        ask(one, transport, **said)
    assert ((status if transport == "rest" else code), message) == caught.value.args, reason
    assert "4242" not in written(one)


def test_nan_is_refused_where_the_wire_can_say_it(one: Process) -> None:
    with pytest.raises(Refused) as caught:
        ask(one, "grpc", x=[1.0, float("nan"), 0.0, 0.0])
    assert "policy: non-finite: input 'x' has NaN or an infinity" == caught.value.args[1]


def test_metadata_say_what_can_be_had(one: Process) -> None:
    told = json.loads(one.get("/v2/models/m", admin=False)[1])
    assert ["x", "text", "at"] == [tensor["name"] for tensor in told["inputs"]]
    assert ["label", "probabilities", "seen", "looked_up"] == [tensor["name"] for tensor in told["outputs"]]
    with grpc.insecure_channel(f"127.0.0.1:{one.ports[1]}") as channel:
        answer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelMetadata(pb.ModelMetadataRequest(name="m"))
    assert [tensor["name"] for tensor in told["outputs"]] == [tensor.name for tensor in answer.outputs]


def test_rows_are_cleared_in_batches_too(one: Process) -> None:
    body = {"inputs": [{"name": "x", "shape": [2, 4], "datatype": "FP32", "data": [*X, *X]},
                       {"name": "text", "shape": [2, 1], "datatype": "BYTES", "data": ["my card 4242 4242", " 4242 4242 is"]},
                       {"name": "at", "shape": [2], "datatype": "INT64", "data": [0, 0]}]}  # fmt: skip
    status, _, answer = call(one.ports[0], "POST", "/v2/models/m/infer", json.dumps(body).encode())
    assert (400, "policy: pii-rejected: input 'text' holds PaymentCard (rows 0 and following, taken together)") == (
        status,
        json.loads(answer)["error"],
    )


def test_probes_are_answered_while_much_text_is_searched(tmp_path: Path) -> None:
    save(classifier(), tmp_path / "model/model.onnx")
    generous = {**PRIVACY["input"], "maxTextBytes": 1 << 30}
    with run(tmp_path, {"directory": str(tmp_path / "model")}, policy=policy(tmp_path, input=generous)) as process:
        process.until_ready()
        import threading  # noqa: PLC0415  this test only

        sending = threading.Thread(
            target=lambda: ask(process, "rest", text="jo@ex.c 4242 4242 a:b:c " * 400_000, wanted=("label",))
        )
        sending.start()
        slowest, answers = 0.0, set[int]()
        while sending.is_alive():
            slowest = max(slowest, wait_for(lambda: answers.add(process.get("/livez")[0]), process.child.pid).ours)
            time.sleep(0.01)
        sending.join()
        assert answers == {200}
        assert slowest < 1, "a probe's usual patience; what a busy machine makes anybody wait is not counted"


def test_policies_change_live_and_a_wrong_one_never_replaces_the_last_good_one(tmp_path: Path) -> None:
    save(classifier(), tmp_path / "model/model.onnx")
    with run(tmp_path, {"directory": str(tmp_path / "model")}, policy=json.dumps(POLICY)) as process:
        process.until_ready()
        assert ["label", "probabilities", "embedding", "seen", "looked_up"] == list(ask(process, "rest"))
        with pytest.raises(Refused, match="idx=4242"):
            ask(process, "rest", at=4242)
        assert "4242" not in written(process), (
            "ONNX Runtime's own log must not hold callers' values even without a policy"
        )
        process.set_policy(policy(tmp_path, 2))
        process.until(lambda: process.report()["policyGeneration"] == f"{2:012d}")
        assert "embedding" not in ask(process, "rest")
        process.set_policy(policy(tmp_path, 3, output={"tensors": [{"name": "ghost", "drop": True}]}))
        report = process.until_report(lambda report: report["policyFailure"])
        assert f"{2:012d}" == report["policyGeneration"]
        assert "privacy.output.tensors[0].name: the model has no output 'ghost'" in report["policyFailure"]
        assert 200 == process.get("/readyz")[0]
        assert "embedding" not in ask(process, "rest"), "the last good policy holds"
        process.set_policy(json.dumps({**POLICY, "generation": "4"}))
        report = process.until_report(lambda report: report["policyGeneration"] == "4")
        assert report["policyFailure"] is None
        assert "embedding" in ask(process, "rest")


def test_a_model_without_a_policy_that_fits_is_not_ready_until_one_arrives(tmp_path: Path) -> None:
    save(classifier(), tmp_path / "model/model.onnx")
    ghost = {**PRIVACY["input"], "tensors": [{"name": "ghost", "action": "Zero"}]}
    with run(tmp_path, {"directory": str(tmp_path / "model")}, policy=policy(tmp_path, input=ghost)) as process:
        report = process.until_report(lambda report: (report["failure"] or {}).get("reason") == "PolicyUnsatisfiable")
        assert (False, "") == (report["failure"]["permanent"], report["policyGeneration"])
        assert "the model has no input 'ghost'" in report["failure"]["message"]
        assert 503 == process.get("/readyz")[0]
        assert 503 == process.get("/startupz")[0]
        assert 503 == call(process.ports[0], "GET", "/v2/health/ready")[0]
        with pytest.raises(Refused, match="not loaded yet"):
            ask(process, "rest")
        (tmp_path / "key").unlink()
        keyless = policy(tmp_path, 2)
        (tmp_path / "key").unlink()
        process.set_policy(keyless)
        process.until_failing(words="key: No such file")
        (tmp_path / "key").write_bytes(b"k" * 32)
        process.until_ready()
        report = process.report()
        assert (None, None, f"{2:012d}") == (report["failure"], report["policyFailure"], report["policyGeneration"])
        assert "embedding" not in ask(process, "rest")


def test_a_process_that_waits_for_a_policy_ends_when_it_is_told(tmp_path: Path) -> None:
    save(classifier(), tmp_path / "model/model.onnx")
    ghost = {**PRIVACY["input"], "tensors": [{"name": "ghost", "action": "Zero"}]}
    with run(tmp_path, {"directory": str(tmp_path / "model")}, policy=policy(tmp_path, input=ghost)) as process:
        process.until(lambda: process.report()["failure"])
        process.signal()
        assert 0 == process.exit_code()
