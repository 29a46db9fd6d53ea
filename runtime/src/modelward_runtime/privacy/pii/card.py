"""Payment card numbers: 13 to 19 digits of an issuer that exists, with a valid check digit.

Sources: ISO/IEC 7812-1 (form; Luhn's check digit in Annex B); the issuers' published number ranges, as collected in "Payment card
number" of Wikipedia. Groups may be parted by a space, hyphen, dot or slash, by the same throughout or into groups of three digits at
least. A letter or a decimal point next to the number means that it is something else, unless the letter ends an e-mail address.
Of random numbers of 16 digits, one in thirty passes both checks: no more can be known of it.
"""

import numpy as np

from modelward_runtime.privacy.pii import email
from modelward_runtime.privacy.pii.digits import Bools, Bytes, Ints, Numbers, Windows, is_digit, is_letter
from modelward_runtime.privacy.pii.fold import Folded, Span

_SEPARATORS = b" \t-./_"
_RANGES = (  # first four digits from and to, and the lengths that are issued
    (4000, 4999, (13, 16, 19)),  # Visa
    (5100, 5599, (16,)),  # Mastercard
    (2221, 2720, (16,)),  # Mastercard, since 2016
    (3400, 3499, (15,)),  # American Express
    (3700, 3799, (15,)),
    (6011, 6011, (16, 17, 18, 19)),  # Discover
    (6440, 6599, (16, 17, 18, 19)),  # Discover, RuPay
    (3000, 3059, (14, 16, 17, 18, 19)),  # Diners Club
    (3095, 3095, (14, 16, 17, 18, 19)),
    (3600, 3699, (14, 15, 16, 17, 18, 19)),
    (3800, 3999, (16, 17, 18, 19)),
    (3528, 3589, (16, 17, 18, 19)),  # JCB
    (6200, 6299, (16, 17, 18, 19)),  # UnionPay
    (8100, 8171, (16, 17, 18, 19)),
    (5000, 5099, (13, 14, 15, 16, 17, 18, 19)),  # Maestro, RuPay
    (5600, 5899, (13, 14, 15, 16, 17, 18, 19)),
    (6300, 6399, (13, 14, 15, 16, 17, 18, 19)),
    (6700, 6799, (13, 14, 15, 16, 17, 18, 19)),
    (2200, 2204, (16, 17, 18, 19)),  # Mir
)
_ISSUED = np.zeros((20, 10_000), np.bool_)  # by length and by the first four digits
for _low, _high, _lengths in _RANGES:
    _ISSUED[list(_lengths), _low : _high + 1] = True
_DOUBLED = np.array([0, 2, 4, 6, 8, 1, 3, 5, 7, 9], np.uint8)


def find(folded: Folded) -> list[Span]:
    """Where the text has payment card numbers."""
    numbers = folded.numbers
    if len(numbers.digits) < 13:
        return []
    windows = numbers.windows(numbers.linked(_SEPARATORS), 13, 19)
    windows = windows.where(_plausible(numbers.digits, windows))
    if not len(windows.left):
        return []
    windows = windows.where(_evenly_grouped(numbers, windows))
    windows = windows.where(has_check_digit(numbers.digits, windows.begin, windows.end))
    before, after = numbers.before(windows.left), numbers.after(windows.right)
    fraction = (before == ord(".")) & is_digit(numbers.before(windows.left, 2))
    fraction |= (after == ord(".")) & is_digit(numbers.after(windows.right, 1))
    windows = windows.where(~(_in_word(folded, before, windows) | is_letter(after) | fraction))
    return numbers.spans(windows)


def _in_word(folded: Folded, before: Bytes, windows: Windows) -> Bools:
    """A letter stands right before, and does not end an e-mail address."""
    letter = is_letter(before)
    if letter.any():
        addresses = [end for _, end in email.find(folded)]
        letter &= ~np.isin(folded.numbers.starts[windows.left], addresses)
    return letter


def has_check_digit(digits: Bytes, begin: Ints, end: Ints) -> Bools:
    """Luhn's sum of each row of digits is a multiple of ten. By prefix sums, so that overlapping rows cost nothing more."""
    even, doubled = np.arange(len(digits)) % 2 == 0, _DOUBLED[digits]
    sums = [
        np.concatenate([[0], np.cumsum(np.where(plain, digits, doubled), dtype=np.int32)]) for plain in (even, ~even)
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
    prefixes = np.zeros(len(windows.begin), np.int64)
    for place in range(4):
        prefixes = prefixes * 10 + digits[windows.begin + place]
    likely: Bools = _ISSUED[windows.end - windows.begin, prefixes]
    return likely
