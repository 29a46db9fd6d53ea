"""Runs of a few fixed numbers of rows: what lies between is filled up, and what was filled in is cut off again.

Used by `engine.py` where batching is declared with padding, or CUDA graphs want shapes that come again. Only for models whose rows do not
depend on one another, which `warming.py` finds out. It must not run anything itself, and nothing that was filled in leaves it.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from modelward_runtime.model import Array


def sizes_up_to(most: int) -> tuple[int, ...]:
    """1, 2, 4 … and `most`."""
    return (*(1 << power for power in range((most - 1).bit_length())), most)


def rows_in(inputs: Mapping[str, Array]) -> int:
    """The number of rows that all inputs have; 0 where they do not agree."""
    rows = {len(array) if array.ndim else 0 for array in inputs.values()}
    return rows.pop() if len(rows) == 1 else 0


def fit(rows: int, sizes: Sequence[int]) -> int:
    """The smallest size that so many rows fit into; 0 where none does, or there are no rows."""
    return next((size for size in sizes if 0 < rows <= size), 0)


def fill(inputs: Mapping[str, Array], rows: int, size: int) -> dict[str, Array]:
    """The same rows, and the last one again until there are `size`: values that the model has to take anyhow."""
    if rows == size:
        return dict(inputs)
    return {name: np.concatenate([array, np.repeat(array[-1:], size - rows, axis=0)]) for name, array in inputs.items()}


def cut(outputs: Sequence[Array], rows: int, size: int) -> list[Array] | None:
    """The answers of the rows that were asked for; None where an output does not have a row for each."""
    if any(array.ndim == 0 or len(array) != size for array in outputs):
        return None
    return [array[:rows] for array in outputs]
