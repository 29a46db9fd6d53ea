"""Of how many parts a request may be made, whatever its size: a byte or two of a body can ask for an object of a hundred.

Used by `wire.py` and `codec.py`, so that both transports refuse the same with the same words, before anything is made of it.
"""

from typing import Final

from modelward_runtime.errors import BadRequest

LARGE: Final = 1 << 18  # bytes: the parts of a larger request are counted before they are read
COSTLY: Final = 1 << 14  # bytes of a message in a rare spelling: a millisecond or two of counting, field by field
MOST_ASKED: Final = LARGE  # bytes of what is asked that is no inference: it is read on the event loop
MOST_TENSORS: Final = 4096  # inputs, outputs, raw tensors: a few milliseconds of the event loop
MOST_PARAMETERS: Final = LARGE  # bytes of all parameters of a request together
MOST_FIELDS: Final = 8 * MOST_TENSORS  # of a message, those of its tensors among them
MOST_AXES: Final = 64  # numpy has no tensor of more
SHOWN_AXES: Final = 16


class LongShape(list[int]):
    """A shape that no tensor has: its first axes, and as its length how many there are."""

    def __init__(self, first: list[int], axes: int) -> None:
        super().__init__(first)
        self._axes = axes

    def __len__(self) -> int:
        return self._axes


def check_tensors(what: str, count: int) -> None:
    """Refuse more inputs, outputs or raw tensors than any model has. Raises `BadRequest`."""
    if count > MOST_TENSORS:
        raise BadRequest(f"{what}: at most {MOST_TENSORS} are taken, whatever the model")


def check_parameters(size: int) -> None:
    """Refuse parameters of so many bytes together. Raises `BadRequest`."""
    if size > MOST_PARAMETERS:
        raise BadRequest(f"parameters: at most {MOST_PARAMETERS} bytes of them are taken")
