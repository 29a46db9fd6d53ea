"""The line of `modelward serve`: addresses that can be clicked, and an example that can be pasted."""

import shlex
from typing import Any

import msgspec
import pytest

from modelward_runtime.engine import OnnxModel
from modelward_runtime.greeting import ready_line
from modelward_runtime.model import TensorSpec
from modelward_runtime.surroundings import Ready


def ready(*inputs: TensorSpec) -> Ready:
    model = OnnxModel("m", "1", inputs, (), "CPUExecutionProvider", 1, session=None)
    return Ready(model, http_port=8080, grpc_port=8081, admin_port=8082)


@pytest.mark.parametrize(
    ("host", "shown"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1"), ("::1", "[::1]"), ("box", "box")],
)
def test_addresses_can_be_reached_from_here(host: str, shown: str) -> None:
    line = ready_line(ready(), host)
    assert line.startswith(
        f"m is ready: REST http://{shown}:8080/v2/models/m  gRPC {shown}:8081  admin http://{shown}:8082  "
    )
    assert "\n" not in line


@pytest.mark.parametrize(
    ("datatype", "zero"),
    [("FP32", 0.0), ("INT64", 0), ("BOOL", False), ("BYTES", ""), ("UINT8", 0), ("FP16", 0.0), ("BF16", 0.0)],
)
def test_the_example_is_a_request_of_the_models_shape(datatype: str, zero: Any) -> None:
    line = ready_line(ready(TensorSpec("x", datatype, (-1, 2)), TensorSpec("it's", datatype, ())), "127.0.0.1")
    *command, body = shlex.split(line.partition("try: ")[2])
    assert command == ["curl", "-s", "http://127.0.0.1:8080/v2/models/m/infer", "-d"]
    expected = [
        {"name": "x", "datatype": datatype, "shape": [1, 2], "data": [zero, zero]},
        {"name": "it's", "datatype": datatype, "shape": [], "data": [zero]},
    ]
    assert msgspec.json.decode(body) == {"inputs": expected}


def test_what_fits_no_line_is_not_shown() -> None:
    image = TensorSpec("x", "FP32", (1, 3, 224, 224))
    assert ready_line(ready(image), "127.0.0.1").endswith("try: curl -s http://127.0.0.1:8080/v2/models/m")
