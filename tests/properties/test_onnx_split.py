"""A model whose weights were moved to a second file is the same model: to the onnx package, and to ONNX Runtime."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.onnxsplit import LEAST, SplitModel
from tests import onnx_models

DTYPES = [np.float32, np.int64, np.uint8, np.float16, np.bool_]


def split(made: onnx.ModelProto, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    whole = SplitModel(onnx_models.save(made, folder / "whole.onnx"), "model.onnx.data")
    (folder / "model.onnx").write_bytes(b"".join(whole.graph()))
    (folder / "model.onnx.data").write_bytes(b"".join(whole.data()))
    whole.close()
    (folder / "whole.onnx").unlink()
    return folder / "model.onnx"


def with_raw(made: onnx.ModelProto) -> onnx.ModelProto:
    """What `onnx.load` makes of external data: in raw_data again, the location's default written out."""
    copied = onnx.ModelProto()
    copied.CopyFrom(made)
    for tensor in copied.graph.initializer:
        tensor.ClearField("data_location")
    return copied


@st.composite
def models(draw: st.DrawFn) -> onnx.ModelProto:
    tensors = []
    for index in range(draw(st.integers(0, 6))):
        dtype = np.dtype(draw(st.sampled_from(DTYPES)))
        size = draw(st.integers(0, 40) | st.sampled_from([LEAST - 1, LEAST, LEAST + 1, 5000, 70_001]))
        content = np.resize(np.arange(251), size).astype(dtype)
        tensor = numpy_helper.from_array(content, f"w{index}")
        if draw(st.booleans()):
            tensor.doc_string = "a word"
        tensors.append(tensor)
    tensors.append(numpy_helper.from_array(np.array(["text"] * 400, dtype=object), "text"))
    tensors.append(helper.make_tensor("plain", TensorProto.FLOAT, [400], [1.5] * 400))  # float_data, not raw
    made = onnx_models.linear()
    draw(st.randoms(use_true_random=False)).shuffle(tensors)
    made.graph.initializer.extend(tensors)
    made.doc_string, made.producer_name = "behind the graph", "tests"
    return made


@given(models())
@settings(max_examples=60)
def test_the_onnx_package_reads_the_same_model(tmp_path_factory: pytest.TempPathFactory, made: onnx.ModelProto) -> None:
    file = split(made, tmp_path_factory.mktemp("split"))
    assert with_raw(onnx.load(file)) == made
    for tensor in onnx.load(file, load_external_data=False).graph.initializer:
        places = {entry.key: entry.value for entry in tensor.external_data}
        assert bool(places) == (len(next(t.raw_data for t in made.graph.initializer if t.name == tensor.name)) >= LEAST)
        if places:
            assert places["location"] == "model.onnx.data"
            assert int(places["offset"]) % (4096 if int(places["length"]) >= 65_536 else 64) == 0


def runs(file: Path) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    x = np.linspace(0, 1, 8, dtype=np.float32).reshape(2, 4)
    found: list[np.ndarray] = session.run(None, {"x": x})
    return found


def folding() -> onnx.ModelProto:
    """Weights and indices large enough to move, that ONNX Runtime works with before the first run."""
    nodes = [
        helper.make_node("Gather", ["table", "rows"], ["picked"]),
        helper.make_node("Transpose", ["picked"], ["turned"]),
        helper.make_node("MatMul", ["x", "turned"], ["y"]),
    ]
    weights = [
        numpy_helper.from_array(np.linspace(-1, 1, 1200, dtype=np.float32).reshape(300, 4), "table"),
        numpy_helper.from_array(np.arange(200, dtype=np.int64), "rows"),
    ]
    x = onnx_models.value("x", TensorProto.FLOAT, ["N", 4])
    y = onnx_models.value("y", TensorProto.FLOAT, ["N", 200])
    return onnx_models.model(nodes, [x], [y], weights)


MODELS = {"nothing to move": onnx_models.linear(), "a loop over weights": onnx_models.slow(), "constants": folding()}


@pytest.mark.parametrize("made", MODELS.values(), ids=MODELS.keys())
def test_onnx_runtime_answers_the_same(made: onnx.ModelProto, tmp_path: Path) -> None:
    whole = onnx_models.save(made, tmp_path / "whole" / "model.onnx")
    for expected, found in zip(runs(whole), runs(split(made, tmp_path / "split")), strict=True):
        np.testing.assert_array_equal(expected, found)


def test_a_cut_file_is_no_model(tmp_path: Path) -> None:
    content = onnx_models.slow().SerializeToString()
    (tmp_path / "cut.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(LoadError) as caught:
        SplitModel(tmp_path / "cut.onnx", "x")
    assert caught.value.reason is LoadReason.INVALID_MODEL
