"""Whether requests that share a run of a model cost less than apart.

Made by `batch.py` for each model whose requests may share runs. It mostly pays, because weights are read once for all rows. It does not
where a row has work enough for the processor, as a convolution on an image has: then joining and splitting are for nothing, rows that do
not fit into its caches are slower, and whoever came first waits for the last. So both are measured, by the bytes of a request's inputs in
powers of two, and what does not pay is left until it is tried again. It must not run anything.
"""

from typing import Final

_SAVES: Final = 0.9  # of what requests cost apart: more than this, and to share was not worth it
_RUNS: Final = 4  # of either kind, before they are compared
_TRIED_AGAIN: Final = 4096  # requests that did not share, after which some do
_TRIAL: Final = 4  # requests that share a run in order to find out: where it does not pay, all of them are late
ANY: Final = 1 << 30
_WEIGHTS: Final = 65  # bit lengths of a size
_SMOOTHING: Final = 0.25


class _Cost:
    """Seconds of a request, smoothed."""

    __slots__ = ("runs", "seconds")

    def __init__(self) -> None:
        self.runs = 0
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        self.runs += 1
        self.seconds += (seconds - self.seconds) * max(_SMOOTHING, 1 / self.runs)


class Worth:
    """What requests of a weight cost apart and together. Used on the event loop's thread only."""

    def __init__(self) -> None:
        self._apart = [_Cost() for _ in range(_WEIGHTS)]
        self._together = [_Cost() for _ in range(_WEIGHTS)]

    def pays(self, weight: int) -> bool:
        """Whether requests with inputs of so many bytes should share runs."""
        size = weight.bit_length()
        apart, together = self._apart[size], self._together[size]
        return min(apart.runs, together.runs) < _RUNS or together.seconds < apart.seconds * _SAVES

    def most(self, weight: int) -> int:
        """Requests of a weight that should share a run."""
        size = weight.bit_length()
        if self._together[size].runs < _RUNS <= self._apart[size].runs:
            return _TRIAL
        return ANY if self.pays(weight) else 1

    def ran(self, requests: int, weight: int, seconds: float) -> None:
        """So many requests shared a run, with inputs of so many bytes together, and it took so long."""
        size = (weight // requests).bit_length()
        if requests > 1:
            self._together[size].add(seconds / requests)
            return
        apart = self._apart[size]
        apart.add(seconds)
        if apart.runs > _TRIED_AGAIN:  # what is known of the other way may be of another time
            apart.runs, self._together[size].runs = _RUNS, 0
