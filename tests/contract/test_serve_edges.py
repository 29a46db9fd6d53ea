"""What is no plain tensor at a graph's edge, served by the real command: an input that is left out, and maps as a tensor."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from onnx import helper

from tests.onnx_models import optional, save, zipmap
from tests.processes import run

pytestmark = pytest.mark.process


def classifier() -> onnx.ModelProto:
    """The maps of `zipmap` over more[N, 2], or over x[N, 2] where that is left out."""
    made, maps = optional(), zipmap(["no", "yes"])
    maps.graph.node[0].input[0] = "y"
    maps.graph.node[0].output[0] = maps.graph.output[0].name = "p"
    made.graph.node.extend(maps.graph.node)
    made.graph.output.extend(maps.graph.output)
    made.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    return made


def test_an_input_may_be_left_out_and_maps_come_as_a_tensor_over_both_transports(tmp_path: Path) -> None:
    save(classifier(), tmp_path / "model/model.onnx")
    batching = {"maxBatchSize": 8, "maxDelayMicroseconds": 0}
    with run(tmp_path, {"directory": str(tmp_path / "model")}, batching=batching) as process:
        process.until_ready()
        told = json.loads(process.get("/v2/models/m", admin=False)[1])
        assert [None, {"optional": True}] == [tensor.get("parameters") for tensor in told["inputs"]]
        assert {"name": "p", "datatype": "FP32", "shape": [-1, 2], "parameters": {"classes": '["no","yes"]'}} == told[
            "outputs"
        ][1]
        for kind, port in ((triton_http, process.ports[0]), (triton_grpc, process.ports[1])):
            client = kind.InferenceServerClient(f"127.0.0.1:{port}")
            x, more = (kind.InferInput(name, [3, 2], "FP32") for name in ("x", "more"))
            x.set_data_from_numpy(np.full((3, 2), 0.25, np.float32))
            more.set_data_from_numpy(np.arange(6, dtype=np.float32).reshape(3, 2))
            np.testing.assert_array_equal(np.full((3, 2), 0.25), client.infer("m", [x]).as_numpy("p"))
            both = client.infer("m", [more, x])
            for name in ("y", "p"):
                np.testing.assert_array_equal(np.arange(6).reshape(3, 2), both.as_numpy(name))
            client.close()
