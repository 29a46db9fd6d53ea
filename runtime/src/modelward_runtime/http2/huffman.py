"""The Huffman code of HPACK (RFC 7541, appendix B), for reading: what we write is short and goes out plain.

Called by `hpack.py`. The code is canonical: codes of one length are consecutive, in the order of the lengths. So the symbols in that
order are all that there is to know of it.
"""

from collections.abc import Iterator
from functools import cache
from typing import Final


class BadHuffman(Exception):
    """No text in this code."""


_SYMBOLS: Final[dict[int, tuple[int, ...]]] = {
    5: (48, 49, 50, 97, 99, 101, 105, 111, 115, 116),
    6: (32, 37, 45, 46, 47, 51, 52, 53, 54, 55, 56, 57, 61, 65, 95, 98, 100, 102, 103, 104, 108, 109, 110, 112, 114, 117),
    7: (58, *range(66, 88), 89, 106, 107, 113, 118, 119, 120, 121, 122),
    8: (38, 42, 44, 59, 88, 90),
    10: (33, 34, 40, 41, 63),
    11: (39, 43, 124),
    12: (35, 62),
    13: (0, 36, 64, 91, 93, 126),
    14: (94, 125),
    15: (60, 96, 123),
    19: (92, 195, 208),
    20: (128, 130, 131, 162, 184, 194, 224, 226),
    21: (153, 161, 167, 172, 176, 177, 179, 209, 216, 217, 227, 229, 230),
    22: (129, 132, 133, 134, 136, 146, 154, 156, 160, 163, 164, 169, 170, 173, 178, 181, 185, 186, 187, 189, 190, 196, 198, 228, 232, 233),
    23: (1, 135, 137, 138, 139, 140, 141, 143, 147, 149, 150, 151, 152, 155, 157, 158, 165, 166, 168, 174, 175, 180, 182, 183, 188, 191,
         197, 231, 239),
    24: (9, 142, 144, 145, 148, 159, 171, 206, 215, 225, 236, 237),
    25: (199, 207, 234, 235),
    26: (192, 193, 200, 201, 202, 205, 210, 213, 218, 219, 238, 240, 242, 243, 255),
    27: (203, 204, 211, 212, 214, 221, 222, 223, 241, 244, 245, 246, 247, 248, 250, 251, 252, 253, 254),
    28: (2, 3, 4, 5, 6, 7, 8, 11, 12, 14, *range(15, 22), 23, 24, *range(25, 32), 127, 220, 249),
    30: (10, 13, 22, 256),
}  # fmt: skip
_END: Final = 256  # of a text: only its first bits may be there, as padding
_ERROR: Final = -1

Codes = Iterator[tuple[int, int, int]]


def codes() -> Codes:
    """Each symbol with its code and the code's length in bits."""
    code = before = 0
    for length, symbols in _SYMBOLS.items():
        code <<= length - before
        before = length
        for symbol in symbols:
            yield symbol, code, length
            code += 1


class Machine:
    """The code as a machine that takes four bits a step. Its states are the nodes of the code's tree, times 16: the root is 0.

    `steps`, by state and bits: the next state, and the symbols that are complete then. `ends`: the states in which a text may end, which
    are the root and, less than a byte behind it, nothing but ones.
    """

    def __init__(self) -> None:
        self._children: list[list[int]] = [
            [0, 0]
        ]  # by bit: a node, 0 where there is none yet, or a symbol as -1 - symbol
        for symbol, code, length in codes():
            self._plant(symbol, code, length)
        self.steps = [self._walk(node, bits) for node in range(len(self._children)) for bits in range(16)]
        node, self.ends = 0, {0}
        for _ in range(7):
            node = self._children[node][1]
            self.ends.add(node << 4)

    def _plant(self, symbol: int, code: int, length: int) -> None:
        node = 0
        for place in range(length - 1, 0, -1):
            bit = code >> place & 1
            if not self._children[node][bit]:
                self._children.append([0, 0])
                self._children[node][bit] = len(self._children) - 1
            node = self._children[node][bit]
        self._children[node][code & 1] = -1 - symbol

    def _walk(self, node: int, bits: int) -> tuple[int, bytes]:
        complete = bytearray()
        for place in (3, 2, 1, 0):
            node = self._children[node][bits >> place & 1]
            if node == -1 - _END:
                return _ERROR, b""
            if node < 0:
                complete.append(-1 - node)
                node = 0
        return node << 4, bytes(complete)


@cache
def _machine() -> Machine:
    """Made when the first client packs its words, in 5 ms."""
    return Machine()


def decode(data: bytes) -> bytes:
    """The text. Raises `BadHuffman`."""
    machine = _machine()
    steps, state = machine.steps, 0
    parts: list[bytes] = []
    for byte in data:
        state, first = steps[state | byte >> 4]
        if state < 0:
            raise BadHuffman
        state, second = steps[state | byte & 15]
        if state < 0:
            raise BadHuffman
        parts += (first, second)
    if state not in machine.ends:
        raise BadHuffman
    return b"".join(parts)
