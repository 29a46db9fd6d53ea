"""Remembers for a short while what was found out about a token, and has each token reviewed by one task at a time.

Used by `door.py`. Keys are SHA-256 hashes: no token is kept. Who was let in and who was not lie in tables of their own, so that a flood of
invented tokens pushes nobody out; such a flood also waits in a lane of its own, and what does not fit into it is turned away at once.

    let in        10 s, never beyond the token's expiry; reviewed anew from 7.5 s on, while it holds
    refused       3 s
    nobody could  1 s, and then it is tried again; whoever is let in still stays so for what is left of the 10 s
    be asked
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, TypeVar

from modelward_runtime.access.identity import FOREVER, Unreachable
from modelward_runtime.errors import ApiError, CallerUnknown
from modelward_runtime.states import Caller

LET_IN: Final = 10.0
REFUSED: Final = 3.0
UNKNOWN: Final = 1.0
_RENEWED: Final = 0.75
_MOST: Final = 4096  # of each table
_WIDTH, _LENGTH = 8, 256  # of a lane: reviews at once, and with those that wait


@dataclass(frozen=True, slots=True)
class Findings:
    """What a review found: a caller, or how to refuse one; `expires` is the token's end, in seconds since the epoch."""

    caller: Caller | None = None
    refuse: Callable[[], ApiError] = CallerUnknown
    expires: float = FOREVER


@dataclass(slots=True)
class Admission:
    """Let in, until then."""

    caller: Caller
    until: float
    renew_at: float


T = TypeVar("T")
log = logging.getLogger(__name__)
Review = Callable[[bytes], Awaitable[Findings]]  # raises Unreachable


class Lane:
    """So many reviews at once, and so many that wait; a context manager."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(_WIDTH)
        self._inside = 0

    async def __aenter__(self) -> None:
        if self._inside >= _LENGTH:
            raise Unreachable("too many callers have to be checked at once")
        self._inside += 1
        try:
            await self._turns.acquire()
        except asyncio.CancelledError:
            self._inside -= 1
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._turns.release()
        self._inside -= 1


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
        self._strangers, self._renewals = Lane(), Lane()

    def known(self, digest: bytes, token: bytes) -> Caller | None:
        """Who was let in with this a moment ago; None when it must be found out. Raises `ApiError` for who was not."""
        now = self._clock()
        admission = self._admissions.get(digest)
        if admission is not None and now < admission.until:
            if now >= admission.renew_at and digest not in self._reviews:
                self._begin(digest, token, self._renewals)
            return admission.caller
        refusal = self._refusals.get(digest)
        if refusal is not None and now < refusal[1]:
            error = refusal[0]()
            raise error
        return None

    async def find_out(self, digest: bytes, token: bytes, seconds: float) -> Caller:
        """Who it is, by a review that all who ask at the same time share. Raises `ApiError`."""
        review = self._reviews.get(digest) or self._begin(digest, token, self._strangers)
        try:
            async with asyncio.timeout(seconds):
                findings = await asyncio.shield(review)
        except TimeoutError:
            raise CallerUnknown from None
        if findings.caller is None:
            raise findings.refuse()
        return findings.caller

    def _begin(self, digest: bytes, token: bytes, lane: Lane) -> "asyncio.Task[Findings]":
        review = asyncio.ensure_future(self._find(digest, token, lane))
        self._reviews[digest] = review
        review.add_done_callback(lambda _: self._reviews.pop(digest, None))
        return review

    async def _find(self, digest: bytes, token: bytes, lane: Lane) -> Findings:
        try:
            async with lane:
                findings = await self._review(token)
        except Unreachable as error:
            log.warning("a caller cannot be checked", extra={"cause": str(error)})
            return self._keep_waiting(digest)
        except Exception:
            log.exception("a caller cannot be checked: this is a bug")
            return self._keep_waiting(digest)
        if findings.caller is None:
            self._admissions.pop(digest, None)
            _remember(self._refusals, digest, (findings.refuse, self._clock() + REFUSED))
            return findings
        self._refusals.pop(digest, None)
        lasts, now = min(LET_IN, findings.expires - self._wall()), self._clock()
        _remember(self._admissions, digest, Admission(findings.caller, now + lasts, now + lasts * _RENEWED))
        return findings

    def _keep_waiting(self, digest: bytes) -> Findings:
        admission, again = self._admissions.get(digest), self._clock() + UNKNOWN
        if admission is not None and self._clock() < admission.until:
            admission.renew_at = again
            return Findings(admission.caller)
        _remember(self._refusals, digest, (CallerUnknown, again))
        return Findings()


def _remember(table: dict[bytes, T], digest: bytes, what: T) -> None:
    """The longest known makes room."""
    table.pop(digest, None)
    if len(table) >= _MOST:
        del table[next(iter(table))]
    table[digest] = what
