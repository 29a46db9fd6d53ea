"""What a model is tried on before it serves: whether rows may share a run, and every size that runs will have."""

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelward_runtime import engine
from modelward_runtime.engine import OnnxModel
from modelward_runtime.hardware import Hardware
from modelward_runtime.warming import are_independent, warm_up
from tests.onnx_models import identity, linear, model, save, slow, value
from tests.runtime_models import ONNX_TYPES

ROWS = np.arange(20, dtype=np.float32).reshape(5, 4)


def edges(inputs: int = TensorProto.FLOAT) -> tuple[list[onnx.ValueInfoProto], list[onnx.ValueInfoProto]]:
    return [value("x", inputs, ["N", 4])], [value("y", TensorProto.FLOAT, ["N", 4])]


def centred() -> onnx.ModelProto:
    """y = x minus its mean over the rows: as many rows as come, and none computed apart."""
    axes = numpy_helper.from_array(np.array([0], np.int64), "axes")
    nodes = [helper.make_node("ReduceMean", ["x", "axes"], ["m"]), helper.make_node("Sub", ["x", "m"], ["y"])]
    return model(nodes, *edges(), [axes], opset=18)


def counted() -> onnx.ModelProto:
    """y = x plus the number of its row."""
    ones = numpy_helper.from_array(np.array([[1.0]], np.float32), "one")
    axis = numpy_helper.from_array(np.array(0, np.int64), "axis")
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=1),
        helper.make_node("Mul", ["x", "zero"], ["z"]),
        helper.make_node("Add", ["z", "one"], ["ones"]),
        helper.make_node("CumSum", ["ones", "axis"], ["n"]),
        helper.make_node("Add", ["x", "n"], ["y"]),
    ]
    zero = numpy_helper.from_array(np.array(0.0, np.float32), "zero")
    return model(nodes, *edges(), [ones, axis, zero])


def picky() -> onnx.ModelProto:
    """Looks rows up in a table that has only the place 7 …, so that 0 and 1 are outside of it."""
    table = numpy_helper.from_array(np.ones((1, 4), np.float32), "table")
    nodes = [
        helper.make_node("Sub", ["x", "seven"], ["place"]),
        helper.make_node("GatherND", ["table", "place"], ["y"]),
    ]
    seven = numpy_helper.from_array(np.array([7], np.int64), "seven")
    inputs = [value("x", TensorProto.INT64, ["N", 1])]
    return model(nodes, inputs, [value("y", TensorProto.FLOAT, ["N", 4])], [table, seven])


def lettered() -> onnx.ModelProto:
    """A text for each row, which is no array any more when it stands alone."""
    inputs, outputs = [value("x", TensorProto.STRING, ["N"])], [value("y", TensorProto.STRING, ["N"])]
    return model([helper.make_node("Identity", ["x"], ["y"])], inputs, outputs)


def load(made: onnx.ModelProto, folder: Path) -> OnnxModel:
    return engine.load(save(made, folder / "model.onnx"), "m", "1", hardware=Hardware(processors=1, quota=1.0))


@pytest.mark.parametrize(
    ("made", "expected", "reason"),
    [
        (linear(), True, "a matrix product computes each row apart"),
        (centred(), False, "a mean over rows tells one caller of another"),
        (counted(), False, "an answer that depends on the place in the batch is not the caller's own"),
        (picky(), None, "made-up values are not taken"),
        (lettered(), True, "a text is compared as it is"),
    ],
    ids=["linear", "centred", "counted", "picky", "lettered"],
)
def test_rows_share_runs_only_where_they_are_computed_apart(
    made: onnx.ModelProto, expected: bool | None, reason: str, tmp_path: Path
) -> None:
    loaded = load(made, tmp_path)
    assert expected is are_independent(loaded), reason
    assert (expected is not False) == warm_up(loaded, 8).batchable, reason
    assert warm_up(loaded).batchable, "nothing is shared, nothing is tried"


@pytest.mark.parametrize("datatype", [*ONNX_TYPES.values(), TensorProto.BFLOAT16], ids=TensorProto.DataType.Name)
def test_every_type_can_be_tried(datatype: int, tmp_path: Path) -> None:
    assert are_independent(load(identity(datatype), tmp_path))


def test_a_bfloat16_of_others_is_found_out(tmp_path: Path) -> None:
    axes = numpy_helper.from_array(np.array([0], np.int64), "axes")
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["f", "axes"], ["m"]),
        helper.make_node("Sub", ["f", "m"], ["d"]),
        helper.make_node("Cast", ["d"], ["y"], to=TensorProto.BFLOAT16),
    ]
    x, y = (value(name, TensorProto.BFLOAT16, ["N", 4]) for name in ("x", "y"))
    assert are_independent(load(model(nodes, [x], [y], [axes], opset=18), tmp_path)) is False


@pytest.mark.parametrize("columns", [1, 2, 3, 8])
def test_a_sum_over_whole_numbers_of_others_is_found_out(columns: int, tmp_path: Path) -> None:
    axes = numpy_helper.from_array(np.array([0], np.int64), "axes")
    nodes = [helper.make_node("ReduceSum", ["x", "axes"], ["s"]), helper.make_node("Add", ["x", "s"], ["y"])]
    x, y = (value(name, TensorProto.INT64, ["N", columns]) for name in ("x", "y"))
    made = model(nodes, [x], [y], [axes], opset=18)
    assert are_independent(load(made, tmp_path)) is False, "0 and 1 must not come in pairs whose sums are alike"


def test_who_depends_on_neighbours_is_told_and_served_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    loaded = warm_up(load(centred(), tmp_path), 8, padded=True)
    assert "depends on the rows beside it" in caplog.text
    assert () == loaded.sizes
    np.testing.assert_allclose(ROWS - ROWS.mean(axis=0), loaded.run({"x": ROWS}, ["y"])[0], rtol=1e-6)


def test_a_model_that_cannot_be_tried_is_not_padded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        loaded = warm_up(load(picky(), tmp_path), 8, padded=True)
    assert () == loaded.sizes
    assert "runs are not padded" in caplog.text
    assert [[1, 1, 1, 1]] == loaded.run({"x": np.array([[7]])}, ["y"])[0].tolist()


@pytest.mark.parametrize("rows", range(7))
def test_padded_runs_answer_what_was_asked_and_no_more(rows: int, tmp_path: Path) -> None:
    bare = load(linear(), tmp_path)
    padded = warm_up(bare, 5, padded=True)
    assert (1, 2, 4, 5) == padded.sizes
    seen: list[int] = []

    class Spy:
        def run(self, outputs: list[str], inputs: dict[str, np.ndarray], options: object) -> list[np.ndarray]:
            seen.append(len(inputs["x"]))
            found: list[np.ndarray] = bare.session.run(outputs, inputs, options)
            return found

    x = np.random.default_rng(rows).random((rows, 4), np.float32)
    spied = OnnxModel("m", "1", bare.inputs, bare.outputs, "CPU", 1, Spy(), sizes=padded.sizes)
    (answer,) = spied.run({"x": x}, ["y"])
    np.testing.assert_allclose(bare.run({"x": x}, ["y"])[0], answer, rtol=1e-6)
    assert [{0: 0, 3: 4, 6: 6}.get(rows, rows)] == seen, "none and too many run as they are"


def test_bound_runs_answer_as_unbound_ones_do_for_every_size_and_from_every_thread(tmp_path: Path) -> None:
    bare = load(linear(), tmp_path)
    bound = warm_up(bare, 4, padded=True, graphs=True, device="cpu")
    assert {((1, 4),), ((2, 4),), ((4, 4),)} == bound.bound.keys()

    def ask(seed: int) -> tuple[np.ndarray, np.ndarray]:
        x = np.random.default_rng(seed).random((seed % 4 + 1, 4), np.float32)
        return x, bound.run({"x": x}, ["y"])[0]

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(ask, range(200)))
    for x, answer in answers:
        np.testing.assert_allclose(bare.run({"x": x}, ["y"])[0], answer, rtol=1e-6)


def test_a_fixed_shape_is_bound_without_any_batching(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    weights = numpy_helper.from_array(np.eye(4, dtype=np.float32) * 3, "w")
    shapes = [value("x", TensorProto.FLOAT, [2, 4])], [value("y", TensorProto.FLOAT, [2, 4])]
    bound = warm_up(load(model([node], *shapes, [weights]), tmp_path), device="cpu")
    assert [((2, 4),)] == list(bound.bound)
    np.testing.assert_array_equal(ROWS[:2] * 3, bound.run({"x": ROWS[:2]}, ["y"])[0])


@pytest.mark.parametrize(
    "made", [identity(TensorProto.STRING), identity(TensorProto.BFLOAT16), slow()], ids=["text", "bfloat16", "loop"]
)
def test_what_numpy_or_the_shapes_do_not_tell_is_not_bound(made: onnx.ModelProto, tmp_path: Path) -> None:
    assert not warm_up(load(made, tmp_path), 4, padded=True, device="cpu").bound
