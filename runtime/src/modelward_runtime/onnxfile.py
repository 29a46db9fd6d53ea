"""Reads of an .onnx file what must be known before ONNX Runtime sees it, without the `onnx` package and without the weights.

`engine.py` calls `check`, or `check_in_memory` for a sealed model, before it makes a session: ONNX Runtime's own words for a cut
file, an LFS pointer or a missing weights file do not tell a person what to do, and weights that nobody gave with a model from memory
must not be looked for on a disk. The walk goes over mapped memory and skips what it does not need, so a file of gigabytes costs as
little as its graph; `weights.py` walks with the same `fields`. It must not decide what ONNX Runtime supports, and
must see every tensor that ONNX Runtime sees: what protobuf's parsers do not all read alike is refused, never guessed.

Field numbers are those of onnx.proto (ModelProto graph 7, opset_import 8, training_info 20, functions 25; TrainingInfoProto initialization
1, algorithm 2; GraphProto node 1, initializer 5, sparse_initializer 15; NodeProto op_type 4, attribute 5; AttributeProto t 5, g 6, tensors
10, graphs 11, sparse_tensor 22, sparse_tensors 23; FunctionProto node 7; SparseTensorProto values 1, indices 2; TensorProto dims 1,
data_type 2, name 8, external_data 13, data_location 14).
"""

import mmap
import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import msgspec

from modelward_runtime.errors import LoadError, LoadReason

Content = mmap.mmap | memoryview
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
DEFAULT, EXTERNAL = 0, 1  # TensorProto.DataLocation
_MOST_TAG = 2**32 - 1  # protobuf cuts off what is above
_UINT64 = 2**64 - 1
_MOST_DIGITS = 18  # of an offset: all such numbers fit 64 bits
_UNLISTED = "lost+found"  # at the top of a volume: neither digest nor signature speaks of it

# Where tensors may hide: message kind -> field number -> kind of the message in that field.
PATHS: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}


class Malformed(Exception):
    """The bytes are no protobuf of this shape."""


class ExternalTensor(msgspec.Struct, frozen=True):
    """A tensor whose bytes lie in another file."""

    name: str
    location: str
    offset: int = 0
    length: int = 0  # bytes, 0: to the end of the file
    data_type: int = 0  # TensorProto.DataType
    shape: tuple[int, ...] = ()

    @property
    def path(self) -> str:
        """The location without detours; empty when it is none below the model's folder."""
        path = posixpath.normpath(self.location) if self.location else ""
        return "" if path in {"", "."} or path.startswith(("/", "../")) or path == ".." else path


class Field(NamedTuple):
    """One field of a protobuf message; places are offsets into the content, and `end` is where the next field begins."""

    number: int
    wire: int
    value: int  # of a varint; else the place of the bytes
    length: int
    end: int


class Contents(msgspec.Struct):
    """What a model file says about itself."""

    opsets: dict[str, int] = msgspec.field(default_factory=dict)  # domain -> version
    external: list[ExternalTensor] = msgspec.field(default_factory=list)
    operators: set[str] = msgspec.field(
        default_factory=set
    )  # without their domains, those of subgraphs and functions too
    has_graph: bool = False


def check(file: Path) -> Contents:
    """The file's contents, once everything it refers to is known to be there; LoadError says what is not."""
    contents = read(file)
    root = file.parent.resolve()
    for tensor in contents.external:
        _check_external(tensor, root)
    return contents


def check_in_memory(graph: memoryview, name: str, sizes: Mapping[str, int]) -> Contents:
    """The same for a model in memory: `sizes` are those of all its files by path, and no other may be named."""
    contents = _read(graph, len(graph), name)
    for tensor in contents.external:
        _check_given(tensor, sizes, posixpath.dirname(name))
    return contents


def read(file: Path) -> Contents:
    """Walk the file; LoadError InvalidModel says what it is instead of a model."""
    size = file.stat().st_size
    if size == 0:
        raise _invalid(file.name, "the file is empty")
    with file.open("rb") as source, mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _read(content, size, file.name)


def _read(content: Content, size: int, name: str) -> Contents:
    contents = Contents()
    try:
        _walk(content, 0, size, "model", contents)
    except (Malformed, UnicodeDecodeError, RecursionError) as error:
        raise _invalid(name, _guess(bytes(content[:64])) or f"{error} ({size} bytes)") from None
    if not contents.has_graph:
        raise _invalid(name, "there is no graph in it")
    return contents


def _walk(content: Content, start: int, end: int, kind: str, into: Contents) -> None:
    paths = PATHS[kind]
    for number, wire, value, length, *_ in fields(content, start, end):
        if wire != BYTES:
            continue
        if kind == "model" and number == 8:
            _read_opset(content, value, value + length, into)
        if kind == "node" and number == 4:
            into.operators.add(text(content, value, length))
        inner = paths.get(number)
        if inner == "tensor":
            _read_tensor(content, value, value + length, into)
        elif inner:
            into.has_graph |= kind == "model" and inner == "graph"
            _walk(content, value, value + length, inner, into)


def fields(content: Content, start: int, end: int) -> Iterator[Field]:
    """Each field of a message: a varint's value, or the place and length of its bytes."""
    at = start
    while at < end:
        tag, at = _varint(content, at, end)
        number, wire = tag >> 3, tag & 7
        if number == 0 or tag > _MOST_TAG:
            raise Malformed("the bytes are not those of an ONNX model")
        value, length = at, 0
        if wire == VARINT:
            value, at = _varint(content, at, end)
        elif wire == BYTES:
            length, value = _varint(content, at, end)
            at = value + length
        elif wire in {FIXED64, FIXED32}:
            at += 8 if wire == FIXED64 else 4
        else:
            raise Malformed("the bytes are not those of an ONNX model")
        if at > end:
            raise Malformed("the file ends in the middle of the model: was it cut?")
        yield Field(number, wire, value, length, at)


def _varint(content: Content, at: int, end: int) -> tuple[int, int]:
    """A base-128 number, cut to 64 bits as protobuf does, and the place behind it."""
    value = shift = 0
    while at < end:
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _UINT64, at
        shift += 7
        if shift > 63:
            raise Malformed("the bytes are not those of an ONNX model")
    raise Malformed("the file ends in the middle of the model: was it cut?")


def _read_opset(content: Content, start: int, end: int, into: Contents) -> None:
    domain, version = "", 0
    for number, wire, value, length, *_ in fields(content, start, end):
        if number == 1 and wire == BYTES:
            domain = text(content, value, length)
        elif number == 2 and wire == VARINT:
            version = value
    into.opsets[domain or "ai.onnx"] = version


def _read_tensor(content: Content, start: int, end: int, into: Contents) -> None:
    tensor = external_tensor(content, start, end)
    if tensor is not None:
        into.external.append(tensor)


def external_tensor(content: Content, start: int, end: int) -> ExternalTensor | None:
    """What a TensorProto says about its weights elsewhere; None when it carries them itself."""
    name, entries, places, data_type = "", dict[str, str](), set[int](), 0
    shape: list[int] = []
    for number, wire, value, length, *_ in fields(content, start, end):
        if number == 1:
            shape += [value] if wire == VARINT else packed(content, value, value + length)
        elif number == 2 and wire == VARINT:
            data_type = value
        elif number == 8 and wire == BYTES:
            name = text(content, value, length)
        elif number == 13 and wire == BYTES:
            key, entry = _read_entry(content, value, value + length)
            if entries.setdefault(key, entry) != entry:
                raise Malformed(f"the tensor {name!r} gives its external {key!r} twice")
        elif number == 14:
            places.add(value if wire == VARINT else -1)
    if not _is_external(name, places, entries):
        return None
    offset, length = _number(entries, "offset"), _number(entries, "length")
    return ExternalTensor(name, entries.get("location", ""), offset, length, data_type, tuple(shape))


def _is_external(name: str, places: set[int], entries: Mapping[str, str]) -> bool:
    """Protobuf drops values it does not know, the last of several counts, fields given apart are merged: only what is plain passes."""
    if places == {EXTERNAL}:
        return True
    if places <= {DEFAULT} and not entries:
        return False
    raise Malformed(
        f"the tensor {name!r} does not say plainly whether its bytes are in another file "
        f"(data_location {sorted(places)}, external_data {sorted(entries)}): save the model anew with the onnx package"
    )


def text(content: Content, start: int, length: int) -> str:
    """A string field."""
    return bytes(content[start : start + length]).decode()


def packed(content: Content, at: int, end: int) -> Iterator[int]:
    """The numbers of a repeated field in its packed form."""
    while at < end:
        value, at = _varint(content, at, end)
        yield value


def _read_entry(content: Content, start: int, end: int) -> tuple[str, str]:
    texts = {
        number: text(content, value, length)
        for number, wire, value, length, *_ in fields(content, start, end)
        if wire == BYTES
    }
    return texts.get(1, ""), texts.get(2, "")


def _number(entries: Mapping[str, str], key: str) -> int:
    text = entries.get(key, "0")
    if not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS):
        raise Malformed(f"external data with the {key} {text[:40]!r}, which is no number of bytes")
    return int(text)


def _check_external(tensor: ExternalTensor, root: Path) -> None:
    """Refuse weights outside the model's folder, and weights that are not there or too short."""
    what = _said_of(tensor)
    file = (root / tensor.path).resolve()
    if not tensor.path or ".." in PurePosixPath(tensor.location).parts or not file.is_relative_to(root):
        raise _outside(f"{what}, which is outside the model's folder; only files beside the model may be named")
    if file.relative_to(root).parts[:1] == (_UNLISTED,):
        raise _outside(f"{what}, and no digest or signature covers {_UNLISTED}: move the file beside the model")
    if not file.is_file():
        raise _external_missing(f"{what}, and there is no such file: upload it beside the model, as a folder")
    _check_range(tensor, what, file.stat().st_size)


def _check_given(tensor: ExternalTensor, sizes: Mapping[str, int], folder: str) -> None:
    """Refuse weights that are not in a file of the sealed model, or not all of them."""
    what = _said_of(tensor)
    if not tensor.path or ".." in PurePosixPath(tensor.location).parts:
        raise _outside(f"{what}, which is outside the model; only files of the sealed model may be named")
    size = sizes.get(posixpath.join(folder, tensor.path))
    if size is None:
        raise _external_missing(f"{what}, and no such file is in the sealed model: seal the whole folder")
    _check_range(tensor, what, size)


def _check_range(tensor: ExternalTensor, what: str, size: int) -> None:
    needed = tensor.offset + tensor.length
    if size < needed:
        raise _external_missing(f"{what} up to byte {needed}, and the file has {size} bytes: was it cut?")


def _said_of(tensor: ExternalTensor) -> str:
    return f"the weights of {tensor.name!r} are said to be in {tensor.location!r}"


def _outside(message: str) -> LoadError:
    return LoadError(LoadReason.EXTERNAL_DATA_OUTSIDE_FOLDER, message, "load", permanent=True)


def _external_missing(message: str) -> LoadError:
    return LoadError(LoadReason.EXTERNAL_DATA_MISSING, message, "load", permanent=True)


def _invalid(name: str, why: str) -> LoadError:
    return LoadError(LoadReason.INVALID_MODEL, f"{name} is not an ONNX model: {why}", "load", permanent=True)


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
