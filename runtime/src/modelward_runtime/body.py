"""Bodies of HTTP requests: read under a hard limit, unpacked where the client packed them.

Called by `web.py`, which has the deadline and the request's share of the budget. Raises `ApiError` for every body that
cannot be had, and `ClientGone` when nobody waits any more. What is here already is taken without a wait.
"""

from collections.abc import Iterable
from functools import partial

from modelward_runtime.aligned import make_aligned
from modelward_runtime.budget import Hold
from modelward_runtime.errors import BodyTooLarge, LengthRequired, UnsupportedMedia
from modelward_runtime.request import Body, Header, Request, Step
from modelward_runtime.unpacking import WINDOW_BITS, unpack_by

_MOST_DIGITS = 12  # of a number of bytes
# curl -d says x-www-form-urlencoded unless told otherwise: refusing it would break every quickstart ever pasted
_MEDIA_TYPES = frozenset({"", "application/json", "application/octet-stream", "application/x-www-form-urlencoded"})


class Headers:
    """The few request headers that matter, found in one pass."""

    __slots__ = ("accepted", "authorization", "chunked", "encoding", "header_length", "length", "media_type")

    def __init__(self, headers: Iterable[Header]) -> None:
        self.length: int | None = None
        self.chunked = False
        self.media_type = ""
        self.encoding = ""
        self.header_length: str | None = None
        self.authorization: bytes | None = None
        self.accepted = b""
        for name, value in headers:
            if name == b"content-length":
                self.length = int(value)  # the HTTP parser lets only digits through
            elif name == b"content-type":
                self.media_type = value.split(b";", 1)[0].strip().lower().decode("latin-1")
            elif name == b"inference-header-content-length":
                self.header_length = value.decode("latin-1")
            elif name == b"content-encoding":
                self.encoding = value.strip().lower().decode("latin-1")
            elif name == b"transfer-encoding":
                self.chunked = True
            elif name == b"accept-encoding":
                self.accepted = value if not self.accepted else b", ".join((self.accepted, value))
            elif name == b"authorization":  # a second one is joined, as HTTP joins headers, and then is no token
                self.authorization = value if self.authorization is None else b", ".join((self.authorization, value))


def check_head(headers: Headers, limit: int) -> str:
    """Refuse a body that the head alone rules out; how it is packed, empty where it is not."""
    if headers.media_type not in _MEDIA_TYPES:
        raise UnsupportedMedia("this content type is not understood, send application/json")
    packing = headers.encoding if headers.encoding != "identity" else ""
    if packing and packing not in WINDOW_BITS:
        raise UnsupportedMedia("this content encoding is not understood, send gzip, deflate or none")
    if headers.length is None and not headers.chunked:
        raise LengthRequired("a body needs a Content-Length")
    if headers.length is not None and headers.length > limit:
        raise BodyTooLarge(limit)
    return packing


def begin_body(headers: Headers, request: Request, limit: int, hold: Hold, step: Step) -> None:
    """Let the rest of a body come that is not packed, and whose head is checked; then take the step."""
    request.when_whole(lambda size: check_size(size, limit, hold), partial(_allocate, headers), step)


async def read_body(headers: Headers, request: Request, limit: int, hold: Hold, deadline: float) -> Body:
    """The whole body, unpacked. Room is held for what has come: announcing a length costs nobody else anything.

    The deadline is that of unpacking; who waits for a body that does not come sets `request` one.
    """
    packing = check_head(headers, limit)
    body = await request.read_whole(lambda size: check_size(size, limit, hold), partial(_allocate, headers))
    return await unpack_by(deadline, body, packing, limit, hold) if packing else body


def _allocate(headers: Headers, size: int) -> Body:
    """Memory for a large body, of which only what comes is the machine's; of binary tensors behind JSON the first is aligned."""
    told = headers.header_length or ""
    return make_aligned(size, at=int(told) if told.isascii() and told.isdigit() and len(told) <= _MOST_DIGITS else 0)


def check_size(size: int, limit: int, hold: Hold) -> None:
    """Refuse a body of more bytes, or one that there is no room for: it is held. Raises `ApiError`."""
    if size > limit:
        raise BodyTooLarge(limit)
    hold.reach(size)
