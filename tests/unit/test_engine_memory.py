"""Models from memory alone: the same answers as from disk, nothing read that was not given, nothing left behind."""

import gc
import logging
import os
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelward_runtime import engine
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.explaining import Withheld
from modelward_runtime.hardware import Hardware
from modelward_runtime.memory import Nameless, Plaintext, anonymous, wipe
from tests import onnx_models
from tests.onnx_models import WEIGHTS, external, linear, value

ONE = Hardware(processors=1, quota=1.0)
SIZE = 256  # of square weights: 256 KiB, more than what is put into the graph


def plaintext(files: Mapping[str, bytes], graph: str = "model.onnx") -> Plaintext:
    made = Plaintext(graph)
    for path, content in files.items():
        made.allocate(path, len(content))[:] = content
    return made


def load(files: Mapping[str, bytes], graph: str = "model.onnx") -> engine.OnnxModel:
    with plaintext(files, graph) as source:
        return engine.load(source, "m", "1", hardware=ONE)


def run(model: engine.OnnxModel, rows: Any) -> Any:
    return model.run({"x": rows}, ["y"])[0]


def big(location: str = "weights.bin", *, data_type: int = TensorProto.FLOAT, **entries: int) -> onnx.ModelProto:
    """y[N, SIZE] = x[N, SIZE] @ weights of another file, cast where they are no floats."""
    weights = TensorProto(name="w", data_type=data_type, dims=[SIZE, SIZE], data_location=TensorProto.EXTERNAL)
    for key, content in {"location": location, **entries}.items():
        weights.external_data.add(key=key, value=str(content))
    return onnx_models.model(
        [helper.make_node("Cast", ["w"], ["f"], to=TensorProto.FLOAT), helper.make_node("MatMul", ["x", "f"], ["y"])],
        [value("x", TensorProto.FLOAT, ["N", SIZE])],
        [value("y", TensorProto.FLOAT, ["N", SIZE])],
        [weights],
    )


SQUARE = np.random.default_rng(7).standard_normal((SIZE, SIZE)).astype(np.float32)
EYE = np.eye(SIZE, dtype=np.float32)


def test_a_model_in_one_file_predicts_as_numpy_does() -> None:
    np.testing.assert_allclose(WEIGHTS, run(load({"model.onnx": linear().SerializeToString()}), np.eye(4, dtype="f4")))


@pytest.mark.parametrize(
    ("reason", "files", "graph"),
    [
        ("beside", {"model.onnx": big().SerializeToString(), "weights.bin": SQUARE.tobytes()}, "model.onnx"),
        ("below", {"m.onnx": big("a/b.bin").SerializeToString(), "a/b.bin": SQUARE.tobytes()}, "m.onnx"),
        ("detour", {"m.onnx": big("./a//b.bin").SerializeToString(), "a/b.bin": SQUARE.tobytes()}, "m.onnx"),
        (
            "a part of a file",
            {
                "m.onnx": big(offset=8, length=SQUARE.nbytes).SerializeToString(),
                "weights.bin": b"8 bytes " + SQUARE.tobytes() + b"more",
            },
            "m.onnx",
        ),
    ],
)
def test_large_weights_in_other_files_are_given(reason: str, files: dict[str, bytes], graph: str) -> None:
    np.testing.assert_allclose(SQUARE, run(load(files, graph), EYE), err_msg=reason)


@pytest.mark.parametrize(
    ("data_type", "stored", "expected"),
    [
        (TensorProto.FLOAT16, SQUARE.astype(np.float16), SQUARE.astype(np.float16).astype(np.float32)),
        (TensorProto.DOUBLE, SQUARE.astype(np.float64), SQUARE),
        (TensorProto.INT8, (SQUARE * 30).astype(np.int8), (SQUARE * 30).astype(np.int8).astype(np.float32)),
        (TensorProto.BFLOAT16, (SQUARE.view(np.uint32) >> 16).astype(np.uint16), None),
        (TensorProto.FLOAT8E4M3FN, np.full((SIZE, SIZE), 0x38, np.uint8), np.ones((SIZE, SIZE), np.float32)),
    ],
)
def test_weights_of_every_type(data_type: int, stored: Any, expected: Any) -> None:
    """The last one is a type that cannot be given beside the graph: it is moved into it."""
    made = big(data_type=data_type)
    made.opset_import[0].version, made.ir_version = 19, 9
    if expected is None:
        expected = (stored.astype(np.uint32) << 16).view(np.float32)
    found = run(load({"model.onnx": made.SerializeToString(), "weights.bin": stored.tobytes()}), EYE)
    np.testing.assert_allclose(expected, found, rtol=1e-6)


def test_weights_hidden_in_bodies_and_attributes_are_given() -> None:
    """An initializer of an If's body, and a Constant: `add_external_initializers` knows neither."""

    def hidden(at: int) -> TensorProto:
        tensor = TensorProto(name=f"h{at}", data_type=1, dims=[SIZE, SIZE], data_location=TensorProto.EXTERNAL)
        for key, content in {"location": "w", "offset": at * SQUARE.nbytes, "length": SQUARE.nbytes}.items():
            tensor.external_data.add(key=key, value=str(content))
        return tensor

    bodies = [
        helper.make_graph(
            [helper.make_node("Identity", [f"h{at}"], ["o"])],
            f"b{at}",
            [],
            [value("o", TensorProto.FLOAT, [SIZE, SIZE])],
            [hidden(at)],
        )
        for at in (0, 1)
    ]
    made = onnx_models.model(
        [
            helper.make_node("If", ["c"], ["chosen"], then_branch=bodies[0], else_branch=bodies[1]),
            helper.make_node("Constant", [], ["k"], value=hidden(2)),
            helper.make_node("Add", ["chosen", "k"], ["sum"]),
            helper.make_node("MatMul", ["x", "sum"], ["y"]),
        ],
        [value("x", TensorProto.FLOAT, ["N", SIZE]), value("c", TensorProto.BOOL, [])],
        [value("y", TensorProto.FLOAT, ["N", SIZE])],
    )
    parts = [SQUARE, SQUARE * 2, SQUARE * 5]
    model = load({"model.onnx": made.SerializeToString(), "w": b"".join(part.tobytes() for part in parts)})
    for condition, expected in ((True, SQUARE * 6), (False, SQUARE * 7)):
        (found,) = model.run({"x": EYE, "c": np.array(condition)}, ["y"])
        np.testing.assert_allclose(expected, found, rtol=1e-5)


@pytest.mark.parametrize(
    ("location", "reason", "text"),
    [
        ("weights.bin", LoadReason.EXTERNAL_DATA_MISSING, "names weights in a file that is not in the sealed model"),
        ("../weights.bin", LoadReason.EXTERNAL_DATA_OUTSIDE_FOLDER, "names weights outside the model"),
        ("a/../weights.bin", LoadReason.EXTERNAL_DATA_OUTSIDE_FOLDER, "names weights outside the model"),
        ("/etc/hostname", LoadReason.EXTERNAL_DATA_OUTSIDE_FOLDER, "names weights outside the model"),
        ("", LoadReason.EXTERNAL_DATA_OUTSIDE_FOLDER, "names weights outside the model"),
        ("3", LoadReason.EXTERNAL_DATA_MISSING, "names weights in a file that is not in the sealed model"),
        (
            "*/_ORT_MEM_ADDR_/*",
            LoadReason.EXTERNAL_DATA_MISSING,
            "names weights in a file that is not in the sealed model",
        ),
    ],
)
def test_weights_that_were_not_given_are_never_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str, reason: LoadReason, text: str
) -> None:
    """ONNX Runtime itself would take them from the working directory, or from beside the graph's descriptor."""
    (tmp_path / "weights.bin").write_bytes(WEIGHTS.tobytes())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LoadError, match=text) as caught:
        load({"model.onnx": external(location).SerializeToString()})
    assert (reason, "load", True) == (caught.value.reason, caught.value.stage, caught.value.permanent)


@pytest.mark.parametrize("entries", [{"offset": 8, "length": SQUARE.nbytes}, {"offset": SQUARE.nbytes + 1}])
def test_weights_beyond_the_end_are_refused(entries: dict[str, Any]) -> None:
    with pytest.raises(LoadError, match="or is too short"):
        load({"model.onnx": big("weights.bin", **entries).SerializeToString(), "weights.bin": SQUARE.tobytes()})


def test_fewer_bytes_than_the_shape_needs_are_refused() -> None:
    with pytest.raises(LoadError, match="what was sealed is not an ONNX model that this ONNX Runtime takes"):
        load({"model.onnx": big().SerializeToString(), "weights.bin": SQUARE.tobytes()[:-4]})


def inline(megabytes: int) -> bytes:
    """y = x @ a large matrix in the graph file itself."""
    weights = np.zeros((1024, 256 * megabytes), np.float32)
    weights[0] = np.arange(weights.shape[1])
    made = onnx_models.model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [value("x", TensorProto.FLOAT, ["N", 1024])],
        [value("y", TensorProto.FLOAT, ["N", weights.shape[1]])],
        [numpy_helper.from_array(weights, "w")],
    )
    return bytes(made.SerializeToString())


def test_a_graph_is_wiped_and_freed_while_it_is_read() -> None:
    """The reader here waits for the wiper; what it has not read yet stays."""
    nameless = Nameless(32 << 20)
    nameless.view[:] = b"\x01" * len(nameless.view)
    with nameless.wiped_while_read(), Path(nameless.path).open("rb", buffering=0) as reader:
        for at in range(1, 9):
            assert reader.read(4 << 20) == b"\x01" * (4 << 20)
            while Path(nameless.path).stat().st_blocks * 512 > (32 - 4 * at) << 20:
                os.sched_yield()
    assert not any(nameless.view)
    nameless.close()
    nameless.close()


def test_a_large_graph_loads_and_answers() -> None:
    expected = np.arange(256 * 24, dtype=np.float32)
    np.testing.assert_array_equal(expected, run(load({"model.onnx": inline(24)}), np.eye(1, 1024, dtype="f4"))[0])


def test_everything_is_overwritten_in_the_end() -> None:
    source = plaintext({"model.onnx": big().SerializeToString(), "weights.bin": SQUARE.tobytes()})
    seen = anonymous(SQUARE.nbytes)  # the wiped memory itself is gone: this one shows that wiping is overwriting
    seen[:] = SQUARE.tobytes()
    keeper = np.frombuffer(seen, np.uint8)
    wipe(seen)
    assert not keeper.any()
    model = engine.load(source, "m", "1", hardware=ONE)
    source.wipe()
    source.wipe()
    gc.collect()
    assert {} == source.files
    np.testing.assert_allclose(SQUARE, run(model, EYE))


def secretive(operator: str, domain: str = "", **tensor: Any) -> bytes:
    """A model that ONNX Runtime refuses, and whose every name holds SECRET."""
    weights = TensorProto(name="SECRET_w", data_type=TensorProto.FLOAT, dims=[5, 5], raw_data=bytes(100), **tensor)
    made = onnx_models.model(
        [helper.make_node(operator, ["SECRET_x", "SECRET_w"], ["SECRET_y"], name="SECRET_node", domain=domain)],
        [value("SECRET_x", TensorProto.FLOAT, [2, 3])],
        [value("SECRET_y", TensorProto.FLOAT, [2, 9])],
        [weights],
    )
    if domain:
        made.opset_import.append(helper.make_opsetid(domain, 1))
    return bytes(made.SerializeToString())


def elsewhere(location: str) -> dict[str, Any]:
    entries = [onnx.StringStringEntryProto(key="location", value=location)]
    return {"data_location": TensorProto.EXTERNAL, "external_data": entries}


SEQUENCE = onnx_models.model(
    [helper.make_node("SequenceConstruct", ["SECRET_x"], ["SECRET_y"])],
    [value("SECRET_x", TensorProto.FLOAT, ["N", 2])],
    [helper.make_tensor_sequence_value_info("SECRET_y", TensorProto.FLOAT, None)],
)
SECRETIVE = {
    "an unknown operator": (secretive("SECRET_Op"), LoadReason.UNSUPPORTED_OPSET),
    "an unknown domain": (secretive("SECRET_Op", "SECRET.domain"), LoadReason.UNSUPPORTED_OPSET),
    "shapes that do not fit": (secretive("MatMul"), LoadReason.INVALID_MODEL),
    "weights outside": (secretive("Add", **elsewhere("../SECRET")), LoadReason.EXTERNAL_DATA_OUTSIDE_FOLDER),
    "weights that are missing": (secretive("Add", **elsewhere("SECRET.bin")), LoadReason.EXTERNAL_DATA_MISSING),
    "two places of weights": (
        secretive("Add", external_data=elsewhere("SECRET.bin")["external_data"]),
        LoadReason.INVALID_MODEL,
    ),
    "a type of the output": (SEQUENCE.SerializeToString(), LoadReason.UNSUPPORTED_TYPES),
}


@pytest.mark.parametrize(("graph", "reason"), SECRETIVE.values(), ids=SECRETIVE.keys())
def test_a_refusal_holds_no_name_of_the_models_inside(
    graph: bytes, reason: LoadReason, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(LoadError) as caught:
        load({"model.onnx": graph})
    assert (reason, True) == (caught.value.reason, caught.value.permanent)
    told = "".join(traceback.format_exception(caught.value)) + "".join(capfd.readouterr())
    assert "SECRET" not in told
    (tmp_path / "model.onnx").write_bytes(graph)
    with pytest.raises(LoadError, match="SECRET"):  # of a plain model it is told
        engine.load(tmp_path / "model.onnx", "m", "1", hardware=ONE)


def test_numbers_of_versions_are_told_of_a_sealed_model_too() -> None:
    with pytest.raises(LoadError, match=r"the model uses opset 99 of ai\.onnx, this ONNX Runtime supports up to"):
        load({"model.onnx": linear(opset=99).SerializeToString()})


def test_a_run_that_fails_holds_no_name_of_the_models_inside(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    node = helper.make_node("Reshape", ["x", "SECRET_s"], ["y"], name="SECRET_node")
    shape = helper.make_tensor("SECRET_s", TensorProto.INT64, [1], [7])
    made = onnx_models.model(
        [node], [value("x", TensorProto.FLOAT, ["N"])], [value("y", TensorProto.FLOAT, [7])], [shape]
    )
    model = load({"model.onnx": made.SerializeToString()})
    with pytest.raises(Withheld) as caught:
        model.run({"x": np.zeros(6, np.float32)}, ["y"])
    with caplog.at_level(logging.WARNING):
        engine.warm_up(model)
    told = "".join(traceback.format_exception(caught.value)) + "".join(capfd.readouterr()) + caplog.text
    assert "the warm-up on zeros failed" in told
    assert "SECRET" not in told


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_descriptor_is_left_open() -> None:
    load({"model.onnx": big().SerializeToString(), "weights.bin": SQUARE.tobytes()})
    before = descriptors()
    for _ in range(3):
        load({"model.onnx": big().SerializeToString(), "weights.bin": SQUARE.tobytes()})
        with pytest.raises(LoadError):
            load({"model.onnx": external("gone").SerializeToString()})
    gc.collect()
    assert before >= descriptors()
