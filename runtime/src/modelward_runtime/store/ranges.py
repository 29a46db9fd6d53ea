"""Streams a range of a file over HTTP, and takes it up again where the connection broke.

`oci.py` and `site.py` read through it. A break is waited out with a growing, jittered pause, or for as long as the server asks by
`Retry-After`; it is given up when a few attempts in a row have brought next to nothing. It must not know whose bytes they are.

    ask(start) ▶ answer of `start`… ▶ pieces ──▶ whole
                      └ broken off, 429, 503 … ▶ pause ▶ ask(where it broke)
"""

import logging
import random
import time
from collections.abc import Callable, Iterator
from http.client import HTTPException
from typing import Any, Final

from urllib3.exceptions import HTTPError, IncompleteRead

from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store.locate import fetch_error
from modelward_runtime.store.remote import PIECE
from modelward_runtime.store.transport import Response, Transport

log = logging.getLogger(__name__)
Ask = Callable[[int], Response]  # the answer that holds the bytes from there on; LoadError when there is none

_ATTEMPTS: Final = 6  # in a row that bring less than _PROGRESS
_PROGRESS: Final = 1 << 20  # bytes
_FIRST_PAUSE: Final = 0.2  # seconds, doubled each time
_LONGEST_PAUSE: Final = 10.0
_LONGEST_REST: Final = 20.0  # what a server asks for beyond it is for `load.py` to wait, where it can be seen


def stream(ask: Ask, start: int, stop: int, doing: str, transport: Transport) -> Iterator[memoryview]:
    """Exactly the bytes from `start` to `stop`, piece by piece; LoadError when they cannot be had."""
    at, tried, counted = start, 0, start
    while at < stop:
        try:
            for piece in _attempt(ask(at), at, stop, doing, transport):
                at += len(piece)
                yield piece
        except LoadError as error:
            if at - counted >= _PROGRESS:
                tried, counted = 0, at
            tried += 1
            if error.permanent or tried == _ATTEMPTS or error.retry_after > _LONGEST_REST:
                raise
            seconds = max(error.retry_after, _pause(tried))
            log.warning(
                "the connection to the store broke, it is taken up where it broke",
                extra={"cause": error.message, "at_bytes": at, "retry_seconds": round(seconds, 2)},
            )
            time.sleep(seconds)


def once(ask: Ask, start: int, stop: int, doing: str, transport: Transport) -> Iterator[memoryview]:
    """The same of what cannot be taken up again: one answer, and a break is the end."""
    yield from _attempt(ask(start), start, stop, doing, transport)


def _pause(tried: int) -> float:
    """Half of the whole, and up to as much again: lanes that broke together do not come back together."""
    whole: float = min(_FIRST_PAUSE * 2 ** (tried - 1), _LONGEST_PAUSE)
    return whole * (0.5 + random.random() / 2)  # noqa: S311  a pause is no secret


def _attempt(response: Response, start: int, stop: int, doing: str, transport: Transport) -> Iterator[memoryview]:
    """The pieces of one answer; each is good until the next is asked for."""
    left = stop - start
    try:
        for piece in _pieces(response, left):
            left -= len(piece)
            if left < 0:
                raise fetch_error(
                    LoadReason.DIGEST_MISMATCH, f"{doing}: more bytes came than the {stop} that were announced"
                )
            yield piece
    except (HTTPError, HTTPException, OSError) as error:
        raise transport.explain(error, doing) from None
    finally:
        if left:
            response.close()
        else:
            response.release_conn()
    if left:
        raise fetch_error(
            LoadReason.TRUNCATED, f"{doing}: {stop - left} bytes came, {stop} were announced", permanent=False
        )


def _pieces(response: Response, wanted: int) -> Iterator[memoryview]:
    """The body, into one buffer again and again: to have new pages for each piece costs more than to decrypt it.

    urllib3 reads into no buffer, so its answer's own file does, where it announces just the bytes that are wanted.
    """
    body: Any = getattr(response, "_fp", None)
    if response.headers.get("content-length") != str(wanted) or not hasattr(body, "readinto"):
        while piece := response.read(min(PIECE, wanted + 1), decode_content=False):
            yield memoryview(piece)
        return
    buffer, left = memoryview(bytearray(min(PIECE, wanted))), wanted
    while count := body.readinto(buffer):
        left -= count
        yield buffer[:count]
    if left:
        raise IncompleteRead(wanted - left, left)
