"""Models from memory alone: the same answers as from disk, nothing read that was not given, nothing left behind."""

import ctypes
import errno
import gc
import logging
import mmap
import os
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from modelward_runtime import engine, providers, weights
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.explaining import Withheld
from modelward_runtime.hardware import Hardware
from modelward_runtime.memory import Plaintext, ReadOnce, anonymous, wipe
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


def filled(size: int) -> memoryview:
    """Memory without a zero in it, so that what was wiped shows."""
    memory = anonymous(size)
    memory[:] = np.resize(np.arange(1, 252, dtype=np.uint8), size).tobytes()
    return memory


def resident(memory: memoryview) -> int:
    """Bytes of the mapping that are really there."""
    at = np.frombuffer(memory, np.uint8).ctypes.data
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    for line in lines:
        begin, dash, end = line.split(" ")[0].partition("-")
        if dash and int(begin, 16) <= at < int(end, 16):
            return next(int(found.split()[1]) * 1024 for found in lines if found.startswith("Rss:"))
    raise AssertionError("no mapping")


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, (1 << 20) + 1, (9 << 20) + 5])
def test_what_is_read_is_all_of_it_and_is_wiped(size: int) -> None:
    memory = filled(size)
    expected, keeper = bytes(memory), np.frombuffer(memory, np.uint8)
    with ReadOnce(memory, b"head", b"tail") as reading, Path(reading.path).open("rb") as reader:
        assert b"head" + expected + b"tail" == reader.read()
    assert reading.is_read
    assert not keeper.any()


def test_a_graph_is_wiped_and_freed_while_it_is_read() -> None:
    """Behind the reader there is nothing but what the pipe holds, and a step."""
    memory = filled(32 << 20)
    with ReadOnce(memory) as reading, Path(reading.path).open("rb", buffering=0) as reader:
        for at in range(1, 32):
            read = b"".join(reader.read(min(65536, (1 << 20) - done)) for done in range(0, 1 << 20, 65536))
            assert b"\0" not in read
            while resident(memory) > (32 - at + 4) << 20:
                os.sched_yield()


def read_in_turns(path: str) -> bytes:
    """Two readers that opened it each."""
    with Path(path).open("rb", buffering=0) as one, Path(path).open("rb", buffering=0) as other:
        found = b""
        while piece := one.read(100_000) + other.read(100_000):
            found += piece
        return found


def read_again(path: str) -> bytes:
    """A look at the beginning, then from the beginning: as it thinks."""
    return Path(path).open("rb", buffering=0).read(4096) + Path(path).read_bytes()


def read_on_threads(path: str) -> bytes:
    found: list[bytes] = []
    with Path(path).open("rb", buffering=0) as reader:

        def work() -> None:
            while piece := reader.read(70_000):
                found.append(piece)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return b"".join(found)


@pytest.mark.parametrize("read", [read_in_turns, read_again, read_on_threads])
@pytest.mark.filterwarnings("ignore:unclosed file")
def test_no_reader_is_given_a_byte_twice_or_one_that_was_wiped(read: Callable[[str], bytes]) -> None:
    memory = filled(9 << 20)
    expected = np.bincount(np.frombuffer(bytes(memory), np.uint8), minlength=256)
    with ReadOnce(memory) as reading:
        found = read(reading.path)
    np.testing.assert_array_equal(expected, np.bincount(np.frombuffer(found, np.uint8), minlength=256))


def test_nobody_seeks_back() -> None:
    with ReadOnce(filled(9 << 20)) as reading, Path(reading.path).open("rb", buffering=0) as reader:
        reader.read(4096)
        for seek in (
            lambda: reader.seek(0),
            lambda: os.pread(reader.fileno(), 1, 0),
            lambda: mmap.mmap(reader.fileno(), 1),
        ):
            with pytest.raises(OSError, match=r"Illegal seek|No such device|Permission denied|not seekable"):
                seek()


@pytest.mark.parametrize("opens", [True, False])
def test_a_reader_that_leaves_early_or_never_comes_is_not_waited_for(*, opens: bool) -> None:
    memory = filled(9 << 20)
    keeper = np.frombuffer(memory, np.uint8)
    with ReadOnce(memory) as reading:
        leaked = os.open(reading.path, os.O_RDONLY) if opens else -1
        if opens:
            os.read(leaked, 10)
    assert not reading.is_read
    assert not keeper.any()
    if opens:
        os.close(leaked)


def test_where_pages_cannot_be_lent_they_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        ctypes.set_errno(errno.ENOSYS)
        return -1

    monkeypatch.setattr("modelward_runtime.memory._LIBC.vmsplice", refuse)
    memory = filled(9 << 20)
    expected = bytes(memory)
    with ReadOnce(memory) as reading:
        assert expected == Path(reading.path).read_bytes()


class OtherReaders:
    """ONNX Runtime as a later version might read."""

    def __init__(self, before: Callable[[str], object], path: Callable[[str], str] = str) -> None:
        self._before, self._path = before, path
        self._real = engine.onnxruntime()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def InferenceSession(self, path: str, **options: Any) -> Any:  # noqa: N802  the name of onnxruntime
        self._before(path)
        return self._real.InferenceSession(self._path(path), **options)


def take(count: int) -> Callable[[str], object]:
    def read(path: str) -> None:
        with Path(path).open("rb", buffering=0) as reader:
            while taken := reader.read(count):
                if len(taken) < count or count < 1 << 20:
                    break

    return read


@pytest.mark.parametrize(
    ("reason", "before"),
    [
        ("the first bytes were looked at before", take(4)),
        ("our first entry was", take(41)),
        ("more than that was", take(100_000)),
        ("all of it was read before", lambda path: Path(path).read_bytes()),
    ],
)
def test_an_onnx_runtime_that_reads_twice_serves_nothing(
    monkeypatch: pytest.MonkeyPatch, reason: str, before: Callable[[str], object]
) -> None:
    ort = OtherReaders(before)
    monkeypatch.setattr(engine, "onnxruntime", lambda: ort)
    with pytest.raises(LoadError) as caught:
        load({"model.onnx": inline(8)})
    assert LoadReason.INVALID_MODEL is caught.value.reason, reason


def test_an_onnx_runtime_that_takes_its_model_from_elsewhere_serves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = onnx_models.save(linear(), tmp_path / "other.onnx")
    for before in (lambda _: None, lambda path: Path(path).read_bytes()):
        ort = OtherReaders(before, lambda _: str(other))
        with monkeypatch.context() as patch:
            patch.setattr(engine, "onnxruntime", lambda ort=ort: ort)
            with pytest.raises(LoadError, match="this version of it cannot load sealed models"):
                load({"model.onnx": inline(8)})


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_torn_graph_is_no_model(data: st.DataObject) -> None:
    """Any stretch taken out of the stream, as by a second reader: refused, or known by its ends."""
    ends = weights.Ends()
    whole = ends.head + inline(1)[: 1 << 22] + ends.tail
    begin = data.draw(st.integers(0, len(whole) - 1) | st.integers(0, 200))
    end = data.draw(st.integers(begin + 1, len(whole)) | st.integers(begin + 1, min(begin + 100, len(whole))))
    ort = engine.onnxruntime()
    try:
        session = ort.InferenceSession(whole[:begin] + whole[end:], providers=[providers.CPU])
    except Exception:  # noqa: BLE001  ORT has a class per status
        return
    assert not ends.are_in(session.get_modelmeta().custom_metadata_map)


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
