"""The model of the soak, and what the bare model says to a caller's own rows.

    y[N, 3] = x[N, 4] @ WEIGHTS + TABLE[k[N]]      z[N, 4] = x + x

Whole numbers only, and small ones, so that every sum is exact in FP32 whatever shares a batch: an answer is right bit by bit or wrong.
A `k` that is not in the table breaks the run that it is part of, as only ONNX Runtime finds out: what would fail a batch's neighbours.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

NAME = "soak"
WEIGHTS = np.array([[1, 0, 2], [0, 1, -1], [1, 1, 0], [-1, 2, 1]], np.float32)
TABLE = np.arange(24, dtype=np.float32).reshape(8, 3)
LARGEST = 1 << 20  # of a number in x: four of them times three stay below 2**24
BLOCK = 2048  # requests whose answers are computed at once


def build() -> onnx.ModelProto:
    """The ONNX model."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "weights"], ["product"]),
            helper.make_node("Gather", ["table", "k"], ["row"]),
            helper.make_node("Add", ["product", "row"], ["y"]),
            helper.make_node("Add", ["x", "x"], ["z"]),
        ],
        NAME,
        [value("x", TensorProto.FLOAT, ["N", 4]), value("k", TensorProto.INT64, ["N"])],
        [value("y", TensorProto.FLOAT, ["N", 3]), value("z", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(WEIGHTS, "weights"), numpy_helper.from_array(TABLE, "table")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@dataclass(frozen=True, slots=True)
class Sound:
    """What one caller sends, x[rows, 4] and k[rows], and what the bare model answers to just that: y[rows, 3], z[rows, 4]."""

    x: NDArray[Any]
    k: NDArray[Any]
    y: NDArray[Any]
    z: NDArray[Any]


class Questions:
    """An endless row of them; no two in a run have a row in common."""

    def __init__(self, seed: int, first: int, step: int) -> None:
        """Rows are told apart by their first number: `first`, `first` + `step`, and so on, modulo `LARGEST`."""
        self._random = np.random.default_rng([seed, first])
        self._next, self._step = first, step
        self._session = onnxruntime.InferenceSession(build().SerializeToString(), providers=["CPUExecutionProvider"])
        self._made: list[Sound] = []

    def draw(self) -> Sound:
        """The next one."""
        if not self._made:
            self._made = self._compute()
        return self._made.pop()

    def _compute(self) -> list[Sound]:
        counts = self._random.choice([1, 1, 1, 2, 3, 7], BLOCK)
        total = int(counts.sum())
        x = self._random.integers(0, LARGEST, (total, 4)).astype(np.float32)
        x[:, 0] = (self._next + self._step * np.arange(total)) % LARGEST
        self._next += self._step * total
        k = self._random.integers(0, len(TABLE), total)
        y, z = self._session.run(["y", "z"], {"x": x, "k": k})
        ends = counts.cumsum()
        return [
            Sound(x[end - n : end], k[end - n : end], y[end - n : end], z[end - n : end])
            for n, end in zip(counts.tolist(), ends.tolist(), strict=True)
        ]
