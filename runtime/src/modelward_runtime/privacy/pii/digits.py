"""Where a text has numbers: the runs of digits in it, found once with numpy for all kinds that are made of digits.

Made by `fold.py` on demand, read by `card.py`, `resident.py`, `phone.py`, `ip.py` and `iban.py`. A number that people write in groups
(`4111 1111 1111 1111`) is several runs; `windows` gives every row of neighbouring runs with so many digits in all. Everything is
linear in the text: a window has at most 19 runs.

    text     c a r d   4 1 1 1 - 1 1 1 1 ,  d u e  1 2 / 2 7
    runs               [0    ]   [1    ]           [2] [3]        starts, ends: offsets in the text
    digits             4 1 1 1   1 1 1 1           1 2 2 7        `first` of a run: its offset in the digits
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]

_WIDEST_GAP = 3


@dataclass(frozen=True)
class Windows:
    """Rows of neighbouring runs: numbers `left` to `right` (inclusive) of the runs, `begin` to `end` (exclusive) of the digits."""

    left: Ints
    right: Ints
    begin: Ints
    end: Ints

    def where(self, keep: Bools) -> "Windows":
        """Those that are to be kept."""
        return Windows(self.left[keep], self.right[keep], self.begin[keep], self.end[keep])


@dataclass(frozen=True)
class Numbers:
    """The runs of digits of a text, in order. `text` ends with padding, so that what follows a run can be looked at."""

    text: Bytes
    starts: Ints
    ends: Ints
    first: Ints  # one longer than the runs: the last entry is the number of digits
    digits: Bytes

    def __len__(self) -> int:
        return len(self.starts)

    def before(self, runs: Ints, distance: int = 1) -> Bytes:
        """The characters so far before these runs, 0 where the text begins after that."""
        places = self.starts[runs] - distance
        return np.where(places < 0, np.uint8(0), self.text[np.maximum(places, 0)])

    def after(self, runs: Ints, distance: int = 0) -> Bytes:
        """The characters so far behind these runs, 0 where the text ends before that."""
        return self.text[self.ends[runs] + distance]

    def linked(self, separators: bytes, widest: int = _WIDEST_GAP) -> Bools:
        """For each run but the last: is there nothing but one to `widest` (at most 3) separators before the next?"""
        allowed = np.zeros(256, np.bool_)
        allowed[np.frombuffer(separators, np.uint8)] = True
        gaps = self.starts[1:] - self.ends[:-1]
        fits: Bools = gaps <= widest
        for distance in range(widest):
            fits = fits & ((gaps <= distance) | allowed[self.text[self.ends[:-1] + distance]])
        return fits

    def windows(self, linked: Bools, fewest: int, most: int) -> Windows:
        """Every row of linked runs with `fewest` to `most` digits in all."""
        chains = self.chains(linked)
        left = np.flatnonzero(
            np.repeat(self.first[chains.right + 1], chains.right - chains.left + 1) - self.first[:-1] >= fewest
        )
        right = left
        found: list[tuple[Ints, Ints]] = []
        while len(left):
            totals = self.first[right + 1] - self.first[left]
            fits = (totals >= fewest) & (totals <= most)
            found.append((left[fits], right[fits]))
            more = (totals < most) & (right < len(self) - 1)
            left, right = left[more], right[more]
            go_on = linked[right]
            left, right = left[go_on], right[go_on] + 1
        lefts = np.concatenate([one for one, _ in found]) if found else left
        rights = np.concatenate([one for _, one in found]) if found else right
        return Windows(lefts, rights, self.first[lefts], self.first[rights + 1])

    def chains(self, linked: Bools) -> Windows:
        """The longest rows of linked runs, which are all runs in order."""
        breaks = np.flatnonzero(~linked)
        left = np.concatenate([[0], breaks + 1])
        right = np.concatenate([breaks, [len(self) - 1]])
        return Windows(left, right, self.first[left], self.first[right + 1])

    def spans(self, windows: Windows) -> list[tuple[int, int]]:
        """Where windows are in the text."""
        starts: list[int] = self.starts[windows.left].tolist()
        return list(zip(starts, self.ends[windows.right].tolist(), strict=True))


def find_numbers(text: bytes) -> Numbers:
    """The runs of digits of a folded text."""
    padded = np.frombuffer(text + bytes(_WIDEST_GAP + 1), np.uint8)
    distances = padded - np.uint8(ord("0"))
    places = np.flatnonzero(distances < 10)
    digits = distances[places]
    if not len(places):
        nothing = np.zeros(0, np.int64)
        return Numbers(padded, nothing, nothing, np.zeros(1, np.int64), digits)
    breaks = np.flatnonzero(np.diff(places) != 1) + 1
    first = np.concatenate([[0], breaks, [len(places)]])
    return Numbers(padded, places[first[:-1]], places[first[1:] - 1] + 1, first, digits)


def is_letter(characters: Bytes) -> Bools:
    """ASCII letters, which would make a number part of a word or of a longer code."""
    lowered = characters | np.uint8(0x20)
    return (lowered >= ord("a")) & (lowered <= ord("z"))


def is_digit(characters: Bytes) -> Bools:
    """ASCII digits."""
    digits: Bools = (characters - np.uint8(ord("0"))) < 10
    return digits
