"""What stands at a graph's edge beside plain tensors: inputs that may be left out, maps of probabilities, and what cannot be served."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from modelward_runtime import engine
from modelward_runtime.errors import BadRequest, InferenceFailed, LoadError, LoadReason
from modelward_runtime.hardware import Hardware
from modelward_runtime.memory import Plaintext
from modelward_runtime.model import TensorSpec
from modelward_runtime.runs import run_alone
from modelward_runtime.states import Cleared, Raw
from tests import onnx_models
from tests.onnx_models import identity, optional, save, settable, value, zipmap

ONE = Hardware(processors=1, quota=1.0)
ROWS = np.array([[1, 2], [3, 4]], np.float32)


def load(made: onnx.ModelProto, folder: Path) -> engine.OnnxModel:
    return engine.load(save(made, folder / "model.onnx"), "m", "1", hardware=ONE)


def load_sealed(made: onnx.ModelProto) -> engine.OnnxModel:
    content = made.SerializeToString()
    with Plaintext("model.onnx") as source:
        source.allocate("model.onnx", len(content))[:] = content
        return engine.load(source, "m", "1", hardware=ONE)


def test_an_optional_input_may_be_left_out(tmp_path: Path) -> None:
    model = load(optional(), tmp_path)
    row = ("N", "")
    more = TensorSpec("more", "FP32", (-1, 2), optional=True, axes=row)
    assert (TensorSpec("x", "FP32", (-1, 2), axes=row), more) == model.inputs
    engine.warm_up(model)
    assert model.batchable
    np.testing.assert_array_equal(ROWS, model.run({"x": ROWS}, ["y"])[0])
    np.testing.assert_array_equal(3 * ROWS, model.run({"x": ROWS, "more": 3 * ROWS}, ["y"])[0])


def test_what_the_graph_has_a_value_for_is_the_callers_only_if_the_model_says_so(tmp_path: Path) -> None:
    """Exporters list weights among the inputs, and who may set one can read the others off the answers."""
    model = load(settable(""), tmp_path)
    x = TensorSpec("x", "FP32", (-1, 2), axes=("N", ""))
    assert (x,) == model.inputs
    assert {"factor", "offset"} == model.defaults
    model = load(settable("factor"), tmp_path)
    assert model.inputs == (x, TensorSpec("factor", "FP32", (1,), optional=True, axes=("",)))
    assert model.defaults == {"offset"}
    np.testing.assert_array_equal(2 * ROWS, model.run({"x": ROWS}, ["y"])[0])
    np.testing.assert_array_equal(5 * ROWS, model.run({"x": ROWS, "factor": np.array([5], np.float32)}, ["y"])[0])


def test_a_model_that_promises_an_optional_input_it_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="optional_inputs names 'faktor', for which the graph has no value") as caught:
        load(settable('["factor", "faktor"]'), tmp_path)
    assert (LoadReason.INVALID_MODEL, True) == (caught.value.reason, caught.value.permanent)


CLASSES = [("numbers", [0, -5, 7]), ("large numbers", [2**63 - 1, -(2**63), 0]), ("texts", ["b", "", "żółć"])]


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize(("reason", "classes"), CLASSES, ids=[row[0] for row in CLASSES])
def test_a_map_for_each_row_is_the_tensor_that_the_graph_made_it_of(
    tmp_path: Path, reason: str, classes: list[Any], *, sealed: bool
) -> None:
    made = zipmap(classes)
    model = load_sealed(made) if sealed else load(made, tmp_path)
    assert model.outputs == (TensorSpec("y", "FP32", (-1, 3), classes=tuple(classes)),), reason
    assert model.batchable
    engine.warm_up(model)
    rows = np.random.default_rng(3).standard_normal((4, 3)).astype(np.float32)
    rows[0] = [np.nan, np.inf, -0.0]
    (result,) = model.run({"x": rows}, ["y"])
    assert rows.tobytes() == result.tobytes()
    assert np.float32 == result.dtype
    assert (0, 3) == model.run({"x": rows[:0]}, ["y"])[0].shape


def with_bf16(made: onnx.ModelProto, *, comes_out: bool) -> onnx.ModelProto:
    """The model with another input, of BF16, that comes out as it is or as FP32."""
    kind = TensorProto.BFLOAT16 if comes_out else TensorProto.FLOAT
    made.graph.node.insert(0, helper.make_node("Cast", ["b"], ["b_out"], to=kind))
    made.graph.input.append(value("b", TensorProto.BFLOAT16, ["N"]))
    made.graph.output.append(value("b_out", kind, ["N"]))
    return made


TEXT = np.array([["a", "ö"]], object)


def test_bf16_may_go_in_beside_text_and_maps(tmp_path: Path) -> None:
    bits = np.array([0x3FC0], np.uint16)
    model = load(with_bf16(identity(TensorProto.STRING), comes_out=False), tmp_path)
    same, wide = model.run({"x": TEXT, "b": bits}, ["y", "b_out"])
    assert (TEXT.tolist(), [1.5]) == (same.tolist(), wide.tolist())
    model = load(with_bf16(zipmap([0, 1]), comes_out=False), tmp_path)
    (probabilities,) = model.run({"x": ROWS, "b": bits}, ["y"])
    assert ROWS.tolist() == probabilities.tolist()


def test_bf16_may_come_out_beside_text(tmp_path: Path) -> None:
    made = with_bf16(identity(TensorProto.INT64), comes_out=True)
    made.graph.node.append(helper.make_node("Cast", ["x"], ["text"], to=TensorProto.STRING))
    made.graph.output.append(value("text", TensorProto.STRING, ["N", 2]))
    bits, numbers = np.array([0x3FC0], np.uint16), np.array([[1, 2]])
    out, text = load(made, tmp_path).run({"x": numbers, "b": bits}, ["b_out", "text"])
    assert ([0x3FC0], [["1", "2"]]) == (out.tolist(), text.tolist())


def sequence_in() -> onnx.ModelProto:
    return onnx_models.model(
        [helper.make_node("ConcatFromSequence", ["x"], ["y"], axis=0)],
        [helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, None)],
        [value("y", TensorProto.FLOAT, None)],
    )


def optional_out() -> onnx.ModelProto:
    kind = helper.make_optional_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, ["N"]))
    node = helper.make_node("Optional", ["x"], ["y"])
    return onnx_models.model([node], [value("x", TensorProto.FLOAT, ["N"])], [helper.make_value_info("y", kind)])


def cast(kind: int) -> onnx.ModelProto:
    node = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)
    return onnx_models.model([node], [value("x", kind, ["N"])], [value("y", TensorProto.FLOAT, ["N"])], opset=21, ir=10)


REFUSED = [
    ("classes named twice", zipmap([1, 1]), "options={'zipmap': False}"),
    ("maps beside BF16", with_bf16(zipmap([0, 1]), comes_out=True), "the output 'y' is a sequence of maps, which cannot be served"),
    ("text beside BF16", with_bf16(identity(TensorProto.STRING), comes_out=True), "the input 'x' is text, which cannot be served"),
    ("a sequence in", sequence_in(), "the input 'x' is seq(tensor(float)), which cannot be served: the Open Inference Protocol "),
    ("what to do about a sequence", sequence_in(), "carries tensors only: use SplitToSequence behind an input that is one tensor"),
    ("an output that may be missing", optional_out(), "the output 'y' is optional(tensor(float)), which cannot be served: an answer has"),
    ("what to do about it", optional_out(), "an answer has all its outputs: end the graph with OptionalGetElement"),
    ("4-bit integers", cast(TensorProto.INT4), "the input 'x' is tensor(int4), which cannot be served: the Open "),
    ("what to do about integers", cast(TensorProto.INT4), "no such datatype. Inside the graph it may stay, at its edge convert it with a"),
    ("unsigned 4-bit integers", cast(TensorProto.UINT4), "the input 'x' is tensor(uint4)"),
    ("8-bit floats", cast(TensorProto.FLOAT8E5M2), "the input 'x' is tensor(float8e5m2)"),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "made", "message"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_cannot_be_served_is_refused_with_what_to_do(
    tmp_path: Path, reason: str, made: onnx.ModelProto, message: str
) -> None:
    with pytest.raises(LoadError) as caught:
        load(made, tmp_path)
    assert message in caught.value.message, reason
    assert (LoadReason.UNSUPPORTED_TYPES, True) == (caught.value.reason, caught.value.permanent), reason


def test_of_a_sealed_model_no_name_is_told() -> None:
    with pytest.raises(LoadError) as caught:
        load_sealed(settable("faktor"))
    assert "faktor" not in caught.value.message


def test_weights_may_have_types_that_callers_cannot_send(tmp_path: Path) -> None:
    weights = helper.make_tensor("w", TensorProto.INT4, [2], [1, -8])
    nodes = [helper.make_node("Cast", ["w"], ["f"], to=TensorProto.FLOAT), helper.make_node("Mul", ["x", "f"], ["y"])]
    edge = [value("x", TensorProto.FLOAT, ["N", 2])], [value("y", TensorProto.FLOAT, ["N", 2])]
    model = load(onnx_models.model(nodes, *edge, [weights], opset=21, ir=10), tmp_path)
    assert [[1, -16], [3, -32]] == model.run({"x": ROWS}, ["y"])[0].tolist()


def test_two_inputs_may_disagree_about_an_axis_of_one_name_where_the_graph_lets_them(tmp_path: Path) -> None:
    """ONNX Runtime holds nobody to such names, and exporters give them freely: what fits is the operators' to say."""
    node = helper.make_node("Concat", ["a", "b"], ["y"], axis=0)
    inputs = [value(name, TensorProto.FLOAT, ["N", 2]) for name in ("a", "b")]
    model = load(onnx_models.model([node], inputs, [value("y", TensorProto.FLOAT, ["M", 2])]), tmp_path)
    assert (3, 2) == model.run({"a": ROWS, "b": ROWS[:1]}, ["y"])[0].shape


def test_a_run_that_fails_over_axes_that_differ_is_the_callers_mistake_and_names_them(tmp_path: Path) -> None:
    node = helper.make_node("Add", ["a", "b"], ["y"])
    inputs = [value("a", TensorProto.FLOAT, ["N", 2]), value("b", TensorProto.FLOAT, ["N", 2])]
    made = onnx_models.model([node], inputs, [value("y", TensorProto.FLOAT, ["N", 2])])
    for model in (load(made, tmp_path), load_sealed(made)):
        one = np.zeros((1, 2), np.float32)
        assert isinstance(run_alone(model, Cleared({"a": ROWS, "b": one}, ("y",))), Raw), "it is broadcast"
        failed = run_alone(model, Cleared({"a": ROWS, "b": np.zeros((3, 2), np.float32)}, ("y",)))
        assert isinstance(failed, BadRequest)
        assert failed.message == "axis 0 of input 'b' is 3, and axis 0 of input 'a' is 2: the model takes them alike"


def test_other_failures_are_the_models(tmp_path: Path) -> None:
    node = helper.make_node("Reshape", ["x", "s"], ["y"])
    shape = helper.make_tensor("s", TensorProto.INT64, [1], [7])
    edge = [value("x", TensorProto.FLOAT, ["N"])], [value("y", TensorProto.FLOAT, [7])]
    failed = run_alone(load(onnx_models.model([node], *edge, [shape]), tmp_path), Cleared({"x": ROWS[0]}, ("y",)))
    assert isinstance(failed, InferenceFailed)


@pytest.mark.parametrize(
    ("kind", "scalar"),
    [
        (TensorProto.FLOAT, np.array(7, np.float32)),
        (TensorProto.BFLOAT16, np.array(7, np.uint16)),
        (TensorProto.STRING, np.array("7", object)),
    ],
)
def test_scalars_and_empty_batches(tmp_path: Path, kind: int, scalar: Any) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    model = load(onnx_models.model([node], [value("x", kind, [])], [value("y", kind, [])]), tmp_path)
    (result,) = model.run({"x": scalar}, ["y"])
    assert (scalar.tolist(), ()) == (result.tolist(), result.shape)
    (empty,) = load(identity(kind), tmp_path).run({"x": np.zeros((0, 2), scalar.dtype)}, ["y"])
    assert (0, 2) == empty.shape
