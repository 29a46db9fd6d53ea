"""What comes before a request is a request: paths, and bodies in pieces and under gzip."""

import gzip
import math
import zlib
from collections.abc import Callable, Coroutine
from typing import Any

from e2e.fuzz.draw import Draw
from e2e.fuzz.oracle import is_sorry
from e2e.fuzz.target import target
from modelward_runtime.body import Headers, read_body
from modelward_runtime.budget import Budget
from modelward_runtime.caller import ClientGone
from modelward_runtime.errors import ApiError
from modelward_runtime.paths import METHODS, check_method, parse_path

LIMIT = 2000
_PATHS = [
    b"/v2",
    b"/v2/models/m",
    b"/v2/models/m/infer",
    b"/v2/models/m/versions/1/infer",
    b"/v2/repository/models/m/load",
]


@target(
    "paths",
    seeds=[b"GET " + path for path in _PATHS],
    words=[b"/", b"//", b"/versions/", b"/infer", b"%2f", b"..", b"/v2/models/"],
    runs=2000,
)
def find_path(data: bytes) -> None:
    """A path and a method are a route, or a 404 or 405 that repeats nothing of them but the method's beginning."""
    method, _, path = data.decode("latin-1").partition(" ")
    try:
        route = parse_path(path)
        assert route.action in METHODS
        assert path.count("/") >= 3
        assert "/" not in route.name + route.version
        check_method(route, method)
    except ApiError as error:
        is_sorry(error)
        assert error.status in {404, 405}
        assert len(error.message) < 100


class _Request:
    """A body that comes in pieces."""

    def __init__(self, parts: list[bytes], *, ends_early: bool) -> None:
        self._parts, self._ends_early = parts, ends_early

    async def read_whole(self, check: Callable[[int], None], allocate: Callable[[int], Any]) -> Any:
        size, memory = 0, allocate(sum(map(len, self._parts)))
        for part in self._parts:
            size += len(part)
            check(size)
        if self._ends_early:
            raise ClientGone
        memory[:] = b"".join(self._parts)
        return memory


def _run(work: Coroutine[Any, Any, Any]) -> bytes:
    """What it returns; nothing in it waits."""
    try:
        work.send(None)
    except StopIteration as ended:
        return bytes(ended.value)
    raise AssertionError("it waits")


_NAMES = [
    b"content-type",
    b"content-length",
    b"content-encoding",
    b"transfer-encoding",
    b"inference-header-content-length",
    b"authorization",
]
_VALUES = [
    b"application/json",
    b"gzip",
    b"deflate",
    b"identity",
    b"chunked",
    b"7",
    b"99999999999",
    b"text/html",
    b"application/json; charset=x",
]
_PACKED = gzip.compress(b'{"inputs":[]}' * 9, mtime=0)


@target(
    "body",
    seeds=[
        b"\1\1\5\0\4\xff" + b"hello world, hello",
        b"\2\2\1\1\6\0\xff" + _PACKED,
        b"\2\2\1\1\6\2\x10" + _PACKED,
        b"\2\2\2\1\6\2\x10" + zlib.compress(b"a" * 3000),
        b"\2\3\4\2\1\0\x20" + gzip.compress(b"a" * 1000, mtime=0) * 2,
    ],
    words=[_PACKED, zlib.compress(b"a" * 5000), b"\x1f\x8b\x08\x00"],
    runs=1200,
)
def take_body(data: bytes) -> None:
    """A body is refused in words, or is what was sent, unpacked as Python unpacks it, and never over the limit."""
    draw = Draw(data)
    given = [(draw.pick(_NAMES), draw.pick(_VALUES)) for _ in range(draw.number(4))]
    given = [(name, value if name != b"content-length" or value.isdigit() else b"40") for name, value in given]
    headers = Headers(given)
    ends_early, size = draw.chance(8), 1 + draw.byte()
    body = draw.rest
    request: Any = _Request([body[at : at + size] for at in range(0, len(body), size)], ends_early=ends_early)
    with Budget(4 * LIMIT).hold() as hold:
        try:
            got = _run(read_body(headers, request, LIMIT, hold, math.inf))
        except ClientGone:
            assert ends_early
            return
        except ApiError as error:
            is_sorry(error)
            return
    assert len(got) <= LIMIT
    if headers.encoding in {"", "identity"}:
        assert got == body
    else:
        assert got == zlib.decompress(body, zlib.MAX_WBITS | (16 if "gzip" in headers.encoding else 0))
