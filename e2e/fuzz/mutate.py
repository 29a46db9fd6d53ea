"""Mutations of inputs for the quick ring: deterministic, and as rough as libFuzzer's."""

import random
from collections.abc import Sequence

_NUMBERS = [
    b"0",
    b"-1",
    b"1",
    b"255",
    b"256",
    b"65536",
    b"2147483648",
    b"4294967295",
    b"9223372036854775807",
    b"9223372036854775808",
    b"1e309",
]
_BYTES = b"\x00\x01\x7f\x80\xff\r\n \t\"'{}[],:;=%/\\"


def mutate(chance: random.Random, pool: Sequence[bytes], words: Sequence[bytes], longest: int) -> bytes:
    """One input out of the pool, changed in one to four places."""
    made = bytearray(chance.choice(pool))
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        start = chance.randrange(len(made) + 1)
        end = min(len(made), start + chance.choice([0, 1, 1, 2, 4, 8, 32]))
        match chance.randrange(9):
            case 0:
                made[start:end] = b""
            case 1:
                made[start:end] = bytes([chance.choice(_BYTES)])
            case 2 if end > start:
                made[start] ^= 1 << chance.randrange(8)
            case 3:
                made[start:end] = chance.randbytes(chance.choice([1, 1, 4, 16]))
            case 4:
                made[start:start] = made[start:end] * chance.choice([1, 2, 50])
            case 5:
                other = chance.choice(pool)
                at = chance.randrange(len(other) + 1)
                made[start:end] = other[at : at + chance.choice([4, 16, 64, 4096])]
            case 6:
                made[start:end] = chance.choice(words or _NUMBERS)
            case 7:
                made[start:end] = chance.choice(_NUMBERS)
            case _:
                del made[start:]
    return bytes(made[:longest])
