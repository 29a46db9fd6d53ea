"""The mechanisms: an array of answers in, an array of random answers out, each row within the epsilon that it is built for.

Built by `promise.py` once for a policy. Sampling is OpenDP's, which draws exactly where floating-point tricks would tell the truth
through the low bits of the noise (Mironov, 2012); OpenDP also says what epsilon a measurement has, and one that has more than the policy
promises is never used. OpenDP is imported here and only here, when a policy asks for it. It must not know what a budget is.

What one row's answer is, is a function of the model's answer for that row and of fresh randomness, and of nothing else. For any two
answers that the model might have given, the probability of what is released differs by a factor of at most e^epsilon.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Protocol

import numpy as np

from modelward_runtime.bfloat16 import doubles, narrow
from modelward_runtime.epsilon.rounding import ceil_to_float, not_above
from modelward_runtime.model import Array

_NUDGES = 64  # steps towards more noise before a construction is given up


class Mechanism(Protocol):
    """One policy's mechanism."""

    def randomise(self, answers: Array) -> Array:
        """As many rows, of the same type and shape. Blocks: 20 to 100 µs a value."""


class Unbuildable(Exception):
    """OpenDP is not installed, or no measurement keeps the promise."""


class RandomisedResponse:
    """The label with probability e^ε / (e^ε + k - 1), else another one, each as likely (Warner, 1965; Kairouz et al., 2014)."""

    def __init__(self, labels: Array, micro: int) -> None:
        self._labels = labels
        self._places = {label: place for place, label in enumerate(labels.tolist())}
        self._respond = _randomised_response(len(labels), micro)

    def randomise(self, answers: Array) -> Array:
        """A label that was not declared counts as the first one: an error would tell what the model said."""
        places = [self._respond(self._places.get(answer, 0)) for answer in answers.ravel().tolist()]
        return self._labels[places].reshape(answers.shape)


class BoundedLaplace:
    """Clipped to the bounds, discrete Laplace noise on a fine grid, clipped again; a row may move by its width times its values."""

    def __init__(self, lower: float, upper: float, values: int, micro: int) -> None:
        self._lower, self._upper = lower, upper
        self.sensitivity = ceil_to_float((Fraction(upper) - Fraction(lower)) * values)
        self.scale, self._add_noise = _laplace(self.sensitivity, micro)

    def randomise(self, answers: Array) -> Array:
        """Not a number counts as the lower bound: an error would tell that the model said so."""
        clipped = np.clip(np.nan_to_num(answers.astype(np.float64).ravel(), nan=self._lower), self._lower, self._upper)
        noisy = np.array(self._add_noise(clipped.tolist()), np.float64)
        return np.clip(noisy, self._lower, self._upper).astype(answers.dtype).reshape(answers.shape)


class OnBits:
    """A mechanism on BF16, which numpy sees as 16 bits; rounding what is released tells nothing more."""

    def __init__(self, mechanism: Mechanism) -> None:
        self._mechanism = mechanism

    def randomise(self, answers: Array) -> Array:
        """As the mechanism does."""
        return narrow(self._mechanism.randomise(doubles(answers)))


def warm_up() -> None:
    """Import OpenDP, and what it imports with its first measurement; Unbuildable where the image has none."""
    _laplace(1.0, 1_000_000)


def _randomised_response(count: int, micro: int) -> Callable[[int], int]:
    opendp, epsilon = _opendp(), not_above(micro)
    truth = math.exp(epsilon) / (math.exp(epsilon) + count - 1)
    for _ in range(_NUDGES):
        measurement = opendp.measurements.make_randomized_response(categories=list(range(count)), prob=truth)
        if measurement.map(1) <= epsilon:
            respond: Callable[[int], int] = measurement
            return respond
        truth = max(math.nextafter(truth, 0.0), 1 / count)
    raise Unbuildable(f"no randomised response over {count} labels has an epsilon of at most {epsilon}")


def _laplace(sensitivity: float, micro: int) -> tuple[float, Callable[[list[float]], list[float]]]:
    opendp, epsilon = _opendp(), not_above(micro)
    domain = opendp.domains.vector_domain(opendp.domains.atom_domain(T=float, nan=False))
    scale = ceil_to_float(Fraction(sensitivity) / Fraction(epsilon))
    for _ in range(_NUDGES):
        measurement = opendp.measurements.make_laplace(domain, opendp.metrics.l1_distance(T=float), scale=scale)
        if measurement.map(sensitivity) <= epsilon:
            add_noise: Callable[[list[float]], list[float]] = measurement
            return scale, add_noise
        scale *= 1 + 2**-40
    raise Unbuildable(f"no Laplace noise for a sensitivity of {sensitivity} has an epsilon of at most {epsilon}")


def _opendp() -> Any:  # noqa: ANN401  a module, imported late
    try:
        import opendp.domains  # noqa: PLC0415  150 ms and 30 MB, for policies that ask for it
        import opendp.measurements  # noqa: PLC0415
        import opendp.metrics  # noqa: PLC0415
        from opendp.mod import enable_features  # noqa: PLC0415
    except ImportError:
        raise Unbuildable("this image has no OpenDP: build it with OPENDP=yes, or pip install opendp") from None
    enable_features("contrib")  # OpenDP's word for proofs that its committee has not vetted yet: all of its library
    return opendp
