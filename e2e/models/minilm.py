"""Writes all-MiniLM-L6-v2 as an ONNX graph: a BERT encoder, mean pooling and L2 normalisation. Called by the build only.

The published package carries the weights but no graph, so this file spells the graph out, formula by formula:

    BERT          Devlin et al. 2018, arXiv:1810.04805, section 3 and appendix A.2
    Attention     Vaswani et al. 2017, arXiv:1706.03762, equation 1:  softmax(Q K^T / sqrt(d)) V
    LayerNorm     Ba et al. 2016, arXiv:1607.06450, after each residual sum
    GELU          Hendrycks and Gimpel 2016, arXiv:1606.08415, the exact form x * Phi(x)
    Pooling       Reimers and Gurevych 2019, arXiv:1908.10084, section 3: the mean over the tokens that are not padding

Inputs `input_ids`, `attention_mask`, `token_type_ids`, INT64 [batch, sequence], sequence at most 512; output
`sentence_embedding`, FP32 [batch, 384], of length 1. The weights lie beside the graph as external data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from e2e.models.rows import Array

OPSET = 20  # the first with Gelu as an operator
LAYERS = 6
HIDDEN = 384
HEADS = 12
HEAD = HIDDEN // HEADS
EPSILON = 1e-12  # layer_norm_eps of the published config.json
EXTERNAL_DATA = "model.onnx.data"


@dataclass
class Graph:
    """Nodes and initialisers in the making. Each method adds one operator and returns the name of its result."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initialisers: dict[str, onnx.TensorProto] = field(default_factory=dict)

    def op(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        output = name or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def weight(self, name: str, value: Array) -> str:
        if name not in self.initialisers:
            self.initialisers[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def floating(self, value: float) -> str:
        return self.weight(f"float_{value:g}", np.array(value, np.float32))

    def integers(self, *values: int) -> str:
        return self.weight("ints_" + "_".join(map(str, values)), np.array(values, np.int64))


def build_graph(weights: dict[str, Array]) -> onnx.ModelProto:
    """The whole model over the tensors of `model.safetensors`, named as in the published checkpoint."""
    graph = Graph()
    hidden = _embed(graph, weights)
    bias = _padding_bias(graph)
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}."
        attended = _attend(graph, weights, prefix + "attention.", hidden, bias)
        hidden = _residual_norm(graph, weights, prefix + "attention.output.LayerNorm", hidden, attended)
        expanded = graph.op("Gelu", _dense(graph, weights, prefix + "intermediate.dense", hidden), approximate="none")
        contracted = _dense(graph, weights, prefix + "output.dense", expanded)
        hidden = _residual_norm(graph, weights, prefix + "output.LayerNorm", hidden, contracted)
    _pool(graph, hidden)
    return _finish(graph)


def _embed(graph: Graph, weights: dict[str, Array]) -> str:
    """Word + token type + position, then LayerNorm. [batch, sequence, hidden]"""
    prefix = "embeddings."
    tables = {
        kind: graph.weight(f"{prefix}{kind}_embeddings.weight", weights[f"{prefix}{kind}_embeddings.weight"])
        for kind in ("word", "token_type", "position")
    }
    words = graph.op("Gather", tables["word"], "input_ids")
    types = graph.op("Gather", tables["token_type"], "token_type_ids")
    length = graph.op("Shape", "input_ids", start=1, end=2)
    positions = graph.op("Slice", tables["position"], graph.integers(0), length, graph.integers(0))
    return _residual_norm(graph, weights, prefix + "LayerNorm", graph.op("Add", words, types), positions)


def _padding_bias(graph: Graph) -> str:
    """0 where a token counts, the lowest float where it is padding: added to the scores before the softmax."""
    mask = graph.op("Cast", "attention_mask", to=TensorProto.FLOAT)
    padding = graph.op("Sub", graph.floating(1), mask)
    bias = graph.op("Mul", padding, graph.floating(float(np.finfo(np.float32).min)))
    return graph.op("Unsqueeze", bias, graph.integers(1, 2))  # [batch, 1, 1, sequence]


def _attend(graph: Graph, weights: dict[str, Array], prefix: str, hidden: str, bias: str) -> str:
    """Multi-head self-attention: softmax(Q K^T / sqrt(d) + bias) V, heads joined again, then the output projection."""

    def heads(kind: str, order: list[int]) -> str:
        projected = _dense(graph, weights, f"{prefix}self.{kind}", hidden)
        split = graph.op("Reshape", projected, graph.integers(0, 0, HEADS, HEAD))
        return graph.op("Transpose", split, perm=order)

    query, value = heads("query", [0, 2, 1, 3]), heads("value", [0, 2, 1, 3])
    key_transposed = heads("key", [0, 2, 3, 1])
    scores = graph.op("Mul", graph.op("MatMul", query, key_transposed), graph.floating(1 / np.sqrt(HEAD)))
    attention = graph.op("Softmax", graph.op("Add", scores, bias), axis=-1)
    context = graph.op("Transpose", graph.op("MatMul", attention, value), perm=[0, 2, 1, 3])
    joined = graph.op("Reshape", context, graph.integers(0, 0, HIDDEN))
    return _dense(graph, weights, f"{prefix}output.dense", joined)


def _dense(graph: Graph, weights: dict[str, Array], name: str, value: str) -> str:
    """x W^T + b. The checkpoint keeps W as [out, in]; MatMul wants [in, out]."""
    product = graph.op("MatMul", value, graph.weight(f"{name}.weight", weights[f"{name}.weight"].T))
    return graph.op("Add", product, graph.weight(f"{name}.bias", weights[f"{name}.bias"]))


def _residual_norm(graph: Graph, weights: dict[str, Array], name: str, one: str, other: str) -> str:
    """LayerNorm(one + other) over the last axis."""
    scale, shift = (graph.weight(f"{name}.{part}", weights[f"{name}.{part}"]) for part in ("weight", "bias"))
    return graph.op("LayerNormalization", graph.op("Add", one, other), scale, shift, axis=-1, epsilon=EPSILON)


def _pool(graph: Graph, hidden: str) -> None:
    """sum(tokens * mask) / max(sum(mask), 1e-9), divided by its own length."""
    mask = graph.op("Unsqueeze", graph.op("Cast", "attention_mask", to=TensorProto.FLOAT), graph.integers(-1))
    total = graph.op("ReduceSum", graph.op("Mul", hidden, mask), graph.integers(1), keepdims=0)
    count = graph.op("Clip", graph.op("ReduceSum", mask, graph.integers(1), keepdims=0), graph.floating(1e-9))
    mean = graph.op("Div", total, count)
    length = graph.op("Clip", graph.op("ReduceL2", mean, graph.integers(1)), graph.floating(EPSILON))
    graph.op("Div", mean, length, name="sentence_embedding")


def _finish(graph: Graph) -> onnx.ModelProto:
    axes = ["batch", "sequence"]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, axes)
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    output = helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["batch", HIDDEN])
    body = helper.make_graph(graph.nodes, "minilm", inputs, [output], list(graph.initialisers.values()))
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(body, producer_name="modelward-e2e", opset_imports=[opset], ir_version=10)


def write_model(model: onnx.ModelProto, path: Path) -> None:
    """The graph to `path`, the weights to `model.onnx.data` beside it; checked as the pair that will be served."""
    onnx.save_model(model, path, save_as_external_data=True, location=EXTERNAL_DATA, size_threshold=1024)
    onnx.checker.check_model(str(path), full_check=True)
