"""What can be changed of an output: each a small frozen value that is called with the tensor. Always in this order:

    noise ▶ rounding ▶ the k largest ▶ the largest only

so that noise cannot be told from digits that it left, and values that are equal once rounded are not told apart by their order.
Made by `compile.py`. Shape and datatype stay what the model's metadata say. Arrays are not changed in place: they may be views of a batch.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from modelward_runtime.bfloat16 import doubles, narrow
from modelward_runtime.model import Array
from modelward_runtime.privacy.config import Distribution


def _generator() -> np.random.Generator:
    """Seeded with 256 bits of the system's entropy. Its state could be recovered from enough of its bare output."""
    return np.random.Generator(np.random.PCG64DXSM(secrets.randbits(256)))


@dataclass(frozen=True)
class Noise:
    """Independent noise on each element: `scale` is the standard deviation, Laplace's b, or the half width."""

    distribution: Distribution
    scale: float
    generator: np.random.Generator = field(default_factory=_generator)

    def __call__(self, array: Array) -> Array:
        """Another array; values may leave the range that they had, and beyond what the type can hold they are infinite."""
        with np.errstate(over="ignore"):
            return (array + self._draw(array.shape)).astype(array.dtype)

    def _draw(self, shape: tuple[int, ...]) -> Array:
        match self.distribution:
            case "Gaussian":
                return self.generator.normal(0.0, self.scale, shape)
            case "Laplace":
                return self.generator.laplace(0.0, self.scale, shape)
            case "Uniform":
                return self.generator.uniform(-self.scale, self.scale, shape)


@dataclass(frozen=True)
class Decimals:
    """Rounded to so many digits behind the point, halves to even (IEEE 754)."""

    decimals: int

    def __call__(self, array: Array) -> Array:
        """Another array; no negative zeros."""
        if array.dtype != np.float64:
            return (array.astype(np.float64).round(self.decimals) + 0.0).astype(array.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            rounded: Array = array.round(self.decimals) + 0.0
        return np.where(
            np.isfinite(rounded), rounded, array
        )  # numpy multiplies first: numbers so large have no decimals anyway


@dataclass(frozen=True)
class Largest:
    """The k largest of the last axis stay, the others become 0; of equals the first stay."""

    k: int

    def __call__(self, array: Array) -> Array:
        """Another array, or the same where it has no more than k."""
        width = array.shape[-1]
        if width <= self.k:
            return array
        rows = array.reshape(-1, width)
        order = width - 1 - rows[:, ::-1].argsort(axis=1, kind="stable")[:, : -self.k - 1 : -1]
        places = order + np.arange(len(rows))[:, None] * width
        kept = np.zeros_like(rows)
        kept.ravel()[places] = rows.ravel()[places]
        return kept.reshape(array.shape)


@dataclass(frozen=True)
class OneHot:
    """1 at the largest of the last axis, of equals the first; 0 elsewhere."""

    def __call__(self, array: Array) -> Array:
        """Another array."""
        marked = np.zeros(array.shape, array.dtype)
        if array.size:  # else there is no row, or no class
            rows = array.reshape(-1, array.shape[-1])
            marked.reshape(rows.shape)[np.arange(len(rows)), rows.argmax(axis=1)] = 1
        return marked


@dataclass(frozen=True)
class OnBits:
    """Steps on BF16, which numpy sees as 16 bits: taken on the numbers in FP64, and rounded once, at the end."""

    steps: tuple[Callable[[Array], Array], ...]

    def __call__(self, array: Array) -> Array:
        """Another array."""
        numbers = doubles(array)
        for step in self.steps:
            numbers = step(numbers)
        return narrow(numbers)
