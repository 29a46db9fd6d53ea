"""Model files: the walker that looks for weights elsewhere must see what the `onnx` package sees, or refuse the file."""

from collections.abc import Iterator

import onnx
from google.protobuf.message import DecodeError, Message
from onnx import TensorProto, helper, numpy_helper

from e2e.fuzz.target import target
from modelward_runtime import onnxfile
from modelward_runtime.errors import LoadError
from tests.onnx_models import external, linear


def _constant() -> bytes:
    """An external tensor in an attribute, within a function of the model."""
    tensor = TensorProto(name="w", data_type=1, dims=[2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="one.bin")
    node = helper.make_node("Constant", [], ["w"], value=tensor)
    made = linear()
    made.graph.node.append(node)
    made.functions.append(helper.make_function("d", "f", [], ["w"], [node], [helper.make_opsetid("", 17)]))
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(numpy_helper.to_array(made.graph.initializer[0]).ravel(), "v"), tensor, [4, 3]
    )
    made.graph.sparse_initializer.append(sparse)
    return bytes(made.SerializeToString())


def _messages(message: Message) -> Iterator[Message]:
    yield message
    for descriptor, value in message.ListFields():
        if descriptor.message_type:
            for inner in value if hasattr(value, "append") or hasattr(value, "add") else [value]:
                yield from _messages(inner)


def _told_by_onnx(content: bytes) -> set[str]:
    try:
        made = onnx.ModelProto.FromString(content)
    except DecodeError:
        return set()
    found = [
        one for one in _messages(made) if isinstance(one, TensorProto) and one.data_location == TensorProto.EXTERNAL
    ]
    return {{entry.key: entry.value for entry in tensor.external_data}.get("location", "") for tensor in found}


@target(
    "onnx",
    seeds=[
        bytes(linear().SerializeToString()),
        bytes(external("w.bin", offset=0, length=48).SerializeToString()),
        bytes(external("../x").SerializeToString()),
        _constant(),
        b"version https://git-lfs.github.com/spec/v1\n",
    ],
    words=[
        b"\x70\x01", b"\x70\x00", b"\x6a\x13", b"\x0a\x08location", b"\x12\x07one.bin", b"\x3a", b"\xff" * 10,
        b"\x80\x80\x80\x80\x10", b"\x32\x02", b"\xaa\x01",
    ],
    longest=2000,
    runs=2500,
)  # fmt: skip
def walk(data: bytes) -> None:
    """A file is refused in words, or every tensor that the onnx package finds outside of it was seen."""
    try:
        seen = {
            tensor.location for tensor in onnxfile.check_in_memory(memoryview(data), "model.onnx", _EVERYTHING).external
        }
    except LoadError as error:
        assert 5 < len(error.message) < 20_000
        error.message.encode()
        return
    assert _told_by_onnx(data) <= seen


class _Everything(dict[str, int]):
    """Sizes of files, of which all are there."""

    def get(self, _key: str, _default: object = None) -> int:
        return 1 << 62


_EVERYTHING = _Everything()
