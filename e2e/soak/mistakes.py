"""What can be wrong with a request's tensors on either transport, and the words that both must find for it.

Used by `rest.py` and `visitors_grpc.py`: one table, so that a difference between the transports is a finding.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Tensor:
    """One input tensor before it is encoded; `data` is flat."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any]


@dataclass
class Request:
    """One inference before it is encoded."""

    inputs: list[Tensor]
    outputs: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Mistake:
    """A change of a sound request of one row, and how the error's text begins."""

    name: str
    says: str
    make: Callable[[Request], None]
    status: int = 400
    code: str = "INVALID_ARGUMENT"


def sound_row(number: int) -> Request:
    """A sound request of one row that has `number` in it."""
    return Request(
        [Tensor("x", "FP32", [1, 4], [float(number), 1.0, 2.0, 3.0]), Tensor("k", "INT64", [1], [number % 8])]
    )


def _first(**changes: Any) -> Callable[[Request], None]:
    def make(request: Request) -> None:
        for name, value in changes.items():
            setattr(request.inputs[0], name, value)

    return make


def _second(**changes: Any) -> Callable[[Request], None]:
    def make(request: Request) -> None:
        for name, value in changes.items():
            setattr(request.inputs[1], name, value)

    return make


def _without(count: int) -> Callable[[Request], None]:
    def make(request: Request) -> None:
        del request.inputs[-count:]

    return make


def _rows(in_x: int, in_k: int) -> Callable[[Request], None]:
    """As many rows; together with another such request they would add up."""

    def make(request: Request) -> None:
        x, k = request.inputs
        x.shape, x.data = [in_x, 4], x.data * in_x
        k.shape, k.data = [in_k], k.data * in_k

    return make


def _outputs(*names: str) -> Callable[[Request], None]:
    def make(request: Request) -> None:
        request.outputs = list(names)

    return make


MISTAKES = [
    Mistake("datatype", "input 'x': expected datatype FP32, got INT32", _first(datatype="INT32")),
    Mistake("datatype of k", "input 'k': expected datatype INT64, got UINT64", _second(datatype="UINT64")),
    Mistake(
        "no datatype",
        "input 'x': expected datatype FP32, got one that the protocol does not know",
        _first(datatype="FLOAT"),
    ),
    Mistake("shape", "input 'x': expected shape [-1, 4], got [1, 3]", _first(shape=[1, 3], data=[1.0, 2.0, 3.0])),
    Mistake("rank", "input 'x': expected shape [-1, 4], got [4]", _first(shape=[4])),
    Mistake("many axes", "input 'x': expected shape [-1, 4], got [1, 1, 1", _first(shape=[1] * 40)),
    Mistake("negative axis", "input 'x': expected shape [-1, 4], got [-1, 4]", _first(shape=[-1, 4])),
    Mistake(
        "huge axis", "input 'x': expected shape [-1, 4], got [9223372036854775807, 4]", _first(shape=[2**63 - 1, 4])
    ),
    Mistake("too few", "input 'x': shape [2, 4] holds 8 elements, data holds 4", _first(shape=[2, 4])),
    Mistake("too many", "input 'k': shape [1] holds 1 elements, data holds 3", _second(data=[1, 2, 3])),
    Mistake("unknown input", "inputs[0] is not one of the model's: x, k", _first(name="secret-name")),
    Mistake("twice", "input 'x' was sent twice", lambda request: request.inputs.append(request.inputs[0])),
    Mistake("missing", "input 'k' is missing; the model takes: x, k", _without(1)),
    Mistake("no inputs", "input 'x' is missing; the model takes: x, k", _without(2)),
    Mistake("unknown output", "outputs[0] is not one of the model's: y, z", _outputs("secret-output")),
    Mistake("output twice", "output 'y' was asked for twice", _outputs("y", "y")),
    Mistake("fewer rows in x", "axis 0 of input 'k' is 3, and axis 0 of input 'x' is 2", _rows(2, 3)),
    Mistake("fewer rows in k", "axis 0 of input 'k' is 2, and axis 0 of input 'x' is 3", _rows(3, 2)),
    # Only ONNX Runtime finds this out; it breaks the run that it is in, and must break nobody else's.
    Mistake("not in the table", "the model failed: ", _second(data=[99]), 500, "INTERNAL"),
]
