"""What is read of an .onnx file before ONNX Runtime sees it, and what people upload by mistake."""

import contextlib
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from modelward_runtime import onnxfile
from modelward_runtime.errors import LoadError, LoadReason
from tests import onnx_models
from tests.onnx_models import external, linear, save, value

WHOLE = linear().SerializeToString()


def test_opsets_are_read(tmp_path: Path) -> None:
    made = linear(opset=18)
    made.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    file = save(made, tmp_path / "model.onnx")
    assert {"ai.onnx": 18, "ai.onnx.ml": 3} == onnxfile.read(file).opsets


def test_weights_in_other_files_are_found_wherever_they_hide(tmp_path: Path) -> None:
    """An initializer, a Constant node's attribute, and both inside the body of an If."""

    def hidden(location: str) -> onnx.TensorProto:
        tensor = TensorProto(name=location, data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value=location)
        tensor.external_data.add(key="offset", value="4")
        tensor.external_data.add(key="length", value="8")
        return tensor

    body = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=hidden("in-body-node"))],
        "body",
        [],
        [value("c", TensorProto.FLOAT, [1])],
        [hidden("in-body")],
    )
    nodes = [
        helper.make_node("Constant", [], ["k"], value=hidden("in-node")),
        helper.make_node("If", ["x"], ["y"], then_branch=body, else_branch=body),
    ]
    made = onnx_models.model(
        nodes, [value("x", TensorProto.BOOL, [])], [value("y", TensorProto.FLOAT, [1])], [hidden("at-top")]
    )
    function = helper.make_function(
        "local", "f", [], ["o"], [helper.make_node("Constant", [], ["o"], value=hidden("in-function"))], []
    )
    made.functions.append(function)
    found = onnxfile.read(save(made, tmp_path / "m.onnx")).external
    expected = {"in-body-node", "in-body", "in-node", "at-top", "in-function"}
    assert expected == {tensor.location for tensor in found}
    assert {(4, 8)} == {(tensor.offset, tensor.length) for tensor in found}


BAD_PLACES = ["../secret", "/etc/passwd", "a/../../secret", "", "link-out", "linked-folder/secret"]


@pytest.mark.parametrize("location", BAD_PLACES)
def test_weights_outside_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret").write_bytes(b"0" * 48)
    (tmp_path / "m").mkdir()
    (tmp_path / "m/link-out").symlink_to(tmp_path / "secret")
    (tmp_path / "m/linked-folder").symlink_to(tmp_path)
    file = save(external(location), tmp_path / "m/model.onnx")
    with pytest.raises(LoadError, match="which is outside the model's folder") as caught:
        onnxfile.check(file)
    assert (LoadReason.EXTERNAL_DATA_OUTSIDE_FOLDER, "load", True) == (
        caught.value.reason,
        caught.value.stage,
        caught.value.permanent,
    )
    assert repr(location) in caught.value.message


def test_missing_weights_are_named(tmp_path: Path) -> None:
    file = save(external("weights.bin"), tmp_path / "model.onnx")
    with pytest.raises(
        LoadError, match=r"the weights of 'w' are said to be in 'weights\.bin', and there is no such"
    ) as caught:
        onnxfile.check(file)
    assert caught.value.reason is LoadReason.EXTERNAL_DATA_MISSING


def test_cut_weights_are_named(tmp_path: Path) -> None:
    file = save(external("weights.bin", offset=0, length=48), tmp_path / "model.onnx")
    (tmp_path / "weights.bin").write_bytes(b"0" * 47)
    with pytest.raises(LoadError, match="up to byte 48, and the file has 47 bytes: was it cut") as caught:
        onnxfile.check(file)
    assert caught.value.reason is LoadReason.EXTERNAL_DATA_MISSING


def test_weights_in_a_folder_below_are_fine(tmp_path: Path) -> None:
    file = save(external("data/weights.bin", offset=0, length=48), tmp_path / "model.onnx")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/weights.bin").write_bytes(b"0" * 48)
    assert len(onnxfile.check(file).external) == 1


@pytest.mark.parametrize(
    "location", ["lost+found/w.bin", "./lost+found/w.bin", "sub/../lost+found/w.bin", "link/w.bin"]
)
def test_weights_where_neither_digest_nor_signature_looks_are_refused(tmp_path: Path, location: str) -> None:
    for folder in ("lost+found", "sub"):
        (tmp_path / folder).mkdir()
    (tmp_path / "lost+found/w.bin").write_bytes(b"0" * 48)
    (tmp_path / "link").symlink_to("lost+found")
    with pytest.raises(LoadError) as caught:
        onnxfile.check(save(external(location, length=48), tmp_path / "model.onnx"))
    assert caught.value.reason is LoadReason.EXTERNAL_DATA_OUTSIDE_FOLDER


def test_a_folder_called_lost_found_further_down_is_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "sub/lost+found").mkdir(parents=True)
    (tmp_path / "sub/lost+found/w.bin").write_bytes(b"0" * 48)
    assert 1 == len(onnxfile.check(save(external("sub/lost+found/w.bin"), tmp_path / "model.onnx")).external)


MISTAKES = [
    (b"", "the file is empty"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "it is a Git LFS pointer"),
    (b"<!DOCTYPE html><html></html>", "it is HTML or XML"),
    (b"<?xml version='1.0'?><Error/>", "it is HTML or XML"),
    (b'{"error": "not found"}', "it is JSON"),
    (b"PK\x03\x04" + b"\0" * 40, "it is a ZIP archive, perhaps a PyTorch model"),
    (b"\x80\x05\x95" + b"\0" * 40, "it is a Python pickle"),
    (b"\x1f\x8b\x08" + b"\0" * 40, "it is gzip"),
    (b"\x89HDF\r\n\x1a\n" + b"\0" * 40, "it is HDF5"),
    (b"\x08\x08", "there is no graph in it"),
    (b"\xff" * 40, "the bytes are not those of an ONNX model"),
    (b"\0" * 40, "the bytes are not those of an ONNX model"),
    (WHOLE[:-5], "the file ends in the middle of the model: was it cut?"),
    (WHOLE[:20], "the file ends in the middle of the model: was it cut?"),
]


@pytest.mark.parametrize(("content", "text"), MISTAKES, ids=[text[:40] for _, text in MISTAKES])
def test_what_is_no_model_is_named(tmp_path: Path, content: bytes, text: str) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(content)
    with pytest.raises(LoadError) as caught:
        onnxfile.check(file)
    assert (LoadReason.INVALID_MODEL, True) == (caught.value.reason, caught.value.permanent)
    assert caught.value.message.startswith("model.onnx is not an ONNX model: ")
    assert text in caught.value.message


@settings(max_examples=300, deadline=None)
@given(content=st.binary(min_size=1, max_size=200) | st.integers(1, len(WHOLE) - 1).map(lambda cut: WHOLE[:cut]))
def test_no_bytes_break_the_reader(content: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(content)
        file.flush()
        with contextlib.suppress(LoadError):
            onnxfile.check(Path(file.name))


def test_big_weights_are_skipped_and_not_read(tmp_path: Path) -> None:
    made = linear()
    made.graph.initializer.append(numpy_helper.from_array(np.zeros(5_000_000, np.float32), "unused"))
    assert onnxfile.check(save(made, tmp_path / "model.onnx")).external == []
