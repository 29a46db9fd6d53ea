"""Hands a model that lies in memory to ONNX Runtime: its graph to open, its weights as tensors on the memory they lie in.

`engine.py` calls `give` once `onnxfile.check_in_memory` has found every tensor's place. It must not let ONNX Runtime look for a
file: a tensor that is given no bytes here would be sought in the process's working directory.

What ONNX Runtime 1.32 does with weights, measured (PERFORMANCE.md, "Memory"):

    in the graph file             parsed straight into its own tensors, no second copy (memory.py wipes what it has read)
    add_external_initializers     copies each tensor once; the memory given is read no more when the session exists
    add_external_initializers_    copies more than once: not used
      from_files_in_memory
    add_initializer               no copy, and ours must stay; optimisers would look for a file on a disk: not used

Both ways leave nothing behind that must be kept, so that all plaintext is wiped once the session is there. Tensors that the second
way cannot carry (small ones that shape inference wants to see, those inside bodies of If and Loop, in attributes and functions, odd
types) are moved into the graph first.
"""

import math
import secrets
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.memory import Plaintext, anonymous
from modelward_runtime.onnxfile import BYTES, PATHS, ExternalTensor, external_tensor, fields

_SMALL: Final = 64 * 1024  # bytes
_MOST_GRAPH: Final = 2**31 - 1  # bytes of a protobuf message
_STEP: Final = 4 << 20  # bytes that are copied at a time: other threads wait meanwhile, the one that answers probes too
_BFLOAT16: Final = 16

# TensorProto.DataType -> numpy type, of the types that numpy and ONNX Runtime lay out alike; bfloat16 goes by its bits.
_TYPES: Final[Mapping[int, str]] = {
    1: "f4", 2: "u1", 3: "i1", 4: "u2", 5: "i2", 6: "i4", 7: "i8", 9: "?", 10: "f2", 11: "f8", 12: "u4", 13: "u8", _BFLOAT16: "u2",
}  # fmt: skip

Piece = bytes | memoryview


def give(ort: Any, options: Any, plaintext: Plaintext) -> list[Any]:  # noqa: ANN401  onnxruntime is untyped
    """Set up `options` for a session of `plaintext.graph`. What is returned must live until the session exists."""
    values: dict[str, Any] = {}

    def place(tensor: ExternalTensor, *, is_top: bool) -> memoryview | None:
        """The bytes that go into the graph; None when the tensor is given beside it."""
        content = _bytes_of(tensor, plaintext)
        if not is_top or len(content) < _SMALL or tensor.data_type not in _TYPES:
            return content
        values[tensor.name] = _value(ort, tensor, content)
        return None

    rewritten = _Rewriter(plaintext.graph, place)
    pieces = rewritten.message(0, len(plaintext.graph), ("model",))
    if rewritten.changed:
        _replace_graph(plaintext, pieces)
    if values:
        options.add_external_initializers(list(values), list(values.values()))
    return list(values.values())


def _bytes_of(tensor: ExternalTensor, plaintext: Plaintext) -> memoryview:
    folder = plaintext.graph_path.rpartition("/")[0]
    whole = plaintext.files[f"{folder}/{tensor.path}" if folder else tensor.path]
    end = tensor.offset + tensor.length if tensor.length else len(whole)
    return whole[tensor.offset : end]


def _value(ort: Any, tensor: ExternalTensor, content: memoryview) -> Any:  # noqa: ANN401  onnxruntime is untyped
    """A tensor on the very memory; LoadError when there are not as many bytes as its shape needs."""
    numpy_type = np.dtype(_TYPES[tensor.data_type])
    needed = math.prod(tensor.shape) * numpy_type.itemsize
    if needed != len(content):
        raise LoadError(
            LoadReason.INVALID_MODEL,
            f"the weights of {tensor.name!r} need {needed} bytes by shape and type, and {tensor.location!r} holds {len(content)} for them",
            "load",
            permanent=True,
        )
    array = np.frombuffer(content, numpy_type).reshape(tensor.shape)
    if tensor.data_type == _BFLOAT16:
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, _BFLOAT16)
    return ort.OrtValue.ortvalue_from_numpy(array)


def _replace_graph(plaintext: Plaintext, pieces: list[Piece]) -> None:
    """New memory of these pieces, some of which lie in the old one."""
    size = sum(map(len, pieces))
    if size > _MOST_GRAPH:
        raise LoadError(
            LoadReason.INVALID_MODEL,
            f"the graph would have {size} bytes with the weights that must lie in it, and 2 GiB is the most",
            "load",
            permanent=True,
        )
    graph, at = anonymous(size), 0
    for piece in pieces:
        for begin in range(0, len(piece), _STEP):
            part = piece[begin : begin + _STEP]
            graph[at : at + len(part)] = part
            at += len(part)
    plaintext.replace_graph(graph)


class Ends:
    """Two entries of metadata, in front of a graph and behind it, that nobody can guess: a session that knows both has read it whole.

    A message may be continued by appending fields (protobuf's rule for concatenation). When a reader opens twice, skips or shares
    bytes with another one, the lengths in between no longer fit, and the last entry is no field of the model any more.
    """

    def __init__(self) -> None:
        self._entries = {f"modelward.{name}": secrets.token_hex(8) for name in ("first", "last")}
        self.head, self.tail = (_metadata(*entry) for entry in self._entries.items())

    def are_in(self, metadata: Mapping[str, str]) -> bool:
        """Does a session's metadata hold both?"""
        return all(metadata.get(name) == text for name, text in self._entries.items())


class _Rewriter:
    """Copies a model's message, putting bytes into tensors that say they are elsewhere. Field numbers: onnxfile.py."""

    def __init__(self, content: memoryview, place: Any) -> None:  # noqa: ANN401  a function with a named argument
        self._content = content
        self._place = place
        self.changed = False

    def message(self, start: int, end: int, kinds: tuple[str, ...]) -> list[Piece]:
        """The message in pieces; unchanged stretches are views."""
        pieces: list[Piece] = []
        kept = begin = start
        for number, wire, value, length, after in fields(self._content, start, end):
            inner = PATHS[kinds[-1]].get(number) if wire == BYTES else None
            new = None if inner is None else self._inside(value, value + length, (*kinds, inner))
            if new is not None:
                tag = _varint(number << 3 | BYTES) + _varint(sum(map(len, new)))
                pieces += [self._content[kept:begin], tag, *new]
                kept = after
            begin = after
        return [*pieces, self._content[kept:end]]

    def _inside(self, start: int, end: int, kinds: tuple[str, ...]) -> list[Piece] | None:
        """What a field's message becomes; None when it stays as it is."""
        if kinds[-1] == "tensor":
            return self._tensor(start, end, is_top=kinds == ("model", "graph", "tensor"))
        pieces = self.message(start, end, kinds)
        return pieces if len(pieces) > 1 else None

    def _tensor(self, start: int, end: int, *, is_top: bool) -> list[Piece] | None:
        tensor = external_tensor(self._content, start, end)
        content = None if tensor is None else self._place(tensor, is_top=is_top)
        if content is None:
            return None
        self.changed = True
        return [*self._without_place(start, end), _varint(9 << 3 | BYTES) + _varint(len(content)), content]

    def _without_place(self, start: int, end: int) -> Iterator[memoryview]:
        """All fields but raw_data, external_data and data_location."""
        begin = start
        for number, *_, after in fields(self._content, start, end):
            if number not in {9, 13, 14}:
                yield self._content[begin:after]
            begin = after


def _metadata(key: str, value: str) -> bytes:
    """ModelProto metadata_props 14, of StringStringEntryProto key 1, value 2."""
    entry = b"".join(_varint(n << 3 | BYTES) + _varint(len(t)) + t.encode() for n, t in ((1, key), (2, value)))
    return _varint(14 << 3 | BYTES) + _varint(len(entry)) + entry


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
