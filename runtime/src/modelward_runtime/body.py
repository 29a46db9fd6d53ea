"""Bodies of HTTP requests: read under a hard limit, unpacked where the client packed them.

Called by `web.py`, which has the deadline and the request's share of the budget. Raises `ApiError` for every body that
cannot be had, and `ClientGone` when nobody waits any more.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from modelward_runtime.budget import Hold
from modelward_runtime.errors import BadRequest, BodyTooLarge, LengthRequired, UnsupportedMedia

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_INLINE = 1 << 16
_PIECE = 1 << 22  # so much is unpacked before the budget is asked for more
# curl -d says x-www-form-urlencoded unless told otherwise: refusing it would break every quickstart ever pasted
_MEDIA_TYPES = frozenset({"", "application/json", "application/octet-stream", "application/x-www-form-urlencoded"})
_WINDOW_BITS = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


class ClientGone(Exception):
    """The caller closed the connection before its answer."""


class Headers:
    """The few request headers that matter, found in one pass."""

    __slots__ = ("authorization", "chunked", "encoding", "header_length", "length", "media_type")

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.length: int | None = None
        self.chunked = False
        self.media_type = ""
        self.encoding = ""
        self.header_length: str | None = None
        self.authorization: bytes | None = None
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
            elif name == b"authorization":  # a second one is joined, as HTTP joins headers, and then is no token
                self.authorization = value if self.authorization is None else b", ".join((self.authorization, value))


async def read_body(headers: Headers, receive: Receive, limit: int, hold: Hold) -> bytes:
    """The whole body, unpacked. Room is held for what has come: announcing a length costs nobody else anything."""
    if headers.media_type not in _MEDIA_TYPES:
        raise UnsupportedMedia(f"content type '{headers.media_type[:64]}' is not understood, send application/json")
    packing = headers.encoding if headers.encoding != "identity" else ""
    if packing and packing not in _WINDOW_BITS:
        raise UnsupportedMedia(f"content encoding '{packing[:64]}' is not understood, send gzip, deflate or none")
    if headers.length is None and not headers.chunked:
        raise LengthRequired("a body needs a Content-Length")
    if headers.length is not None and headers.length > limit:
        raise BodyTooLarge(limit)
    body = await _receive_all(receive, limit, hold)
    if not packing:
        return body
    return (
        _unpack(body, packing, limit, hold)
        if len(body) <= _INLINE
        else await asyncio.to_thread(_unpack, body, packing, limit, hold)
    )


async def _receive_all(receive: Receive, limit: int, hold: Hold) -> bytes:
    message = await _receive_part(receive)
    body: bytes = message.get("body", b"")
    _check_size(len(body), limit, hold)
    if not message.get("more_body", False):
        return body
    parts, size = [body], len(body)
    while message.get("more_body", False):
        message = await _receive_part(receive)
        part: bytes = message.get("body", b"")
        size += len(part)
        _check_size(size, limit, hold)
        parts.append(part)
    return b"".join(parts)


async def _receive_part(receive: Receive) -> MutableMapping[str, Any]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message


def _check_size(size: int, limit: int, hold: Hold) -> None:
    if size > limit:
        raise BodyTooLarge(limit)
    hold.reach(size)


def _unpack(body: bytes, packing: str, limit: int, hold: Hold) -> bytes:
    """Unpacked bytes, never more than the limit or the budget: a small body may hold a huge one."""
    unpacker = zlib.decompressobj(_WINDOW_BITS[packing])
    parts, size, rest = [], 0, body
    try:
        while part := unpacker.decompress(rest, min(_PIECE, limit + 1 - size)):
            rest = unpacker.unconsumed_tail
            size += len(part)
            if size > limit:
                raise BodyTooLarge(limit)
            hold.reach(len(body) + size)
            parts.append(part)
    except zlib.error as bad:
        raise BadRequest(f"the body is not valid {packing}: {bad}") from None
    if not unpacker.eof or unpacker.unused_data:
        raise BadRequest(f"the body is not valid {packing}: it ends too early or too late")
    return b"".join(parts)
