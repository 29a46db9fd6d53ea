"""What the header fields of a gRPC call say, and the fields of its answers. Source: gRPC over HTTP/2 ("PROTOCOL-HTTP2"). Pure.

Used by `grpc_call.py`.
"""

from typing import Final

import msgspec

from modelward_runtime.errors import ApiError, Busy, EpsilonRefused
from modelward_runtime.http2.hpack import Fields

CODES: Final = {
    "OK": 0, "CANCELLED": 1, "UNKNOWN": 2, "INVALID_ARGUMENT": 3, "DEADLINE_EXCEEDED": 4, "NOT_FOUND": 5, "ALREADY_EXISTS": 6,
    "PERMISSION_DENIED": 7, "RESOURCE_EXHAUSTED": 8, "FAILED_PRECONDITION": 9, "ABORTED": 10, "OUT_OF_RANGE": 11,
    "UNIMPLEMENTED": 12, "INTERNAL": 13, "UNAVAILABLE": 14, "DATA_LOSS": 15, "UNAUTHENTICATED": 16,
}  # fmt: skip
ANSWER: Final[Fields] = ((b":status", b"200"), (b"content-type", b"application/grpc"))
OK: Final[Fields] = ((b"grpc-status", b"0"),)
_UNITS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_PLAIN: Final = frozenset(range(0x20, 0x7F)) - {0x25}
_LONGEST_TEXT: Final = 4096  # of a status: clients take some 8 KiB of fields


class Head(msgspec.Struct, frozen=True, gc=False):
    """`timeout` is in seconds from now, None where the caller waits for ever; `refusal` is HTTP's status for what is no call of gRPC."""

    path: str
    authorization: bytes
    timeout: float | None
    packing: str
    refusal: int
    trace: tuple[str, str] = ("", "")  # traceparent and tracestate of the W3C Trace Context


def read_head(fields: Fields) -> Head:
    """What a call says of itself. What makes no sense to us stays out, but for what would make no answer possible."""
    found = _known.get(fields)
    if found is None:
        found = _read(fields)
        if len(_known) >= 64:
            _known.clear()
        if (
            not found.authorization
            and not found.trace[0]
            and sum(len(name) + len(value) for name, value in fields) <= 1024
        ):
            _known[fields] = found  # of most clients' calls the fields are the same; tokens are not kept here
    return found


_known: Final[dict[Fields, Head]] = {}


def _read(fields: Fields) -> Head:
    said = dict(fields)
    refusal = 0
    if said[b":method"] != b"POST":
        refusal = 405
    elif not said.get(b"content-type", b"").startswith(b"application/grpc"):
        refusal = 415
    tokens = [value for name, value in fields if name == b"authorization"]  # several are joined, and then are no token
    return Head(
        said[b":path"].decode("latin-1"),
        b", ".join(tokens),
        _timeout(said.get(b"grpc-timeout")),
        said.get(b"grpc-encoding", b"identity").decode("latin-1"),
        refusal,
        (said.get(b"traceparent", b"").decode("latin-1"), said.get(b"tracestate", b"").decode("latin-1")),
    )


def _timeout(text: bytes | None) -> float | None:
    if text is None or not 2 <= len(text) <= 9 or not text[:-1].isdigit() or text[-1:] not in _UNITS:
        return None
    return int(text[:-1]) * _UNITS[text[-1:]]


def ending(failure: ApiError) -> Fields:
    """The fields that end a call with an error; who is to come back later reads when in the one that gRPC's own retries heed."""
    others = [(b"grpc-status", b"%d" % CODES[failure.grpc_code]), (b"grpc-message", _escape(failure.message))]
    if isinstance(failure, Busy):
        others.append((b"grpc-retry-pushback-ms", b"%d" % (failure.retry_after * 1000)))
    if (
        isinstance(failure, EpsilonRefused) and failure.retry_after
    ):  # nobody retries a 403 by itself: it is told in HTTP's word
        others.append((b"retry-after", str(failure.retry_after).encode()))
    return tuple(others)


def _escape(message: str) -> bytes:
    text = message[:_LONGEST_TEXT].encode("utf-8", "replace")
    return (
        text
        if _PLAIN.issuperset(text)
        else b"".join(bytes((byte,)) if byte in _PLAIN else b"%%%02X" % byte for byte in text)
    )
