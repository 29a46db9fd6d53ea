"""Structured values out of bytes, so that a mutation of the bytes is a mutation of the structure. Runs dry into zeros, never fails."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Draw:
    """Reads an input from its beginning."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def rest(self) -> bytes:
        """All that was not read yet."""
        found, self._at = self._data[self._at :], len(self._data)
        return found

    def byte(self) -> int:
        """0 to 255."""
        if self._at >= len(self._data):
            return 0
        self._at += 1
        return self._data[self._at - 1]

    def number(self, most: int) -> int:
        """0 to `most`, which is small."""
        return self.byte() % (most + 1)

    def chance(self, of: int) -> bool:
        """Rarely true, by `of`; false when the bytes have run out."""
        return self.byte() % of == of - 1

    def pick(self, choices: Sequence[T]) -> T:
        """One of them; the first when the bytes have run out."""
        return choices[self.byte() % len(choices)]

    def take(self, count: int) -> bytes:
        """So many bytes, or as many as there are."""
        found = self._data[self._at : self._at + count]
        self._at += len(found)
        return found

    def integer(self) -> int:
        """A signed number of up to 64 bits; small ones are likelier, and so are those at the edges."""
        size = self.pick([1, 1, 1, 2, 4, 8])
        found = int.from_bytes(self.take(size), "little", signed=True)
        return found if not self.chance(16) else self.pick([2**31, 2**31 - 1, 2**32, 2**40, 2**62, 2**63 - 1, -(2**63)])
