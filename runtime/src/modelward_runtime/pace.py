"""Which runs of a model are short enough for the event loop's own thread.

Made by `batch.py` for each model that may run there at all: to hand a request to a worker thread and its answer back costs two context
switches and two waits for Python's lock, more than a small model costs. While a run is on the loop's thread nothing else is answered, so
only what was measured to be short may. It must not run anything.

What a run costs is learnt by its weight, the bytes of its inputs, in powers of two: `engine.py` vouches (`OnnxModel.steady`) that nothing
but their shapes matters. A weight begins on a worker thread, whose processor time is measured; `_FIRST` short runs in a row let it in.
One long run on the loop's thread, be it the machine's fault, and it takes `_AGAIN` short ones elsewhere to come back.

    unknown ──2 short runs on a worker──▶ inline ──1 long run──▶ on probation ──8 short runs on a worker──▶ inline
"""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from modelward_runtime.model import Array

TURN: Final = 0.005
"""Seconds that all runs within one turn of the event loop may take together: probes go on being answered."""
_FIRST: Final = 2  # the very first run of a shape also pays for what is made lazily
_AGAIN: Final = 8
_WEIGHTS: Final = 65  # bit lengths of a size
_MANY: Final = 1 << 14  # texts
_HEAVY: Final = 1 << 48
_SMOOTHING: Final = 0.25


def weigh(inputs: Mapping[str, Array]) -> int:
    """Bytes of the inputs, texts by their length."""
    weight = 0
    for array in inputs.values():
        weight += weight_of(array) if array.dtype.hasobject else array.nbytes
    return weight


def weight_of(array: Array) -> int:
    """Bytes of a tensor, of texts by their length; so many of them that to ask each would hold up the loop are heavier than anything."""
    if not array.dtype.hasobject:
        return array.nbytes
    if array.size > _MANY:
        return _HEAVY
    return array.nbytes + sum(map(len, array.ravel().tolist()))


class Inline(msgspec.Struct, frozen=True):
    """What may run on the event loop's thread: seconds of one run, and of all in a turn before the last of them.

    Who finds a turn full goes to a worker, or `waits` for the next turn: where there is one processor, a worker would only share it, and
    both would be late.
    """

    run: float
    turn: float = TURN
    waits: bool = False


class Pace:
    """What runs cost, by their weight. Used on the event loop's thread only."""

    def __init__(self, bounds: Inline, now: Callable[[], float]) -> None:
        self.limit = bounds.run
        self._bounds = bounds
        self._now = now  # the event loop's time: it stands still within a turn
        self._expected = [float("inf")] * _WEIGHTS
        self._proofs = [_FIRST] * _WEIGHTS
        self._turn = 0.0
        self._spent = 0.0

    def expected(self, weight: int) -> float:
        """Seconds that a run of this weight takes; infinite while it is not known to be short."""
        return self._expected[weight.bit_length()]

    def permits(self, weight: int) -> bool:
        """Whether a run of this weight may be on the event loop's thread in this turn."""
        return self._expected[weight.bit_length()] <= self.limit and not self._is_full()

    def defers(self) -> bool:
        """Whether nobody should begin a run in this turn any more."""
        return self._bounds.waits and self._is_full()

    def _is_full(self) -> bool:
        now = self._now()
        if now != self._turn:
            self._turn, self._spent = now, 0.0
        return self._spent >= self._bounds.turn

    def ran(self, weight: int, seconds: float) -> None:
        """A run on the event loop's thread took so long."""
        self._spent += seconds
        size = weight.bit_length()
        if seconds > self.limit:
            self._expected[size], self._proofs[size] = float("inf"), _AGAIN
        elif self._expected[size] <= self.limit:
            self._expected[size] += (seconds - self._expected[size]) * _SMOOTHING

    def ran_elsewhere(self, weight: int, seconds: float) -> None:
        """A run on a worker's thread took so much of a processor."""
        size = weight.bit_length()
        if seconds > self.limit:
            self._expected[size], self._proofs[size] = float("inf"), _AGAIN
        elif self._proofs[size] > 1:
            self._proofs[size] -= 1
        else:
            self._proofs[size], self._expected[size] = 0, seconds
