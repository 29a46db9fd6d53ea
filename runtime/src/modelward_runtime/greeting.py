"""The one line that `modelward serve` prints when it is ready: where it answers, and a call to try."""

import math
import shlex
from typing import TYPE_CHECKING, Any

import msgspec

from modelward_runtime.model import TensorSpec

if TYPE_CHECKING:
    from modelward_runtime.serve import Ready

_MOST_NUMBERS = 64  # an example that fills the screen is none


def ready_line(ready: "Ready", host: str) -> str:
    """`NAME is ready: REST … gRPC … admin … try: curl …`"""
    name = "127.0.0.1" if host in {"", "0.0.0.0", "::"} else host
    shown = f"[{name}]" if ":" in name else name
    base = f"http://{shown}:{ready.http_port}/v2/models/{ready.model.name}"
    return (
        f"{ready.model.name} is ready: REST {base}  gRPC {shown}:{ready.grpc_port}  "
        f"admin http://{shown}:{ready.admin_port}  try: {_example(ready, base)}"
    )


def _example(ready: "Ready", base: str) -> str:
    inputs = ready.model.inputs
    if sum(math.prod(_shape(spec)) for spec in inputs) > _MOST_NUMBERS or any(s.datatype == "BF16" for s in inputs):
        return f"curl -s {base}"
    body = msgspec.json.encode({"inputs": [_tensor(spec) for spec in inputs]}).decode()
    return f"curl -s {base}/infer -d {shlex.quote(body)}"


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    shape = _shape(spec)
    zero: Any = {"BYTES": "", "BOOL": False}.get(spec.datatype, 0.0 if spec.datatype.startswith("FP") else 0)
    return {"name": spec.name, "datatype": spec.datatype, "shape": shape, "data": [zero] * math.prod(shape)}


def _shape(spec: TensorSpec) -> list[int]:
    return [1 if axis == -1 else axis for axis in spec.shape]
