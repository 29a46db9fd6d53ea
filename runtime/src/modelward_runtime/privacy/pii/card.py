"""Payment card numbers: 13 to 19 digits of an issuer that exists, with a valid check digit.

Sources: ISO/IEC 7812-1 (form; Luhn's check digit in Annex B); the issuers' published number ranges, as collected in "Payment card
number" of Wikipedia. Groups may be parted by a space, hyphen, dot or slash, by the same throughout or into groups of three digits at
least. A letter or a decimal point next to the number means that it is something else. Of random numbers that are so long, one in
forty passes both checks: no more can be known of it.
"""

import numpy as np

from modelward_runtime.privacy.pii.digits import Bools, Bytes, Ints, Numbers, Windows, is_digit, is_letter
from modelward_runtime.privacy.pii.fold import Folded, Span

_SEPARATORS = b" \t-./_"
_RANGES = (  # first six digits from and to, and the lengths that are issued
    (400000, 499999, (13, 16, 19)),  # Visa
    (510000, 559999, (16,)),  # Mastercard
    (222100, 272099, (16,)),  # Mastercard, since 2016
    (340000, 349999, (15,)),  # American Express
    (370000, 379999, (15,)),
    (601100, 601199, (16, 17, 18, 19)),  # Discover
    (644000, 659999, (16, 17, 18, 19)),  # Discover, RuPay
    (300000, 305999, (14, 16, 17, 18, 19)),  # Diners Club
    (309500, 309599, (14, 16, 17, 18, 19)),
    (360000, 369999, (14, 15, 16, 17, 18, 19)),
    (380000, 399999, (16, 17, 18, 19)),
    (352800, 358999, (16, 17, 18, 19)),  # JCB
    (620000, 629999, (16, 17, 18, 19)),  # UnionPay
    (810000, 817199, (16, 17, 18, 19)),
    (500000, 509999, (13, 14, 15, 16, 17, 18, 19)),  # Maestro, RuPay
    (560000, 589999, (13, 14, 15, 16, 17, 18, 19)),
    (630000, 639999, (13, 14, 15, 16, 17, 18, 19)),
    (670000, 679999, (13, 14, 15, 16, 17, 18, 19)),
    (220000, 220499, (16, 17, 18, 19)),  # Mir
)
_ISSUED = np.zeros((20, 1000), np.bool_)  # by length and by the first three digits: a first, cheap answer
for _low, _high, _lengths in _RANGES:
    for _length in _lengths:
        _ISSUED[_length, _low // 1000 : _high // 1000 + 1] = True
_DOUBLED = np.array([0, 2, 4, 6, 8, 1, 3, 5, 7, 9], np.uint8)


def find(folded: Folded) -> list[Span]:
    """Where the text has payment card numbers."""
    numbers = folded.numbers
    if len(numbers.digits) < 13:
        return []
    windows = numbers.windows(numbers.linked(_SEPARATORS), 13, 19)
    windows = windows.where(_evenly_grouped(numbers, windows))
    windows = windows.where(_plausible(numbers.digits, windows))
    windows = windows.where(has_check_digit(numbers.digits, windows.begin, windows.end))
    before, after = numbers.before(windows.left), numbers.after(windows.right)
    fraction = (before == ord(".")) & is_digit(numbers.before(windows.left, 2))
    fraction |= (after == ord(".")) & is_digit(numbers.after(windows.right, 1))
    windows = windows.where(~(is_letter(before) | is_letter(after) | fraction))
    return numbers.spans(windows)


def has_check_digit(digits: Bytes, begin: Ints, end: Ints) -> Bools:
    """Luhn's sum of each row of digits is a multiple of ten. By prefix sums, so that overlapping rows cost nothing more."""
    even = np.arange(len(digits)) % 2 == 0
    sums = [
        np.concatenate([[0], np.cumsum(np.where(plain, digits, _DOUBLED[digits]), dtype=np.int64)])
        for plain in (even, ~even)
    ]
    last = (end - 1) % 2
    totals = np.where(last == 0, sums[0][end] - sums[0][begin], sums[1][end] - sums[1][begin])
    valid: Bools = totals % 10 == 0
    return valid


def _evenly_grouped(numbers: Numbers, windows: Windows) -> Bools:
    """One kind of gap throughout, or no group of one or two digits: a date behind two numbers is no card."""
    gaps = (numbers.starts[1:] - numbers.ends[:-1]) * 256 + numbers.text[numbers.ends[:-1]]
    changes = np.concatenate([[0, 0], np.cumsum(np.diff(gaps) != 0)])  # up to the gap before a run
    short = np.concatenate([[0], np.cumsum(np.diff(numbers.first) < 3)])  # up to a run
    uniform = changes[windows.right] == changes[np.minimum(windows.left + 1, windows.right)]
    even: Bools = uniform | (short[windows.right + 1] == short[windows.left])
    return even


def _plausible(digits: Bytes, windows: Windows) -> Bools:
    """An issuer has numbers that begin so and are so long."""
    lengths = windows.end - windows.begin
    prefixes = _prefixes(digits, windows.begin, 3)
    likely: Bools = _ISSUED[lengths, prefixes]
    places = np.flatnonzero(likely)
    exact = _prefixes(digits, windows.begin[places], 6)
    issued = np.zeros(len(places), np.bool_)
    for low, high, allowed in _RANGES:
        issued |= (exact >= low) & (exact <= high) & np.isin(lengths[places], allowed)
    likely[places] = issued
    return likely


def _prefixes(digits: Bytes, begin: Ints, count: int) -> Ints:
    prefixes = np.zeros(len(begin), np.int64)
    for place in range(count):
        prefixes = prefixes * 10 + digits[begin + place]
    return prefixes
