"""The form of a text that recognisers read: one ASCII byte for each character, and the way back to the original.

Made by `scan.py`, read by every recogniser. What looks like an ASCII character becomes it, so that `４１１１` and `4111` are one
number: NFKC (Unicode Standard Annex 15), decimal digits of every script, and a few confusable letters and signs (Unicode Technical
Standard 39). What cannot be seen (zero width, soft hyphens, direction marks, variation selectors, tags, fillers, combining marks,
controls) is left out, so that it cannot part a number. Any other letter is `LETTER`, anything else `OTHER`.

Text of plain ASCII, which most is, is its own folded form. Of a long one the bytes are all that is kept: which characters they stand for is
found again for the few places that somebody asks about, because to remember it takes eight times as much memory. It must not decide what
anything means.
"""

import sys
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import numpy.typing as npt

from modelward_runtime.privacy.pii.digits import Numbers, find_numbers

Offsets = npt.NDArray[np.int64]
Span = tuple[int, int]

END = "\0"  # stands between texts that have nothing to do with each other; no recogniser reads across
LETTER, OTHER = 0x80, 0x81
_SEVERAL, _GONE = 0xFE, 0xFF
_PIECE = (
    1 << 16
)  # characters that are folded at once: the arrays for that are forty times as large, at worst four hundred
_PLANES = 0x20000  # above lie rare ideographs, private use, and the plane's part that nobody sees
_UNSEEN = 0xE0  # the block U+E0000 to U+E0FFF, by its upper bits: tags and variation selectors, ignorable by default all of it
# Letters and signs by category that show nothing: fillers of Hangul, the empty Braille pattern, what is kept for more of the kind.
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u2800\u2065" + "".join(map(chr, range(0xFFF0, 0xFFF9))))
_INVISIBLE = bytes(byte for byte in range(1, 0x80) if (byte < 0x20 and chr(byte) not in "\t\n\r") or byte == 0x7F)

# Confusables that NFKC keeps apart: letters of codes and keys, and the signs between digits.
_LOOK_ALIKES = dict(
    zip(
        "АВЕЅІЈКМНОРСТУХаеѕіјорсухԁԛԝΑΒΕΖΗΙΚΜΝΟΡΤΥΧοϲ",
        "ABESIJKMHOPCTYXaesijopcyxdqwABEZHIKMNOPTYXoc",
        strict=True,
    )
) | {
    **dict.fromkeys("‐‑‒–—―−﹘⁃ー", "-"),
    **dict.fromkeys("。·∙•", "."),
    **dict.fromkeys("⁄∕", "/"),
}  # fmt: skip


@dataclass(frozen=True)
class Folded:
    """`text` in bytes; `offsets` says for each which character of the original it stands for, None: for the one at its place."""

    text: bytes
    offsets: Offsets | None
    pieces: "Pieces | None" = None  # of a long one, in the place of offsets

    def original(self, span: Span) -> Span:
        """The characters of the original that a span of the folded text stands for, invisible ones within it included."""
        if self.pieces is not None:
            return self.pieces.character(span[0]), self.pieces.character(span[1] - 1) + 1
        if self.offsets is None:
            return span
        return int(self.offsets[span[0]]), int(self.offsets[span[1] - 1]) + 1

    @cached_property
    def numbers(self) -> Numbers:
        """The runs of digits."""
        return find_numbers(self.text)

    @cached_property
    def lowered(self) -> bytes:
        """The same in lower case."""
        return self.text.lower()


class Pieces:
    """A long text whose pieces were folded one by one: the way back of the piece that was asked about last."""

    def __init__(self, text: str, begins: list[int]) -> None:
        self._text = text
        self._begins = begins  # of each piece in the folded text
        self._at = -1
        self._offsets: Offsets | None = None

    def character(self, place: int) -> int:
        """Which character of the original a byte of the folded text stands for. Who asks in order waits least."""
        at = bisect_right(self._begins, place) - 1
        if at != self._at:
            start = at * _PIECE
            self._at, self._offsets = at, _fold_any(self._text[start : start + _PIECE]).offsets
        within = place - self._begins[at]
        return at * _PIECE + (within if self._offsets is None else int(self._offsets[within]))


def fold(text: str) -> Folded:
    """The folded form of a text."""
    if text.isascii():
        plain = text.encode("ascii")
        if len(plain.translate(None, _INVISIBLE)) == len(plain):
            return Folded(plain, None)
    return _fold_any(text) if len(text) <= _PIECE else _fold_long(text)


def _fold_long(text: str) -> Folded:
    """The same piece by piece: what a character folds to, its neighbours have no part in."""
    folded, begins = [], [0]
    for start in range(0, len(text), _PIECE):
        folded.append(_fold_any(text[start : start + _PIECE]).text)
        begins.append(begins[-1] + len(folded[-1]))
    return Folded(b"".join(folded), None, Pieces(text, begins))


def _fold_any(text: str) -> Folded:
    table = _table()
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    if len(points) and points.max() >= _PLANES:
        points = np.where(points >> 12 == _UNSEEN, np.uint32(_PLANES + 1), np.minimum(points, np.uint32(_PLANES)))
    folded = table.single.take(points, mode="clip")
    if (folded == _SEVERAL).any():
        return _fold_slowly(points.astype(np.int64), table)
    kept = folded != _GONE
    if kept.all():
        return Folded(folded.tobytes(), None)
    return Folded(folded[kept].tobytes(), np.flatnonzero(kept))


def _fold_slowly(points: Offsets, table: "_Table") -> Folded:
    """The same where a character stands for several (`⑩`, `㏂`)."""
    lengths = table.lengths[points]
    offsets = np.repeat(np.arange(len(points), dtype=np.int64), lengths)
    within = np.arange(len(offsets), dtype=np.int64) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return Folded(table.pool[np.repeat(table.starts[points], lengths) + within].tobytes(), offsets)


@dataclass(frozen=True)
class _Table:
    """What each character folds to: `pool[starts[c] : starts[c] + lengths[c]]`; `single[c]` where that is one byte or none."""

    starts: Offsets
    lengths: Offsets
    pool: npt.NDArray[np.uint8]
    single: npt.NDArray[np.uint8]


def prepare() -> None:
    """Make the table of characters now (a quarter of a second), not with the first text that needs it."""
    _table()


@cache
def _table() -> _Table:
    folded = [_fold_character(chr(point)) for point in range(min(_PLANES, sys.maxunicode))]
    folded += [bytes([OTHER]), b""]  # above the table, seen and unseen
    lengths = np.array([len(one) for one in folded], np.int64)
    single = [one[0] if len(one) == 1 else _SEVERAL if one else _GONE for one in folded]
    pool = np.frombuffer(b"".join(folded), np.uint8)
    return _Table(np.cumsum(lengths) - lengths, lengths, pool, np.array(single, np.uint8))


def _fold_character(character: str) -> bytes:
    if character.isascii():
        return character.encode().translate(None, _INVISIBLE)
    if character in _LOOK_ALIKES:
        return _LOOK_ALIKES[character].encode()
    parts = unicodedata.normalize("NFKC", character)
    return b"".join(_fold_part(part) for part in parts)


def _fold_part(part: str) -> bytes:
    if part.isascii():
        return part.encode()
    category = unicodedata.category(part)
    if part in _FILLERS or category in {"Mn", "Me", "Cf", "Cc"}:
        return b""
    if category == "Nd":
        return b"%d" % unicodedata.decimal(part)
    if part in _LOOK_ALIKES:
        return _LOOK_ALIKES[part].encode()
    return b" " if category == "Zs" else bytes([LETTER if category[0] in "LM" else OTHER])
