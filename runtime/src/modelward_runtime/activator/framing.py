"""Looks at gRPC messages that go through: how large each is, and what model its beginning names.

Used by `carrying.py` and `grpc_proxy.py`. Messages are not read: their sizes stand before them, and names stand first in those that ask for
a model, as all of protobuf's libraries write them. Packed ones are unpacked as far as that. It holds nothing of a message.
"""

import zlib
from typing import Final, NamedTuple

from modelward_runtime.errors import BadRequest, BodyTooLarge, UnsupportedMedia
from modelward_runtime.unpacking import WINDOW_BITS
from modelward_runtime.wire import UNREADABLE, parse

PREFIX: Final = 5
INFERENCE: Final = "ModelInferRequest"
LOOKED_AT: Final = 4096  # bytes of a message at most, packed or not
_NAME, _VERSION = 0x0A, 0x12  # tags of strings: field 1, field 2


class Sizes:
    """One call's messages as they pass."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._prefix = b""
        self._left = 0

    def check(self, piece: bytes) -> None:
        """A piece passes. Raises `BodyTooLarge` with a message's beginning, `BadRequest`."""
        position, end = 0, len(piece)
        while position < end:
            if self._left:
                taken = min(self._left, end - position)
                self._left -= taken
                position += taken
                continue
            taken = PREFIX - len(self._prefix)
            self._prefix += piece[position : position + taken]
            position += taken
            if len(self._prefix) == PREFIX:
                self._left, self._prefix = size_of(self._prefix, self._limit), b""


def size_of(prefix: bytes, limit: int) -> int:
    """Of a message that begins so. Raises `BodyTooLarge`, `BadRequest`."""
    if prefix[0] > 1:
        raise BadRequest("a message's prefix is none of gRPC's")
    size = int.from_bytes(prefix[1:PREFIX], "big")
    if size > limit:
        raise BodyTooLarge(limit)
    return size


class Asked(NamedTuple):
    """The model that a message is for; None where that cannot be told."""

    name: str | None
    version: str


def read_names(begun: bytes, kind: str, packing: str, limit: int, *, ended: bool) -> Asked | None:
    """Of a message of this kind that begins so, prefix and all; None where more of it has to be seen. `ended`: nothing more comes.

    Raises `BadRequest`, `BodyTooLarge`, `UnsupportedMedia`.
    """
    if len(begun) < PREFIX:
        if ended:
            raise BadRequest("the call ends within a message" if begun else "the call has no message")
        return None
    size = size_of(begun, limit)
    content = begun[PREFIX : PREFIX + size]
    whole = len(content) == size
    if ended and not whole:
        raise BadRequest("the call ends within a message")
    enough = len(content) >= LOOKED_AT
    if begun[0]:
        content, whole = _unpack(content, packing, whole=whole)
        enough = enough or len(content) >= LOOKED_AT
    if whole and len(content) <= LOOKED_AT:
        message = parse(kind, content)
        if kind == INFERENCE:
            return Asked(message.model_name, message.model_version)
        return Asked(message.name, message.version)
    return _read_beginning(content, enough=enough or whole)


def _unpack(content: bytes, packing: str, *, whole: bool) -> tuple[bytes, bool]:
    """Of what is packed the beginning, and whether that is all."""
    if packing not in WINDOW_BITS:
        raise UnsupportedMedia("this content encoding is not understood, send gzip, deflate or none")
    unpacker = zlib.decompressobj(WINDOW_BITS[packing])
    try:
        plain = unpacker.decompress(content, LOOKED_AT)
    except zlib.error as bad:
        raise BadRequest(f"the body is not valid {packing}: {bad}") from None
    if whole and not unpacker.eof and len(plain) < LOOKED_AT:
        raise BadRequest(f"the body is not valid {packing}: it ends too early or too late")
    return plain, whole and unpacker.eof


def _read_beginning(data: bytes, *, enough: bool) -> Asked | None:
    """Names stand first, in this order; what stands behind them says that they are over."""
    found: dict[int, bytes | None] = {_NAME: None, _VERSION: b""}
    position = 0
    while position < len(data):
        tag = data[position]
        if tag not in found:
            return _decode(found) if enough or found[_NAME] is not None else None
        size = shift = 0
        position += 1
        while position < len(data):
            byte = data[position]
            position += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80 or shift > 28:
                break
        else:
            break
        found[tag] = data[position : position + size]
        if position + size > len(data):
            break
        position += size
    return _decode(found) if enough else None


def _decode(found: dict[int, bytes | None]) -> Asked:
    name, version = found[_NAME], found[_VERSION] or b""
    try:
        return Asked(None if name is None else name.decode(), version.decode())
    except UnicodeDecodeError:
        raise BadRequest(UNREADABLE) from None
