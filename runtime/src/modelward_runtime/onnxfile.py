"""Reads of an .onnx file what must be known before ONNX Runtime sees it, without the `onnx` package and without the weights.

`engine.py` calls `check` before it makes a session: ONNX Runtime's own words for a cut file, an LFS pointer or a missing
weights file do not tell a person what to do. The walk goes over a memory map and skips what it does not need, so a file of
gigabytes costs as little as its graph; `onnxsplit.py` walks with the same `fields`. It must not decide what ONNX Runtime supports.

Field numbers are those of onnx.proto (ModelProto graph 7, opset_import 8, functions 25; GraphProto node 1, initializer 5,
sparse_initializer 15; NodeProto attribute 5; AttributeProto t 5, g 6, tensors 10, graphs 11, sparse_tensor 22, sparse_tensors 23;
FunctionProto node 7; SparseTensorProto values 1, indices 2; TensorProto name 8, external_data 13, data_location 14).
"""

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from modelward_runtime.errors import LoadError, LoadReason

EXTERNAL = 1  # TensorProto.DataLocation.EXTERNAL
VARINT, _FIXED64, BYTES, _FIXED32 = 0, 1, 2, 5  # wire types

# Where tensors may hide: message kind -> field number -> kind of the message in that field.
_PATHS: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}


class Malformed(Exception):
    """The bytes are no protobuf of this shape."""


@dataclass(frozen=True)
class ExternalTensor:
    """A tensor whose bytes lie in another file."""

    name: str
    location: str
    offset: int = 0
    length: int = 0  # bytes, 0: to the end of the file


@dataclass
class Contents:
    """What a model file says about itself."""

    opsets: dict[str, int] = field(default_factory=dict)  # domain -> version
    external: list[ExternalTensor] = field(default_factory=list)
    has_graph: bool = False


def check(file: Path) -> Contents:
    """The file's contents, once everything it refers to is known to be there; LoadError says what is not."""
    contents = read(file)
    root = file.parent.resolve()
    for tensor in contents.external:
        _check_external(tensor, root)
    return contents


def read(file: Path) -> Contents:
    """Walk the file; LoadError InvalidModel says what it is instead of a model."""
    size = file.stat().st_size
    if size == 0:
        raise _invalid(file, "the file is empty")
    with file.open("rb") as source, mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as content:
        contents = Contents()
        try:
            _walk(content, 0, size, "model", contents)
        except (Malformed, UnicodeDecodeError, RecursionError) as error:
            raise _invalid(file, _guess(content[:64]) or f"{error} ({size} bytes)") from None
    if not contents.has_graph:
        raise _invalid(file, "there is no graph in it")
    return contents


def _walk(content: mmap.mmap, start: int, end: int, kind: str, into: Contents) -> None:
    paths = _PATHS[kind]
    for number, wire, value, length, _ in fields(content, start, end):
        if wire != BYTES:
            continue
        if kind == "model" and number == 8:
            _read_opset(content, value, value + length, into)
        inner = paths.get(number)
        if inner == "tensor":
            _read_tensor(content, value, value + length, into)
        elif inner:
            into.has_graph |= kind == "model" and inner == "graph"
            _walk(content, value, value + length, inner, into)


def fields(content: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Number, wire type, the value (varint) or the place and length (bytes), and the end of each field of a message."""
    at = start
    while at < end:
        tag, at = _varint(content, at, end)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise Malformed("the bytes are not those of an ONNX model")
        value, length = at, 0
        if wire == VARINT:
            value, at = _varint(content, at, end)
        elif wire == BYTES:
            length, value = _varint(content, at, end)
            at = value + length
        elif wire in {_FIXED64, _FIXED32}:
            at += 8 if wire == _FIXED64 else 4
        else:
            raise Malformed("the bytes are not those of an ONNX model")
        if at > end:
            raise Malformed("the file ends in the middle of the model: was it cut?")
        yield number, wire, value, length, at


def _varint(content: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """A base-128 number and the place behind it."""
    value = shift = 0
    while at < end:
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise Malformed("the bytes are not those of an ONNX model")
    raise Malformed("the file ends in the middle of the model: was it cut?")


def _read_opset(content: mmap.mmap, start: int, end: int, into: Contents) -> None:
    domain, version = "", 0
    for number, wire, value, length, _ in fields(content, start, end):
        if number == 1 and wire == BYTES:
            domain = content[value : value + length].decode()
        elif number == 2 and wire == VARINT:
            version = value
    into.opsets[domain or "ai.onnx"] = version


def _read_tensor(content: mmap.mmap, start: int, end: int, into: Contents) -> None:
    name, entries, external = "", dict[str, str](), False
    for number, wire, value, length, _ in fields(content, start, end):
        if number == 8 and wire == BYTES:
            name = content[value : value + length].decode()
        elif number == 13 and wire == BYTES:
            key, text = _read_entry(content, value, value + length)
            entries[key] = text
        elif number == 14 and wire == VARINT:
            external = value == EXTERNAL
    if external:
        into.external.append(
            ExternalTensor(name, entries.get("location", ""), _number(entries, "offset"), _number(entries, "length"))
        )


def _read_entry(content: mmap.mmap, start: int, end: int) -> tuple[str, str]:
    texts = {
        number: content[value : value + length].decode()
        for number, wire, value, length, _ in fields(content, start, end)
        if wire == BYTES
    }
    return texts.get(1, ""), texts.get(2, "")


def _number(entries: Mapping[str, str], key: str) -> int:
    text = entries.get(key, "0")
    if not text.isdecimal():
        raise Malformed(f"external data with the {key} {text!r}, which is no number")
    return int(text)


def _check_external(tensor: ExternalTensor, root: Path) -> None:
    """Refuse weights outside the model's folder, and weights that are not there or too short."""
    what = f"the weights of {tensor.name!r} are said to be in {tensor.location!r}"
    path = PurePosixPath(tensor.location)
    file = root / path
    if not tensor.location or path.is_absolute() or ".." in path.parts or not file.resolve().is_relative_to(root):
        raise LoadError(
            LoadReason.EXTERNAL_DATA_OUTSIDE_FOLDER,
            f"{what}, which is outside the model's folder; only files beside the model may be named",
            "load",
            permanent=True,
        )
    if not file.is_file():
        raise _external_missing(f"{what}, and there is no such file: upload it beside the model, as a folder")
    size, needed = file.stat().st_size, tensor.offset + tensor.length
    if size < needed:
        raise _external_missing(f"{what} up to byte {needed}, and the file has {size} bytes: was it cut?")


def _external_missing(message: str) -> LoadError:
    return LoadError(LoadReason.EXTERNAL_DATA_MISSING, message, "load", permanent=True)


def _invalid(file: Path, why: str) -> LoadError:
    return LoadError(LoadReason.INVALID_MODEL, f"{file.name} is not an ONNX model: {why}", "load", permanent=True)


def _guess(head: bytes) -> str:
    """What people upload by mistake."""
    guesses = {
        b"version https://git-lfs": "it is a Git LFS pointer, fetch the file itself with `git lfs pull`",
        b"<": "it is HTML or XML, perhaps an error page saved under this name",
        b"{": "it is JSON",
        b"PK\x03\x04": "it is a ZIP archive, perhaps a PyTorch model: export it to ONNX",
        b"\x80": "it is a Python pickle: convert the model to ONNX, for scikit-learn with skl2onnx",
        b"\x1f\x8b": "it is gzip, unpack it first",
        b"\x89HDF": "it is HDF5, perhaps a Keras model: export it to ONNX",
    }
    return next((said for magic, said in guesses.items() if head.lstrip().startswith(magic)), "")
