"""Long JSON arrays of numbers straight to numpy, without a Python object for each of them.

Called by `tensors.py` (`read`, `Span`) and `codec.py` (`lift`) with what is long enough for it to pay. simdjson reads the numbers where
it is installed for this platform. It takes less than msgspec does (no integers beyond 64 bits), and reads what it takes to the same
values. Whatever is not taken, is malformed or out of range is None here: the ordinary way, which is slower, then takes it, or says what is
wrong with it.
"""

import re
import secrets
import threading
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from modelward_runtime import bfloat16
from modelward_runtime.model import NUMPY_TYPES, Array

LONG: Final = 1 << 10
"""Bytes of JSON from which on all this pays."""

_PIECE: Final = 1 << 16  # is parsed at once: the parser keeps fourteen times as much memory, for each thread
_MOST_LIFTED: Final = 256  # more inputs than any model has; who repeats the word must not keep a thread busy with it
_WORD: Final = secrets.token_hex(16)  # of this process
_ARRAY: Final = re.compile(rb'"data"[ \t\r\n]*:[ \t\r\n]*\[(?![ \t\r\n]*\[)')  # nested ones end elsewhere
_COMMA: Final = re.compile(rb",")  # a memoryview has no `find`
_KINDS: Final[Mapping[str, tuple[str, Any]]] = {
    **dict.fromkeys(("FP16", "FP32", "FP64", "BF16"), ("d", np.float64)),
    **dict.fromkeys(("INT8", "INT16", "INT32", "INT64"), ("i", np.int64)),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32", "UINT64"), ("u", np.uint64)),
}


class _Parsers(threading.local):
    """A parser for each thread: what it has parsed last is in it."""

    def __init__(self) -> None:
        from simdjson import Parser  # noqa: PLC0415  only who is sent long JSON needs it

        self.parser = Parser()


_parsers: _Parsers | None = None
_missing = False


class Span:
    """A flat array in a body: where its brackets are."""

    __slots__ = ("_body", "_end", "_start")

    def __init__(self, body: bytes | bytearray | memoryview, start: int, end: int) -> None:
        self._body = body
        self._start = start
        self._end = end

    def read(self, datatype: str, bounds: tuple[float, float] | None) -> Array | None:
        """Its numbers, in one axis, all within `bounds` where there are any; None: go the ordinary way."""
        kind = _KINDS.get(datatype)
        parser = _parser() if kind is not None else None
        if kind is None or parser is None:
            return None
        parts: list[Array] = []
        body, start, end = self._body, self._start + 1, self._end - 1
        while start < end:
            comma = _COMMA.search(body, start + _PIECE, end)
            stop = comma.start() if comma else end
            try:
                numbers = np.frombuffer(
                    parser.parse(b"".join((b"[", body[start:stop], b"]"))).as_buffer(of_type=kind[0]), kind[1]
                )
            except (ValueError, TypeError, RuntimeError, AttributeError):
                return None
            if not numbers.size or (bounds and not bounds[0] <= numbers.min() <= numbers.max() <= bounds[1]):
                return None
            parts.append(bfloat16.narrow(numbers) if datatype == "BF16" else numbers.astype(NUMPY_TYPES[datatype]))
            start = stop + 1
        if start != end + 1:
            return None  # nothing behind the last comma
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def read(datatype: str, text: bytes, bounds: tuple[float, float] | None) -> Array | None:
    """The numbers of a text that is a flat array, as `Span.read`."""
    return Span(text, 0, len(text)).read(datatype, bounds)


def lift(body: bytes | bytearray | memoryview) -> tuple[bytes, dict[bytes, Span]]:
    """The body with a word in the place of each long flat `data`, and what the words stand for.

    So no parser needs to step over the numbers twice. The words are strings that no caller can know: one that is the `data` of some
    tensor in the end, stood where an array may stand; one that is not, was something else, and the body must be read as it came.
    """
    lifted: dict[bytes, Span] = {}
    pieces, kept = [], 0
    position = 0
    for _ in range(_MOST_LIFTED):
        found = _ARRAY.search(body, position)
        end = _end_of(body, found.end()) if found else 0
        if found is None or not end:
            break
        start = position = found.end() - 1
        if end - start >= LONG:
            word = b'"%b-%d"' % (_WORD.encode(), len(lifted))
            lifted[word] = Span(body, start, end)
            pieces += [body[kept:start], word]
            kept = position = end
    return b"".join([*pieces, body[kept:]]), lifted


def _end_of(body: bytes | bytearray | memoryview, begin: int) -> int:
    """Behind the first closing bracket from there on; 0 where there is none.

    A copy of each piece is looked through, a tenth of what a regular expression takes for a view.
    """
    size = LONG
    while begin < len(body):
        found = bytes(body[begin : begin + size]).find(b"]")
        if found >= 0:
            return begin + found + 1
        begin += size
        size = min(2 * size, _PIECE)
    return 0


def _parser() -> Any:  # noqa: ANN401  simdjson's
    global _parsers, _missing  # noqa: PLW0603  found out once
    if _parsers is None and not _missing:
        try:
            _parsers = _Parsers()
        except ImportError:
            _missing = True
    return None if _parsers is None else _parsers.parser
