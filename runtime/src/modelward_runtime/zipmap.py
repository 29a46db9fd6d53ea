"""Classifiers whose probabilities are a sequence of maps, as scikit-learn's converters make them unless told otherwise: as tensors.

The last node of such a graph, `ZipMap` of ONNX-ML, makes of each row of a FP32 tensor [rows, classes] a map from class to number.
Nothing is lost on the way back: every map has all the classes, which stand in the node's attributes, in the order of the columns. So the
tensor that is served is the very one that the graph had, and the one that `options={'zipmap': False}` would have given.

`engine.py` asks for the classes before it makes a session of a graph that has the operator, and for arrays after each run. It must not
import onnxruntime.

Field numbers are those of onnx.proto (ModelProto graph 7, GraphProto node 1, NodeProto output 2, op_type 4, attribute 5, domain 7;
AttributeProto name 1, ints 8, strings 9); the operator is specified in ONNX's Operators-ml.md, "ai.onnx.ml.ZipMap".
"""

import mmap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from modelward_runtime.model import Array
from modelward_runtime.onnxfile import BYTES, VARINT, Content, fields, packed, text

Classes = tuple[int, ...] | tuple[str, ...]
_DOMAIN, OPERATOR = "ai.onnx.ml", "ZipMap"
_INT64 = 1 << 63


def classes_in_file(file: Path) -> Mapping[str, Classes]:
    """The classes of each ZipMap of a model file that `onnxfile` has found sound, by the name of its output."""
    with file.open("rb") as source, mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return classes_in(content)


def classes_in(content: Content) -> Mapping[str, Classes]:
    """The same of a model in memory, without a copy of it."""
    return dict(_zipmaps(content))


def to_array(rows: Sequence[Mapping[int | str, float]], classes: Classes) -> Array:
    """Maps as a FP32 tensor [rows, classes]; what they hold was FP32 before, and is it again."""
    return np.array([[row[name] for name in classes] for row in rows], np.float32).reshape(len(rows), len(classes))


def _zipmaps(content: Content) -> Iterator[tuple[str, Classes]]:
    for graph in fields(content, 0, len(content)):
        if (graph.number, graph.wire) != (7, BYTES):
            continue
        for node in fields(content, graph.value, graph.value + graph.length):
            if (node.number, node.wire) == (1, BYTES):
                yield from _zipmap(content, node.value, node.value + node.length)


def _zipmap(content: Content, start: int, end: int) -> Iterator[tuple[str, Classes]]:
    """The output and the classes of a node, where it is a ZipMap that names each of its classes once."""
    said = {2: "", 4: "", 7: ""}
    classes: list[int | str] = []
    for number, wire, value, length, _ in fields(content, start, end):
        if wire == BYTES and number in said:
            said[number] = text(content, value, length)
        elif wire == BYTES and number == 5 and said[4] in {"", OPERATOR}:
            classes += _listed(content, value, value + length)
    if (said[4], said[7]) == (OPERATOR, _DOMAIN) and classes and len(set(classes)) == len(classes):
        yield said[2], tuple(classes)  # type: ignore[misc]  # ONNX Runtime takes a node with one of the two lists only


def _listed(content: Content, start: int, end: int) -> Iterator[int | str]:
    """The elements of an attribute that is a list of integers or of strings."""
    for number, wire, value, length, _ in fields(content, start, end):
        if number == 8:
            numbers = [value] if wire == VARINT else packed(content, value, value + length)
            yield from (one - 2 * _INT64 if one >= _INT64 else one for one in numbers)
        elif number == 9 and wire == BYTES:
            yield text(content, value, length)
