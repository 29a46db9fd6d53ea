"""Chinese resident identity numbers: 18 characters with a known region, a date of birth that can be, and a valid check character.

Source: GB 11643-1999 (form; the check character is ISO 7064 MOD 11-2) and GB/T 2260 (the first two digits are a province). Groups may be
parted by a space or hyphen. Numbers of 15 digits, which were issued until 1999 and carry no check digit, are not found.
"""

import numpy as np

from modelward_runtime.privacy.pii.digits import Bools, Bytes, Ints, is_digit, is_letter
from modelward_runtime.privacy.pii.fold import Folded, Span

_SEPARATORS = b" \t-"
_PROVINCES = np.zeros(100, np.bool_)
_PROVINCES[
    [*range(11, 16), *range(21, 24), *range(31, 38), *range(41, 47), *range(50, 55), *range(61, 66), 71, 81, 82, 83]
] = True
_WEIGHTS = np.array([pow(2, 17 - place, 11) for place in range(17)], np.int64)
_DAYS = np.array([0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] + [0] * 87, np.int64)
_BORN = (1900, 2049)


def find(folded: Folded) -> list[Span]:
    """Where the text has resident identity numbers."""
    numbers = folded.numbers
    if len(numbers.digits) < 17:
        return []
    windows = numbers.windows(numbers.linked(_SEPARATORS, 1), 17, 18)
    if not len(windows.left):
        return []
    lettered = windows.end - windows.begin == 17
    after = numbers.after(windows.right)
    crosses = lettered & ((after | np.uint8(0x20)) == ord("x"))
    after = np.where(crosses, numbers.after(windows.right, 1), after)
    whole = (crosses | ~lettered) & ~is_letter(after) & ~is_digit(after) & ~is_letter(numbers.before(windows.left))
    windows, crosses = windows.where(whole), crosses[whole]
    rows = numbers.digits[windows.begin[:, None] + np.arange(17)]
    last = np.where(crosses, 10, numbers.digits[np.minimum(windows.begin + 17, len(numbers.digits) - 1)])
    valid = _is_valid(rows, last)
    spans = numbers.spans(windows.where(valid))
    return [(start, end + bool(cross)) for (start, end), cross in zip(spans, crosses[valid].tolist(), strict=True)]


def _is_valid(rows: Bytes, last: Ints) -> Bools:
    """`rows`: 17 digits each; `last`: what the 18th character is worth, 10 for an X."""
    wide = rows.astype(np.int64)
    year = wide[:, 6] * 1000 + wide[:, 7] * 100 + wide[:, 8] * 10 + wide[:, 9]
    month, day = wide[:, 10] * 10 + wide[:, 11], wide[:, 12] * 10 + wide[:, 13]
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    possible = (day >= 1) & (day <= _DAYS[month]) & ((month != 2) | (day < 29) | leap)
    possible &= (year >= _BORN[0]) & (year <= _BORN[1]) & _PROVINCES[wide[:, 0] * 10 + wide[:, 1]]
    expected = (12 - (wide @ _WEIGHTS) % 11) % 11
    valid: Bools = possible & (expected == last)
    return valid
