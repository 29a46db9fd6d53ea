"""The JSON of a large request, read in parts that are looked at before anything is made of them.

Called by `codec.py` from `parts.LARGE` bytes on, on a thread. One C call would make every object that a body asks for, up to nine times
its size, and hold the interpreter's lock for a second: so shapes and parameters stay text until it is known how long they are, and of
objects there are only as many as tensors may be. A small request cannot ask for much and is read at once.
"""

from typing import Any, Final

import msgspec
import numpy as np

from modelward_runtime.errors import BadRequest
from modelward_runtime.parts import MOST_AXES, MOST_TENSORS, SHOWN_AXES, LongShape, check_parameters

Parameters = dict[str, bool | int | float | str]
_ABSENT: Final = msgspec.Raw()
_MOST_OBJECTS: Final = 4 * MOST_TENSORS + 2  # inputs and outputs, each with parameters
LONG: Final = 32 * MOST_AXES  # bytes of a shape: no number of a tensor that is has so many
_PIECE: Final = 1 << 20


class Input(msgspec.Struct, omit_defaults=True, gc=False):
    """As `codec.InputTensor`."""

    name: str
    shape: msgspec.Raw
    datatype: str
    data: msgspec.Raw = _ABSENT
    parameters: msgspec.Raw = _ABSENT


class Output(msgspec.Struct, omit_defaults=True, gc=False):
    """As `codec.OutputWish`."""

    name: str
    parameters: msgspec.Raw = _ABSENT


class Parts(msgspec.Struct, omit_defaults=True, gc=False):
    """As `codec.InferRequest`."""

    inputs: list[Input]
    id: str = ""
    outputs: list[Output] = []
    parameters: msgspec.Raw = _ABSENT


_PARTS: Final = msgspec.json.Decoder(Parts)
_SHAPE: Final = msgspec.json.Decoder(list[int])
_PARAMETERS: Final = msgspec.json.Decoder(Parameters)


def read(text: bytes | bytearray | memoryview) -> Parts:
    """The request in parts; none of them is large, but what tensors hold. Raises `BadRequest`, and what msgspec raises."""
    _check_objects(text)
    found = _PARTS.decode(text)
    tensors: list[Input | Output] = [*found.inputs, *found.outputs]
    check_parameters(len(found.parameters) + sum(len(one.parameters) for one in tensors))
    return found


def shape_of(raw: msgspec.Raw) -> list[int]:
    """A shape; of one that no tensor has, what a message shows of it. Raises what msgspec raises."""
    if len(raw) <= LONG:
        return _SHAPE.decode(raw)
    text = bytes(raw)
    axes = text.count(b",") + 1
    if axes <= MOST_AXES:
        return _SHAPE.decode(text)
    return LongShape(_SHAPE.decode(b"%b]" % b",".join(text.split(b",", SHOWN_AXES)[:SHOWN_AXES])), axes)


def parameters_of(raw: msgspec.Raw) -> Parameters:
    """Parameters. Raises what msgspec raises."""
    return _PARAMETERS.decode(raw) if raw else {}


def _check_objects(text: bytes | bytearray | memoryview) -> None:
    """Refuse more objects than a request of all tensors that are taken has."""
    if _count(text, ord("{")) <= _MOST_OBJECTS:
        return
    plain = bytes(text).replace(b"\\\\", b"").replace(b'\\"', b"")  # every quote that is left begins or ends a string
    objects, inside = 0, False
    for start in range(0, len(plain), _PIECE):
        piece = np.frombuffer(plain, np.uint8, min(_PIECE, len(plain) - start), start)
        within = np.logical_xor.accumulate(piece == ord('"')) ^ inside
        objects += int(np.count_nonzero((piece == ord("{")) & ~within))
        inside = bool(within[-1])
        if objects > _MOST_OBJECTS:
            raise BadRequest(f"inputs, outputs: at most {MOST_TENSORS} are taken, whatever the model")


def _count(text: bytes | bytearray | memoryview, byte: int) -> int:
    whole: Any = np.frombuffer(text, np.uint8)
    return sum(int(np.count_nonzero(whole[start : start + _PIECE] == byte)) for start in range(0, len(whole), _PIECE))
