"""Remembers for a short while what was found out about a token, and has each token reviewed by one task at a time.

Used by `door.py`. Keys are hashes: no token is kept. Who was let in and who was not lie in tables of their own, so that a flood of
invented tokens pushes nobody out. Such a flood also waits in a lane of its own, that of strangers, where one address has a quarter of the
places; whoever was let in within the last hour is none, and goes through the lane of renewals. What fits into no lane is turned away at
once, and that is remembered of nobody: the next call may find a place.

    let in        10 s, at most a second beyond the token's expiry or its leeway; reviewed anew from 7.5 s on, while it holds
    refused       3 s
    nobody could  1 s, and then it is tried again; whoever is let in still stays so for what is left of the 10 s
    be asked
    acquainted    1 h after the last time that it was let in; gone when it is refused
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import msgspec

from modelward_runtime.access.identity import FOREVER, Unreachable
from modelward_runtime.caller import Caller
from modelward_runtime.errors import ApiError, CallerUnknown

LET_IN: Final = 10.0
LEAST: Final = 1.0  # also of a token that is over, within the leeway of whoever accepted it: else each call is a review
REFUSED: Final = 3.0
UNKNOWN: Final = 1.0
_RENEWED: Final = 0.75
_MOST: Final = 4096  # of each table
_WIDTH, _LENGTH = 8, 256  # of a lane: reviews at once, and with those that wait
_SHARE: Final = 64  # places for strangers of one address: many share one behind a gateway
ACQUAINTED: Final = 3600.0
_MOST_ACQUAINTED: Final = 10_000


class Findings(msgspec.Struct, frozen=True):
    """What a review found: a caller, or how to refuse one; `expires` is the token's end, in seconds since the epoch."""

    caller: Caller | None = None
    refuse: Callable[[], ApiError] = CallerUnknown
    expires: float = FOREVER


class Admission(msgspec.Struct):
    """Let in, until then."""

    caller: Caller
    until: float
    renew_at: float


T = TypeVar("T")
log = logging.getLogger(__name__)
Review = Callable[[bytes], Awaitable[Findings]]  # raises Unreachable


class Lane:
    """So many reviews at once, and so many that wait; of one address at most `share`."""

    def __init__(self, share: int) -> None:
        self._share = share
        self._booked: Counter[str] = Counter()
        self.turns = asyncio.Semaphore(_WIDTH)

    def book(self, peer: str) -> bool:
        """Set a place aside, if there is one for this address."""
        if self._booked.total() >= _LENGTH or self._booked[peer] >= self._share:
            return False
        self._booked[peer] += 1
        return True

    def leave(self, peer: str) -> None:
        """Give the place back."""
        self._booked[peer] -= 1
        if not self._booked[peer]:
            del self._booked[peer]


class Verdicts:
    """What is known; `clock` is monotonic, `wall` is for expiries."""

    def __init__(
        self, review: Review, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self._review = review
        self._clock, self._wall = clock, wall
        self._admissions: dict[bytes, Admission] = {}
        self._refusals: dict[bytes, tuple[Callable[[], ApiError], float]] = {}
        self._reviews: dict[bytes, asyncio.Task[Findings]] = {}
        self._acquainted: dict[bytes, float] = {}
        self._strangers, self._renewals = Lane(_SHARE), Lane(_LENGTH)

    def known(self, digest: bytes, token: bytes) -> Caller | None:
        """Who was let in with this a moment ago; None when it must be found out. Raises `ApiError` for who was not."""
        now = self._clock()
        admission = self._admissions.get(digest)
        if admission is not None and now < admission.until:
            if now >= admission.renew_at and digest not in self._reviews and not self._begin(digest, token, ""):
                admission.renew_at = now + UNKNOWN
            return admission.caller
        refusal = self._refusals.get(digest)
        if refusal is not None and now < refusal[1]:
            error = refusal[0]()
            raise error
        return None

    async def find_out(self, digest: bytes, token: bytes, peer: str, seconds: float) -> Caller:
        """Who calls from this address, by a review that all who ask at the same time share. Raises `ApiError`."""
        review = self._reviews.get(digest) or self._begin(digest, token, peer)
        if review is None:
            log.info("a caller cannot be checked", extra={"cause": "too many have to be checked at once", "peer": peer})
            raise CallerUnknown
        try:
            async with asyncio.timeout(seconds):
                findings = await asyncio.shield(review)
        except TimeoutError:
            raise CallerUnknown from None
        if findings.caller is None:
            raise findings.refuse()
        return findings.caller

    def _begin(self, digest: bytes, token: bytes, peer: str) -> "asyncio.Task[Findings] | None":
        """A review, None where there is no place for it. Only who is invented by the thousand is asked where from."""
        is_known = self._clock() < self._acquainted.get(digest, float("-inf"))
        lane, place = (self._renewals, "") if is_known else (self._strangers, peer)
        if not lane.book(place):
            return None
        review = asyncio.ensure_future(self._find(digest, token, lane))
        self._reviews[digest] = review

        def end(_: "asyncio.Task[Findings]") -> None:
            del self._reviews[digest]
            lane.leave(place)

        review.add_done_callback(end)
        return review

    async def _find(self, digest: bytes, token: bytes, lane: Lane) -> Findings:
        try:
            async with lane.turns:
                findings = await self._review(token)
        except Unreachable as error:
            log.warning("a caller cannot be checked", extra={"cause": str(error)})
            return self._keep_waiting(digest)
        except Exception:
            log.exception("a caller cannot be checked: this is a bug")
            return self._keep_waiting(digest)
        if findings.caller is None:
            self._admissions.pop(digest, None)
            self._acquainted.pop(digest, None)
            _remember(self._refusals, digest, (findings.refuse, self._clock() + REFUSED), _MOST)
            return findings
        self._refusals.pop(digest, None)
        lasts, now = min(LET_IN, max(findings.expires - self._wall(), LEAST)), self._clock()
        _remember(self._admissions, digest, Admission(findings.caller, now + lasts, now + lasts * _RENEWED), _MOST)
        _remember(self._acquainted, digest, now + ACQUAINTED, _MOST_ACQUAINTED)
        return findings

    def _keep_waiting(self, digest: bytes) -> Findings:
        admission, again = self._admissions.get(digest), self._clock() + UNKNOWN
        if admission is not None and self._clock() < admission.until:
            admission.renew_at = again
            return Findings(admission.caller)
        _remember(self._refusals, digest, (CallerUnknown, again), _MOST)
        return Findings()


def _remember(table: dict[bytes, T], digest: bytes, what: T, most: int) -> None:
    """The longest known makes room."""
    table.pop(digest, None)
    if len(table) >= most:
        del table[next(iter(table))]
    table[digest] = what
