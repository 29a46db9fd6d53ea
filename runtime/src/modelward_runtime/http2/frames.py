"""Frames of HTTP/2 as bytes (RFC 9113, sections 4 and 6). Pure; used by the other modules of `http2`."""

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final

from modelward_runtime.http2.faults import Code, ConnectionFault

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DEFAULT_WINDOW: Final = 65535
DEFAULT_FRAME: Final = 16384
MOST_WINDOW: Final = (1 << 31) - 1
LAST_STREAM: Final = (1 << 31) - 1
HEAD: Final = struct.Struct(">IBI")  # the length's three bytes and the type's one are read as one number

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITY: Final = 0x20


class Type(IntEnum):
    """Section 6."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Setting(IntEnum):
    """Section 6.5.2."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


_SETTING: Final = struct.Struct(">HI")


def head(kind: int, flags: int, stream: int, length: int) -> bytes:
    """A frame's first nine bytes."""
    return HEAD.pack(length << 8 | kind, flags, stream)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame."""
    return HEAD.pack(len(payload) << 8 | kind, flags, stream) + payload


def settings(values: dict[Setting, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(Type.SETTINGS, 0, 0, b"".join(_SETTING.pack(name, value) for name, value in values.items()))


def goaway(last: int, code: int, text: str = "") -> bytes:
    """A GOAWAY frame."""
    return frame(Type.GOAWAY, 0, 0, struct.pack(">II", last, code) + text.encode())


def reset(stream: int, code: int) -> bytes:
    """A RST_STREAM frame."""
    return frame(Type.RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def window_update(stream: int, more: int) -> bytes:
    """A WINDOW_UPDATE frame."""
    return frame(Type.WINDOW_UPDATE, 0, stream, more.to_bytes(4, "big"))


def read_settings(payload: bytes) -> Iterator[tuple[int, int]]:
    """Names and values, of which those that we know are in range. Raises `ConnectionFault`."""
    if len(payload) % 6:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, "SETTINGS of no whole settings")
    for name, value in _SETTING.iter_unpack(payload):
        if name == Setting.INITIAL_WINDOW_SIZE and value > MOST_WINDOW:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE is too large")
        if (name == Setting.ENABLE_PUSH and value > 1) or (
            name == Setting.MAX_FRAME_SIZE and not DEFAULT_FRAME <= value < 1 << 24
        ):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a setting is out of range")
        yield name, value


def without_padding(payload: bytes) -> bytes:
    """What a PADDED frame holds. Raises `ConnectionFault`."""
    if not payload:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, "PADDED without its length")
    if payload[0] >= len(payload):
        raise ConnectionFault(Code.PROTOCOL_ERROR, "more padding than frame")
    return payload[1 : len(payload) - payload[0]]
