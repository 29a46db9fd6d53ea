"""How often, and how much at once, one subject may ask: a token bucket and a count for each, in a bounded table.

Asked by `door.py` for each inference, each request of a stream too. A defence against models copied by queries and against bills. A bucket
that is full and not in use says nothing that a new one would not say, so only such are dropped to make room: nobody is rid of a debt by
being forgotten. Where no bucket may be dropped, newcomers wait. Time is the monotonic clock's: setting a clock changes nothing.

    tokens   0 ───────────────▶ burst      refilled by `requestsPerSecond`; a request takes one
    active   0 ───────────────▶ concurrency
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from types import TracebackType
from typing import Final

from modelward_runtime.access.config import Limits
from modelward_runtime.errors import SubjectBusy

MOST_SUBJECTS: Final = 10_000
_LOOKED_AT: Final = 8  # of the longest unused, to make room for one
_UNLIMITED: Final = float("inf")


class Bucket:
    """What one subject has left, and has running."""

    __slots__ = ("active", "tokens", "updated")

    def __init__(self, tokens: float, updated: float) -> None:
        self.tokens = tokens
        self.updated = updated
        self.active = 0


class Turn:
    """One request's place; a context manager that gives it back."""

    __slots__ = ("_bucket",)

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        bucket.active += 1

    def __enter__(self) -> "Turn":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bucket.active -= 1

    def leave(self) -> None:
        """Give it back, where it was not taken by `with`."""
        self._bucket.active -= 1


class Subjects:
    """All subjects. `limits` is asked each time, because policy.json changes while the pod serves."""

    def __init__(
        self,
        limits: Callable[[], Limits | None],
        clock: Callable[[], float] = time.monotonic,
        most: int = MOST_SUBJECTS,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._most = most
        self._known: Limits | None = None
        self._rate, self._burst, self._concurrency = _UNLIMITED, _UNLIMITED, _UNLIMITED
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()
        self._nobodys = Bucket(0, 0)

    def enter(self, subject: str) -> Turn:
        """A turn for one request. Raises `SubjectBusy`."""
        limits = self._limits()
        if limits is not self._known:
            self._adopt(limits)
        if limits is None:
            return Turn(self._nobodys)
        now = self._clock()
        bucket = self._buckets.get(subject)
        if bucket is None:
            bucket = self._admit(subject, now)
        else:
            self._buckets.move_to_end(subject)
        self._take(bucket, subject, now)
        return Turn(bucket)

    def _adopt(self, limits: Limits | None) -> None:
        """What was spent stays spent: only the pace and the bounds change."""
        self._known = limits
        if limits is None:
            self._buckets.clear()
            return
        rate = limits.requests_per_second
        self._rate = float(rate) if rate else _UNLIMITED
        self._burst = float(limits.burst or math.ceil(self._rate)) if rate else _UNLIMITED
        self._concurrency = limits.concurrency or _UNLIMITED

    def _take(self, bucket: Bucket, subject: str, now: float) -> None:
        if bucket.active >= self._concurrency:
            raise SubjectBusy("concurrency-limited", "too many requests of this subject at once", subject, 1)
        if self._rate == _UNLIMITED:
            return
        bucket.tokens = self._level(bucket, now)
        bucket.updated = now
        if bucket.tokens < 1:
            wait = math.ceil((1 - bucket.tokens) / self._rate)
            raise SubjectBusy("rate-limited", "requests of this subject come too fast", subject, max(1, wait))
        bucket.tokens -= 1

    def _level(self, bucket: Bucket, now: float) -> float:
        return min(self._burst, bucket.tokens + max(0.0, now - bucket.updated) * self._rate)

    def _admit(self, subject: str, now: float) -> Bucket:
        if len(self._buckets) >= self._most and not self._make_room(now):
            raise SubjectBusy("rate-limited", "too many subjects at once", subject, 1)
        bucket = self._buckets[subject] = Bucket(self._burst, now)
        return bucket

    def _make_room(self, now: float) -> bool:
        for _ in range(_LOOKED_AT):
            subject, bucket = next(iter(self._buckets.items()))
            if bucket.active:
                self._buckets.move_to_end(subject)
            elif self._rate == _UNLIMITED or self._level(bucket, now) >= self._burst:
                del self._buckets[subject]
                return True
            else:
                return False
        return False
