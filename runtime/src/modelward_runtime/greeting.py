"""What `modelward serve` prints when it is ready: where it answers, and a call to try.

`laptop.py` calls it once. A person at a terminal gets a few short lines; whoever reads a pipe gets one line for each model, which
begins with the model's name and stays as it is.
"""

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import msgspec

if TYPE_CHECKING:
    from modelward_runtime.engine import OnnxModel
    from modelward_runtime.library.serving import Opened
    from modelward_runtime.model import TensorSpec
    from modelward_runtime.surroundings import Ready

_MOST_NUMBERS = 64  # an example that fills the screen is none
_FLOATS = frozenset({"FP16", "BF16", "FP32", "FP64"})


def say_ready(ready: "Ready", host: str, out: TextIO) -> None:
    """One model serves."""
    out.write((ready_lines(ready, host) if out.isatty() else ready_line(ready, host)) + "\n")
    out.flush()


def say_opened(opened: "Opened", folder: Path, host: str, out: TextIO) -> None:
    """All models of a repository were tried."""
    out.write("\n".join(opened_lines(opened, folder, host)) + "\n")
    out.flush()


def ready_line(ready: "Ready", host: str) -> str:
    """`NAME is ready: REST … gRPC … admin … try: curl …`"""
    shown = _shown(host)
    base = _base(ready.model, shown, ready.http_port)
    return (
        f"{ready.model.name} is ready: REST {base}  gRPC {shown}:{ready.grpc_port}  "
        f"admin http://{shown}:{ready.admin_port}  try: {_example(ready.model.inputs, base)}"
    )


def ready_lines(ready: "Ready", host: str) -> str:
    """The same for a person."""
    shown, model = _shown(host), ready.model
    base = _base(model, shown, ready.http_port)
    return "\n".join(
        [
            f"{model.name} is ready: version {model.version}, {model.execution_provider}, threads: {model.threads}",
            f"  takes    {_tensors(model.inputs)}",
            f"  gives    {_tensors(model.outputs)}",
            f"  REST     {base}",
            f"  gRPC     {shown}:{ready.grpc_port}",
            f"  metrics  http://{shown}:{ready.admin_port}/metrics",
            f"  try      {_example(model.inputs, base)}",
        ]
    )


def opened_lines(opened: "Opened", folder: Path, host: str) -> Sequence[str]:
    """A line for each model, the head last: so it is what a person sees, and tells whoever waits for it that all were tried."""
    shown = _shown(host)
    base = f"http://{shown}:{opened.http_port}"
    lines = []
    for entry in opened.models:
        state = "is ready" if entry.state == "READY" else "is not served"
        version = f" version {entry.version}" if entry.version else ""
        told = f": REST {base}/v2/models/{entry.name}" if entry.state == "READY" else f": {entry.reason}"
        lines.append(f"{entry.name}{version} {state}{told}")
    ready = sum(entry.state == "READY" for entry in opened.models)
    lines.append(
        f"{ready} of {len(opened.models)} models of {folder} serve: REST {base}  gRPC {shown}:{opened.grpc_port}  "
        f"admin http://{shown}:{opened.admin_port}  try: curl -s -X POST {base}/v2/repository/index"
    )
    return lines


def _base(model: "OnnxModel", shown: str, port: int) -> str:
    return f"http://{shown}:{port}/v2/models/{model.name}"


def _shown(host: str) -> str:
    """A name that can be reached from here."""
    name = "127.0.0.1" if host in {"", "0.0.0.0", "::"} else host
    return f"[{name}]" if ":" in name else name


def _tensors(specs: "Sequence[TensorSpec]") -> str:
    shapes = (
        f"{spec.name} {spec.datatype}[{','.join(str(a) if a >= 0 else '?' for a in spec.shape)}]" for spec in specs
    )
    return ", ".join(shapes) or "nothing"


def _example(inputs: "Sequence[TensorSpec]", base: str) -> str:
    inputs = [spec for spec in inputs if not spec.optional]
    if sum(math.prod(_shape(spec)) for spec in inputs) > _MOST_NUMBERS:
        return f"curl -s {base}"
    body = msgspec.json.encode({"inputs": [_tensor(spec) for spec in inputs]}).decode()
    return f"curl -s {base}/infer -d {shlex.quote(body)}"


def _tensor(spec: "TensorSpec") -> dict[str, Any]:
    shape = _shape(spec)
    zero: Any = {"BYTES": "", "BOOL": False}.get(spec.datatype, 0.0 if spec.datatype in _FLOATS else 0)
    return {"name": spec.name, "datatype": spec.datatype, "shape": shape, "data": [zero] * math.prod(shape)}


def _shape(spec: "TensorSpec") -> list[int]:
    return [1 if axis == -1 else axis for axis in spec.shape]
