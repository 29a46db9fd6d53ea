"""No encoding hides from `onnxfile` a tensor whose weights lie elsewhere: what the `onnx` package or ONNX Runtime sees, it sees or refuses.

Protobuf's parsers are lenient, and not all alike: unknown values of an enum are dropped, varints are cut to 32 bits, the last of
several values counts, messages given twice are merged. A tensor that the walker missed would be looked for on a disk.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx
import onnxruntime
import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from modelward_runtime import onnxfile
from modelward_runtime.errors import LoadError

SIZE = 8
INSIDE, FILES = b"i" * SIZE, {"one.bin": b"1" * SIZE, "two.bin": b"2" * SIZE}


def varint(value: int, longer: int = 0) -> bytes:
    """Base 128, with so many bytes more than it takes."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    for _ in range(longer):
        encoded[-1] |= 0x80
        encoded.append(0)
    return bytes(encoded)


def field(number: int, content: bytes | int, *, high: int = 0, longer: int = 0) -> bytes:
    """A field; `high` is added to its tag, at bit 32 and above."""
    wire = 0 if isinstance(content, int) else 2
    tag = varint((number << 3 | wire) + (high << 32), longer)
    return tag + (varint(content, longer) if isinstance(content, int) else varint(len(content), longer) + content)


def entry(key: str, value: str) -> bytes:
    return field(1, key.encode()) + field(2, value.encode())


PLACES = [0, 1, 1, 1, 2, 99, 2**31, 2**32, 2**32 + 1, 2**33 + 1, 2**63 + 1, 2**64 - 1, 2**64 + 1]
ENTRIES = [
    ("location", "one.bin"),
    ("location", "two.bin"),
    ("location", ""),
    ("offset", "0"),
    ("length", str(SIZE)),
    ("length", ""),
]
ENDS = [b"", b"", b"", b"\x01", b"\x00"]


@st.composite
def odd_fields(draw: st.DrawFn) -> bytes:
    """One field of a tensor that has to do with where its bytes are, in some encoding or other."""
    encoding = {
        "high": draw(st.sampled_from([0] * 6 + [1, 2, 8])),
        "longer": draw(st.sampled_from([0] * 6 + [1, 3, 8])),
    }
    kind = draw(st.sampled_from(["place", "place", "place", "entry", "entry", "raw", "packed"]))
    if kind == "place":
        return field(14, draw(st.sampled_from(PLACES)), **encoding)
    if kind == "entry":
        return field(13, entry(*draw(st.sampled_from(ENTRIES))), **encoding)
    return field(9, INSIDE, **encoding) if kind == "raw" else field(14, varint(1), **encoding)


@st.composite
def tensors(draw: st.DrawFn) -> bytes:
    """A tensor w of SIZE bytes; now and then an ordinary external one with one field too many."""
    start = [field(1, SIZE), field(2, TensorProto.UINT8), field(8, b"w")]
    if draw(st.booleans()):
        start += [field(13, entry(*told)) for told in (ENTRIES[0], *ENTRIES[3:5])] + [field(14, 1)]
    return b"".join([*start, *draw(st.lists(odd_fields(), max_size=4))])


def in_initializer(parts: list[bytes]) -> bytes:
    return b"".join(field(5, part) for part in parts[:1])


def in_constant(parts: list[bytes]) -> bytes:
    """A Constant node whose attribute has its tensor in so many parts, which protobuf merges."""
    attribute = field(1, b"value") + b"".join(field(5, part) for part in parts) + field(20, 4)
    return field(1, field(2, b"w") + field(4, b"Constant") + field(5, attribute))


def model(graph: bytes) -> bytes:
    """y = w, of whatever defines w."""
    output = helper.make_tensor_value_info("y", TensorProto.UINT8, [SIZE]).SerializeToString()
    node = field(1, b"w") + field(2, b"y") + field(4, b"Identity")
    return field(1, 8) + field(8, field(2, 17)) + field(7, graph + field(1, node) + field(2, b"g") + field(12, output))


MODELS = st.builds(
    lambda place, parts, end: model(place(parts)) + end,
    st.sampled_from([in_initializer, in_constant]),
    st.lists(tensors(), min_size=1, max_size=3),
    st.sampled_from(ENDS),
)


def walked(content: bytes) -> set[str] | None:
    """The locations that the walker finds; None when it refuses the model."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model.onnx").write_bytes(content)
        try:
            return {tensor.location for tensor in onnxfile.read(Path(folder) / "model.onnx").external}
        except LoadError:
            return None


def messages(message: Message) -> Iterator[Message]:
    """It and all that is in it, whatever the schema says may be there."""
    yield message
    for descriptor, value in message.ListFields():
        if descriptor.message_type:
            for inner in value if hasattr(value, "append") or hasattr(value, "add") else [value]:
                yield from messages(inner)


def told_by_onnx(content: bytes) -> set[str]:
    """The locations that the onnx package finds, anywhere; nothing when it cannot parse the model."""
    try:
        made = onnx.ModelProto.FromString(content)
    except DecodeError:
        return set()
    found = [m for m in messages(made) if isinstance(m, TensorProto) and m.data_location == TensorProto.EXTERNAL]
    return {{e.key: e.value for e in tensor.external_data}.get("location", "") for tensor in found}


@settings(max_examples=1500, deadline=None)
@given(MODELS)
def test_what_the_onnx_package_sees_is_seen_or_refused(content: bytes) -> None:
    seen = walked(content)
    assert seen is None or told_by_onnx(content) <= seen


@settings(max_examples=400, deadline=None)
@given(MODELS)
def test_what_onnxruntime_reads_from_a_file_is_seen_or_refused(content: bytes) -> None:
    seen = walked(content)
    with tempfile.TemporaryDirectory() as folder:
        for name, held in {**FILES, "model.onnx": content}.items():
            (Path(folder) / name).write_bytes(held)
        answer = b""
        with contextlib.suppress(Exception):
            answer = bytes(onnxruntime.InferenceSession(f"{folder}/model.onnx").run(None, {})[0])
    read = {name for name, held in FILES.items() if held == answer}
    assert seen is None or read <= seen


EXTERNAL = [field(1, SIZE), field(2, TensorProto.UINT8), field(8, b"w"), field(13, entry("location", "one.bin"))]
HIDDEN = {
    "an unknown value last": field(14, 1) + field(14, 99),
    "a negative value last": field(14, 1) + field(14, 2**64 - 1),
    "cut to 32 bits": field(14, 2**32 + 1),
    "a tag with bit 32 set": field(14, 1, high=1),
    "packed last": field(14, 1) + field(14, varint(0)),
    "nothing said, for another part to say": b"",
    "both said": field(14, 1) + field(14, 0),
    "a second location": field(14, 1) + field(13, entry("location", "two.bin")),
}


@pytest.mark.parametrize("tail", HIDDEN.values(), ids=HIDDEN.keys())
def test_what_parsers_read_differently_is_refused(tmp_path: Path, tail: bytes) -> None:
    file = tmp_path / "model.onnx"
    for name, content in {**FILES, "model.onnx": model(in_constant([b"".join([*EXTERNAL, tail])]))}.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(LoadError, match="is not an ONNX model"):
        onnxfile.check(file)


def test_ordinary_external_data_is_taken(tmp_path: Path) -> None:
    (tmp_path / "one.bin").write_bytes(FILES["one.bin"])
    (tmp_path / "model.onnx").write_bytes(model(in_initializer([b"".join([*EXTERNAL, field(14, 1, longer=2)])])))
    assert ["one.bin"] == [tensor.location for tensor in onnxfile.check(tmp_path / "model.onnx").external]


@pytest.mark.parametrize("number", ["9" * 5000, "٣", "-1", "1" * 19])
def test_a_number_that_is_none_is_refused(tmp_path: Path, number: str) -> None:
    tensor = b"".join([*EXTERNAL, field(13, entry("offset", number)), field(14, 1)])
    (tmp_path / "model.onnx").write_bytes(model(in_initializer([tensor])))
    with pytest.raises(LoadError, match="which is no number of bytes"):
        onnxfile.check(tmp_path / "model.onnx")


KINDS = {
    "ModelProto": "model", "TrainingInfoProto": "training", "GraphProto": "graph", "FunctionProto": "function", "NodeProto": "node",
    "AttributeProto": "attribute", "SparseTensorProto": "sparse", "TensorProto": "tensor",
}  # fmt: skip


def holds_tensors(kind: Descriptor, above: tuple[str, ...] = ()) -> bool:
    inner = [f.message_type for f in kind.fields if f.message_type and f.message_type.name not in above]
    return kind.name == "TensorProto" or any(holds_tensors(one, (*above, kind.name)) for one in inner)


def test_the_walker_knows_every_place_where_the_schema_has_tensors() -> None:
    for name in KINDS.keys() - {"TensorProto"}:
        kind = getattr(onnx, name, None) or getattr(onnx.onnx_ml_pb2, name)
        fields = [f for f in kind.DESCRIPTOR.fields if f.message_type and holds_tensors(f.message_type)]
        assert {f.number: KINDS[f.message_type.name] for f in fields} == onnxfile.PATHS[KINDS[name]], name
