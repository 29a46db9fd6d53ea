"""Moves the weights of a single .onnx file into a second file, on the way into `modelward seal`.

A sealed model is loaded from memory, and only weights in a file of their own load without a second copy. The rewritten graph and the
weights are made of pieces of the original's memory map while they are encrypted: no plaintext is written, and memory stays flat. It
must not change what the model computes: every byte it does not move is copied.

Moved are the initializers of the main graph with `raw_data` of 1 KiB or more; ONNX Runtime needs smaller ones (shapes, axes) while it
builds the graph. Field numbers are those of onnx.proto (TensorProto data_type 2, segment 3, raw_data 9, external_data 13,
data_location 14; StringStringEntryProto key 1, value 2). Large tensors begin at a page, as mapping them wants; small ones at 64 bytes.
"""

import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.onnxfile import BYTES, EXTERNAL, VARINT, Malformed, fields

LEAST: Final = 1024  # bytes of raw_data
_LARGE, _PAGE, _LINE = 65_536, 4096, 64
_PIECE = 1 << 20
_STRING = 8  # TensorProto.DataType.STRING
_GRAPH, _INITIALIZER = 7, 5  # of ModelProto, of GraphProto

Span = tuple[int, int]
Part = Span | bytes  # of the original file, or new


@dataclass(frozen=True)
class Weights:
    """One tensor's bytes: where they lie in the original, and where they go."""

    start: int
    end: int
    offset: int


class SplitModel:
    """The two files that a model becomes; the original stays mapped until `close`."""

    def __init__(self, file: Path, data_name: str) -> None:
        """LoadError InvalidModel when it is no model. `data_name` is the name of the second file, beside the first."""
        with file.open("rb") as source:
            self._content = mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ)
        self._data_name = data_name
        self._end = 0  # of the second file
        self.weights: list[Weights] = []
        try:
            self._parts = self._model()
        except Malformed as error:
            self.close()
            raise LoadError(LoadReason.INVALID_MODEL, f"{file.name}: {error}", "load", permanent=True) from None

    def close(self) -> None:
        """Unmap the original."""
        self._content.close()

    def graph(self) -> Iterator[bytes]:
        """The rewritten model, in pieces."""
        for part in self._parts:
            if isinstance(part, bytes):
                yield part
            else:
                yield from self._pieces(*part)

    def data(self) -> Iterator[bytes]:
        """The second file, in pieces."""
        at = 0
        for tensor in self.weights:
            yield bytes(tensor.offset - at)
            yield from self._pieces(tensor.start, tensor.end)
            at = tensor.offset + tensor.end - tensor.start

    def _pieces(self, start: int, end: int) -> Iterator[bytes]:
        for at in range(start, end, _PIECE):
            yield self._content[at : min(at + _PIECE, end)]

    def _model(self) -> list[Part]:
        return self._rewritten(0, len(self._content), _GRAPH, self._graph)

    def _graph(self, start: int, end: int) -> list[Part]:
        return self._rewritten(start, end, _INITIALIZER, self._tensor)

    def _rewritten(
        self, start: int, end: int, wanted: int, rewrite: Callable[[int, int], list[Part] | None]
    ) -> list[Part]:
        """A message's parts, with each field of one number rewritten."""
        parts: list[Part] = []
        copied = begin = start
        for number, wire, value, length, after in fields(self._content, start, end):
            inner = rewrite(value, value + length) if (number, wire) == (wanted, BYTES) else None
            if inner is not None:
                parts += [(copied, begin), _tag(wanted, BYTES) + _varint(_size(inner)), *inner]
                copied = after
            begin = after
        return [*parts, (copied, end)]

    def _tensor(self, start: int, end: int) -> list[Part] | None:
        """The tensor without its bytes and with the place they went to; None when it stays as it is."""
        kept: list[Part] = []
        raw: list[Span] = []
        begin = start
        for number, wire, value, length, after in fields(self._content, start, end):
            if number in {3, 13} or (number, wire, value) in {(2, VARINT, _STRING), (14, VARINT, EXTERNAL)}:
                return None
            if (number, wire) == (9, BYTES):
                raw.append((value, value + length))
            elif number != 14:
                kept.append((begin, after))
            begin = after
        if len(raw) != 1 or raw[0][1] - raw[0][0] < LEAST:
            return None
        return [*kept, self._place(*raw[0])]

    def _place(self, start: int, end: int) -> bytes:
        """Take the bytes into the second file; the fields that say so."""
        alignment = _PAGE if end - start >= _LARGE else _LINE
        offset = -(-self._end // alignment) * alignment
        self._end = offset + end - start
        self.weights.append(Weights(start, end, offset))
        entries = {"location": self._data_name, "offset": str(offset), "length": str(end - start)}
        told = b"".join(_bytes(13, _bytes(1, key.encode()) + _bytes(2, text.encode())) for key, text in entries.items())
        return told + _tag(14, VARINT) + _varint(EXTERNAL)


def _size(parts: list[Part]) -> int:
    return sum(len(part) if isinstance(part, bytes) else part[1] - part[0] for part in parts)


def _bytes(number: int, content: bytes) -> bytes:
    return _tag(number, BYTES) + _varint(len(content)) + content


def _tag(number: int, wire: int) -> bytes:
    return _varint(number << 3 | wire)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
