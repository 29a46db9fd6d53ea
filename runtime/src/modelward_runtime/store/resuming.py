"""Tries again what a store has refused for now, and takes a file up again where the connection broke.

Every store's bytes come through it: those of `ranges.py` (https, oci) and of `s3.py` (s3, gs). A break is waited out with a growing,
jittered pause, or for as long as the store asks by `Retry-After`; it is given up when a few attempts in a row have brought next to nothing.
It must not know how a store is asked.

    attempt(start) ▶ pieces ──▶ whole
              └ broken off, 429, 503 … ▶ pause ▶ attempt(where it broke)
"""

import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from modelward_runtime.errors import LoadError

log = logging.getLogger(__name__)
T = TypeVar("T")
Piece = TypeVar("Piece", bytes, memoryview)

_ATTEMPTS: Final = 6  # in a row that bring less than _PROGRESS
_CALLS: Final = 4  # of one thing, before `load.py` is told; a silent store has stalled by then
_PROGRESS: Final = 1 << 20  # bytes
_FIRST_PAUSE: Final = 0.2  # seconds, doubled each time
_LONGEST_PAUSE: Final = 10.0
_LONGEST_RESTS: Final = 30.0  # one after another that bring next to nothing: well before that counts as a stall
_LONGEST_REST: Final = 20.0  # what a store asks for beyond it is for `load.py` to wait, where it can be seen


def resumed(attempt: Callable[[int], Iterator[Piece]], start: int, stop: int) -> Iterator[Piece]:
    """The bytes from `start` to `stop`; `attempt` gives those from a place on, all that there are, or breaks off with a LoadError."""
    at, tried, counted, rested = start, 0, start, 0.0
    while at < stop:
        try:
            for piece in attempt(at):
                at += len(piece)
                yield piece
        except LoadError as error:
            if at - counted >= _PROGRESS:
                tried, counted, rested = 0, at, 0.0
            tried += 1
            rested += error.retry_after
            if tried == _ATTEMPTS or error.retry_after > _LONGEST_REST or rested > _LONGEST_RESTS:
                raise
            _rest(error, tried, "the connection to the store broke, it is taken up where it broke", at_bytes=at)
        else:
            return


def persist(call: Callable[[], T]) -> T:
    """What a call gives in the end; LoadError when it has failed a few times, or the store wants to be left alone: `load.py` waits."""
    tried = 0
    while True:
        try:
            return call()
        except LoadError as error:
            tried += 1
            if tried == _CALLS or error.retry_after:
                raise
            _rest(error, tried, "the store is asked again")


def _rest(error: LoadError, tried: int, said: str, **more: int) -> None:
    """Wait before the next attempt; raise the error that will come again."""
    if error.permanent:
        raise error
    seconds = max(error.retry_after, _pause(tried))
    log.warning(said, extra={"cause": error.message, "retry_seconds": round(seconds, 2), **more})
    time.sleep(seconds)


def _pause(tried: int) -> float:
    """Half of the whole, and up to as much again: lanes that broke together do not come back together."""
    whole: float = min(_FIRST_PAUSE * 2 ** (tried - 1), _LONGEST_PAUSE)
    return whole * (0.5 + random.random() / 2)  # noqa: S311  a pause is no secret
