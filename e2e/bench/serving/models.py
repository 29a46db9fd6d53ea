"""The models that every server serves, made by code from fixed seeds, and the row that they are asked.

    tiny     4-16-3 network                              16 bytes in     the server is nearly all of the time
    middle   5 million parameters, 256-2048-2048-128     1 KB in         a batch costs far less than its rows one by one
    image    small convolution network on 3x224x224      602 KB in       moving and decoding the image costs as much as the model

All have one input `x` and one output `y`, FP32, with the batch first.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET, IR, SEED = 17, 8, 20260001
SHAPES: Final = {"tiny": (4,), "middle": (256,), "image": (3, 224, 224)}
MODELS: Final = tuple(SHAPES)


@dataclass(frozen=True, slots=True)
class Made:
    """A model on disk, what it is asked, and what ONNX Runtime alone answers."""

    name: str
    path: Path
    rows_path: Path
    rows: Any
    answer: Any


def make(name: str, folder: Path) -> Made:
    """Write FOLDER/NAME/model.onnx and rows.npy; ask ONNX Runtime itself for the answer."""
    import onnxruntime  # noqa: PLC0415  the adapters' own modules must not need onnx, nor this one a session to be imported

    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    path, rows = place / "model.onnx", ask_rows(name)
    onnx.save(build(name), path)
    np.save(place / "rows.npy", rows)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return Made(name, path, place / "rows.npy", rows, session.run(None, {"x": rows})[0])


def build(name: str) -> onnx.ModelProto:
    """The model of that name, the same bytes each time."""
    random = np.random.default_rng(SEED)
    if name == "image":
        return _model(name, *_convolutions(random), 10)
    sizes = {"tiny": (4, 16, 3), "middle": (256, 2048, 2048, 128)}[name]
    return _model(name, *_dense(random, sizes), sizes[-1])


def ask_rows(name: str) -> Any:
    """One row, as a camera or a feature store has it: multiples of 1/255, the same each time."""
    shape = (1, *SHAPES[name])
    return (np.random.default_rng(SEED + 1).integers(0, 256, shape) / 255).astype(np.float32)


Parts = tuple[list[onnx.NodeProto], list[onnx.TensorProto]]


def _dense(random: np.random.Generator, sizes: tuple[int, ...], first: str = "x") -> Parts:
    nodes, weights = [], []
    given = first
    for at, (rows, columns) in enumerate(pairwise(sizes)):
        last = at == len(sizes) - 2
        weights += [_weights(random, f"w{at}", (rows, columns), rows), _weights(random, f"b{at}", (columns,), rows)]
        nodes.append(helper.make_node("Gemm", [given, f"w{at}", f"b{at}"], ["y" if last else f"g{at}"]))
        if not last:
            nodes.append(helper.make_node("Relu", [f"g{at}"], [f"r{at}"]))
        given = f"r{at}"
    return nodes, weights


def _convolutions(random: np.random.Generator) -> Parts:
    nodes, weights = [], []
    given, channels = "x", 3
    for at, (made, size) in enumerate(((32, 7), (64, 3), (96, 3))):
        weights.append(_weights(random, f"k{at}", (made, channels, size, size), channels * size * size))
        pads = [size // 2] * 4
        nodes += [
            helper.make_node("Conv", [given, f"k{at}"], [f"c{at}"], strides=[2, 2], pads=pads),
            helper.make_node("Relu", [f"c{at}"], [f"a{at}"]),
        ]
        given, channels = f"a{at}", made
    nodes += [
        helper.make_node("GlobalAveragePool", [given], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
    ]
    last, dense = _dense(random, (channels, 10), "flat")
    return nodes + last, weights + dense


def _weights(random: np.random.Generator, name: str, shape: tuple[int, ...], fan_in: int) -> onnx.TensorProto:
    scale = (2 / fan_in) ** 0.5
    return numpy_helper.from_array((random.standard_normal(shape) * scale).astype(np.float32), name)


def _model(name: str, nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto], columns: int) -> onnx.ModelProto:
    takes = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", *SHAPES[name]])
    gives = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", columns])
    graph = helper.make_graph(nodes, name, [takes], [gives], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
