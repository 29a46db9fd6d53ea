"""Streams a range of a file over HTTP; where the connection broke, `resuming.py` takes it up again.

`oci.py` and `site.py` read through it. It must not know whose bytes they are.
"""

from collections.abc import Callable, Iterator
from http.client import HTTPException
from typing import Any

from urllib3.exceptions import HTTPError, IncompleteRead

from modelward_runtime.errors import LoadReason
from modelward_runtime.store.locate import fetch_error
from modelward_runtime.store.remote import PIECE
from modelward_runtime.store.resuming import resumed
from modelward_runtime.store.transport import Response, Transport

Ask = Callable[[int], Response]  # the answer that holds the bytes from there on; LoadError when there is none


def stream(ask: Ask, start: int, stop: int, doing: str, transport: Transport) -> Iterator[memoryview]:
    """Exactly the bytes from `start` to `stop`, piece by piece; LoadError when they cannot be had."""
    return resumed(lambda at: _attempt(ask(at), at, stop, doing, transport), start, stop)


def once(ask: Ask, start: int, stop: int, doing: str, transport: Transport) -> Iterator[memoryview]:
    """The same of what cannot be taken up again: one answer, and a break is the end."""
    yield from _attempt(ask(start), start, stop, doing, transport)


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
