"""Whether requests that share a run of a model cost less than apart.

Made by `batch.py` for each model whose requests may share runs. It mostly pays, because weights are read once for all rows. It does not
where a row has work enough for the processor, as a convolution on an image has: then joining and splitting are for nothing, rows that do
not fit into its caches are slower, and whoever came first waits for the last. So both are measured, by the bytes of a request's inputs in
powers of two, and what does not pay is left. It must not run anything.

    shared ──a few requests──▶ undecided: either kind by turns ──▶ shared or apart ──many requests──▶ undecided …

Both are measured in the same moments, under the same load: a run after a pause costs more than one after another, and a virtual machine is
not as fast at one minute as at the next.
"""

from typing import Final

_SAVES: Final = 0.9  # of what requests cost apart: more than this, and to share was not worth it
_RUNS: Final = 5  # of either kind, of which the medians are compared
_HOLDS: Final = 8192  # requests, for which a decision holds
_FIRST: Final = 64  # requests that share runs before anything is decided
_TRIAL: Final = 4  # requests that share a run in order to find out: where it does not pay, all of them are late
ANY: Final = 1 << 30
_WEIGHTS: Final = 65  # bit lengths of a size


class _Size:
    """Requests of a size: whether they share runs, and while that is undecided, what a request took of the last runs of either kind."""

    __slots__ = ("apart", "requests", "shares", "together")

    def __init__(self) -> None:
        self.shares: bool | None = True
        self.requests = _HOLDS - _FIRST  # for which the decision has held
        self.apart: list[float] = []  # seconds
        self.together: list[float] = []

    def ran(self, requests: int, seconds: float) -> None:
        if self.shares is not None:
            if requests > 1 or not self.shares:  # who comes alone cannot share
                self.requests += requests
            if self.requests >= _HOLDS:
                self.shares, self.requests = None, 0
        elif requests > 1:
            self.together.append(seconds / requests)
        elif len(self.apart) < len(self.together):  # by turns: who came alone meanwhile is not of the same moments
            self.apart.append(seconds)
        if len(self.apart) >= _RUNS:
            self.shares = _median(self.together) < _median(self.apart) * _SAVES
            self.apart.clear()
            self.together.clear()


def _median(costs: list[float]) -> float:
    return sorted(costs)[len(costs) // 2]


class Worth:
    """What requests of a weight cost apart and together. Used on the event loop's thread only."""

    def __init__(self) -> None:
        self._sizes = [_Size() for _ in range(_WEIGHTS)]

    def pays(self, weight: int) -> bool:
        """Whether requests with inputs of so many bytes should share runs."""
        return self._sizes[weight.bit_length()].shares is not False

    def most(self, weight: int) -> int:
        """Requests of a weight that should share a run."""
        size = self._sizes[weight.bit_length()]
        if size.shares is None:
            return 1 if len(size.together) > len(size.apart) else _TRIAL
        return ANY if size.shares else 1

    def ran(self, requests: int, weight: int, seconds: float) -> None:
        """So many requests shared a run, with inputs of so many bytes together, and it took so long."""
        self._sizes[(weight // requests).bit_length()].ran(requests, seconds)
