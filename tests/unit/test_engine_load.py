"""Sessions: what a model takes and gives, what ONNX Runtime refuses in words that tell what to do, and warm-up."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from modelward_runtime import engine, providers
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.hardware import Hardware
from modelward_runtime.model import TensorSpec
from tests import onnx_models
from tests.onnx_models import WEIGHTS, identity, linear, save, value

ONE = Hardware(processors=1, quota=1.0)


def load(made: onnx.ModelProto, folder: Path, **options: Any) -> engine.OnnxModel:
    return engine.load(save(made, folder / "model.onnx"), "m", "1", hardware=ONE, **options)


def test_a_model_predicts_as_numpy_does(tmp_path: Path) -> None:
    model = load(linear(), tmp_path)
    rows = np.array([[1, 2, 3, 4], [0, 0, 0, 1]], np.float32)
    (result,) = model.run({"x": rows}, ["y"])
    np.testing.assert_allclose(rows @ WEIGHTS, result)
    assert model.inputs == (TensorSpec("x", "FP32", (-1, 4), axes=("N", "")),)
    assert model.outputs == (TensorSpec("y", "FP32", (-1, 3), axes=("N", "")),)
    assert model.batchable
    assert model.execution_provider == "CPUExecutionProvider"


def test_weights_in_another_file_are_loaded(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(WEIGHTS.tobytes())
    model = load(onnx_models.external("weights.bin", offset=0, length=48), tmp_path)
    (result,) = model.run({"x": np.eye(4, dtype=np.float32)}, ["y"])
    np.testing.assert_allclose(WEIGHTS, result)


TYPES = [
    (TensorProto.BOOL, "BOOL", np.array([[True, False]])),
    (TensorProto.UINT8, "UINT8", np.array([[1, 255]], np.uint8)),
    (TensorProto.UINT16, "UINT16", np.array([[1, 2]], np.uint16)),
    (TensorProto.UINT32, "UINT32", np.array([[1, 2]], np.uint32)),
    (TensorProto.UINT64, "UINT64", np.array([[1, 2**63]], np.uint64)),
    (TensorProto.INT8, "INT8", np.array([[-1, 2]], np.int8)),
    (TensorProto.INT16, "INT16", np.array([[-1, 2]], np.int16)),
    (TensorProto.INT32, "INT32", np.array([[-1, 2]], np.int32)),
    (TensorProto.INT64, "INT64", np.array([[-1, 2]], np.int64)),
    (TensorProto.FLOAT16, "FP16", np.array([[0.5, 2]], np.float16)),
    (TensorProto.FLOAT, "FP32", np.array([[0.5, 2]], np.float32)),
    (TensorProto.DOUBLE, "FP64", np.array([[0.5, 2]], np.float64)),
    (TensorProto.BFLOAT16, "BF16", np.array([[0x3F80, 0x4000]], np.uint16)),
    (TensorProto.STRING, "BYTES", np.array([["a", "ö"]], object)),
]


@pytest.mark.parametrize(("number", "datatype", "array"), TYPES, ids=[datatype for _, datatype, _ in TYPES])
def test_every_datatype_of_the_protocol_goes_in_and_out(tmp_path: Path, number: int, datatype: str, array: Any) -> None:
    model = load(identity(number), tmp_path)
    assert (datatype, datatype) == (model.inputs[0].datatype, model.outputs[0].datatype)
    engine.warm_up(model)
    (result,) = model.run({"x": array}, ["y"])
    assert array.tolist() == result.tolist()
    assert datatype == "BYTES" or array.dtype == result.dtype


def test_bf16_comes_out_without_a_copy_and_outlives_its_run(tmp_path: Path) -> None:
    model = load(identity(TensorProto.BFLOAT16), tmp_path)
    results = [model.run({"x": np.full((500, 2), number, np.uint16)}, ["y"])[0] for number in range(20)]
    assert all(result.base is not None for result in results)
    assert [[number] for number in range(20)] == [np.unique(result).tolist() for result in results]
    (empty,) = model.run({"x": np.zeros((0, 2), np.uint16)}, ["y"])
    assert ((0, 2), np.dtype(np.uint16)) == (empty.shape, empty.dtype)


def sequence() -> onnx.ModelProto:
    return onnx_models.model(
        [helper.make_node("SequenceConstruct", ["x"], ["y"])],
        [value("x", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)],
    )


def unknown(operator: str, domain: str = "") -> onnx.ModelProto:
    made = linear()
    made.graph.node[0].op_type, made.graph.node[0].domain = operator, domain
    if domain:
        made.opset_import.append(helper.make_opsetid(domain, 1))
    return made


def dangling() -> onnx.ModelProto:
    made = linear()
    made.graph.node[0].input[0] = "nobody"
    return made


REFUSED = [
    (sequence(), LoadReason.UNSUPPORTED_TYPES, "the Open Inference Protocol carries tensors only"),
    (
        identity(TensorProto.FLOAT8E4M3FN, opset=21, ir=10),
        LoadReason.UNSUPPORTED_TYPES,
        "the input 'x' is tensor(float8e4m3fn)",
    ),
    (identity(TensorProto.COMPLEX64), LoadReason.UNSUPPORTED_TYPES, "tensor(complex64)"),
    (
        linear(opset=99),
        LoadReason.UNSUPPORTED_OPSET,
        "the model uses opset 99 of ai.onnx, this ONNX Runtime supports up to ",
    ),
    (linear(ir=99), LoadReason.UNSUPPORTED_OPSET, "the model's IR version is 99, this ONNX Runtime supports up to "),
    (unknown("Teleport"), LoadReason.UNSUPPORTED_OPSET, "No Op registered for Teleport"),
    (unknown("Teleport", "com.example"), LoadReason.UNSUPPORTED_OPSET, "com.example:Teleport(-1) is not a registered"),
    (dangling(), LoadReason.INVALID_MODEL, "ONNX Runtime refuses the model: "),
]


@pytest.mark.parametrize(("made", "reason", "text"), REFUSED, ids=[text[:40] for *_, text in REFUSED])
def test_what_cannot_be_served_says_why(tmp_path: Path, made: onnx.ModelProto, reason: LoadReason, text: str) -> None:
    with pytest.raises(LoadError) as caught:
        load(made, tmp_path)
    assert (reason, "load", True) == (caught.value.reason, caught.value.stage, caught.value.permanent)
    assert text in caught.value.message
    assert "onnxruntime_src" not in caught.value.message


def test_threads_are_those_of_the_hardware_unless_told(tmp_path: Path) -> None:
    file = save(linear(), tmp_path / "model.onnx")
    quota = Hardware(processors=64, quota=3.5)
    assert engine.load(file, "m", "1", hardware=quota).threads == 3
    told = engine.load(file, "m", "1", threads=2, hardware=quota)
    options = told.session.get_session_options()
    assert (2, 2) == (told.threads, options.intra_op_num_threads)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_cuda_falls_back_to_the_cpu_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    if providers.CUDA in engine.onnxruntime().get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    with caplog.at_level(logging.WARNING):
        model = load(linear(), tmp_path, accelerator="CUDA")
    assert model.execution_provider == "CPUExecutionProvider"
    assert (
        "CUDA is asked for and cannot be used here: serving on CPUExecutionProvider; this is ONNX Runtime"
        in caplog.text
    )
    assert ", it is built without CUDA" in caplog.text
    monkeypatch.setattr(engine.onnxruntime(), "cuda_version", "13.0", raising=False)
    load(linear(), tmp_path, accelerator="CUDA")
    assert ", it wants CUDA 13.0 and cuDNN 9, and a GPU" in caplog.text


@pytest.mark.parametrize(
    ("reason", "axes", "batchable"),
    [("a dynamic first axis", ["N", 2], True), ("a fixed first axis", [1, 2], False), ("a scalar", [], False)],
)
def test_batchable_needs_a_dynamic_first_axis(tmp_path: Path, reason: str, axes: list[Any], batchable: bool) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    made = onnx_models.model([node], [value("x", TensorProto.FLOAT, axes)], [value("y", TensorProto.FLOAT, axes)])
    assert batchable == load(made, tmp_path).batchable, reason


def test_a_model_that_cannot_take_zeros_serves_without_a_warm_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node = helper.make_node("Reshape", ["x", "s"], ["y"])
    shape = helper.make_tensor("s", TensorProto.INT64, [1], [7])
    made = onnx_models.model(
        [node], [value("x", TensorProto.FLOAT, ["N"])], [value("y", TensorProto.FLOAT, [7])], [shape]
    )
    model = load(made, tmp_path)
    with caplog.at_level(logging.WARNING):
        engine.warm_up(model)
    assert "the warm-up on zeros failed" in caplog.text
    assert model.run({"x": np.zeros(7, np.float32)}, ["y"])[0].shape == (7,)
