"""Telephone numbers, in the forms that can be told from other numbers without knowing where the writer lives.

Found:
    +CC …                 E.164, 8 to 15 digits behind a plus (ITU-T E.164, E.123), with the usual signs between them
    00CC …                the same with the prefix 00 (ITU-T E.123 section 7)
    (415) 555-2671        the North American Numbering Plan: area code, exchange and line parted (NANPA), with or without 1 before it
    13812345678           Chinese mobile numbers: 11 digits from 13 to 19 (MIIT numbering plan), bare or in groups of 3, 4, 4
    020 7946 0958         national numbers with the trunk prefix 0, in groups: an area code of 2 to 5 digits, 9 to 12 digits in all;
                          this covers most of Europe, Japan, Australia, Chinese fixed lines; and French pairs (01 23 45 67 89)

Not found: bare national numbers (4155552671), which look like any other number; short numbers; extensions; vanity letters.
"""

import re
from bisect import bisect_right

import numpy as np

from modelward_runtime.privacy.pii.digits import Numbers
from modelward_runtime.privacy.pii.fold import END, Folded, Span

_SEPARATORS = b" \t-./()"
_FEWEST, _FEWEST_WITH_PLUS = 9, 8
_BARE, _BARE_WITH_86 = 11, 13  # digits of a number in one run: Chinese mobile numbers
# The first character is read first, so that the search skips to it, and what may not stand before it is looked at from there.
_FORMS = re.compile(
    rb"""[+(0-9](?<![0-9A-Za-z+][+(0-9])(?<![0-9][.,-][+(0-9])(?:
      (?<=[+])[ ]?\(?1\)?[ .-]{0,2}\(?[2-9][0-9]{2}\)?[ .-]{0,2}[0-9]{3}[ .-]?[0-9]{4}   # North America behind +1
    | (?<=[+])[ ]?\(?86\)?[ -]?1[3-9][0-9][ -]?[0-9]{4}[ -]?[0-9]{4}                     # a Chinese mobile number behind +86
    | (?:(?<=[+])[ ]?\(?|(?<=0)0[ ]?)(?!1[ .(-]*[2-9]|86[ -]?1[3-9])[1-9](?:[ ./()-]{0,2}[0-9]){7,13}
    | (?<=1)[ .-](?:\([2-9][0-9]{2}\)[ ]?|[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[ .-][0-9]{4}
    | (?<=[(])[2-9][0-9]{2}\)[ ]?[2-9][0-9]{2}[ .-][0-9]{4}
    | (?<=[2-9])[0-9]{2}[ .-][2-9][0-9]{2}[ .-][0-9]{4}
    | (?<=1)[3-9][0-9]([ -]?)[0-9]{4}\1[0-9]{4}
    | (?<=8)6[ -]?1[3-9][0-9]([ -]?)[0-9]{4}\2[0-9]{4}
    | (?<=0)[1-9](?:[ .-][0-9]{2}){4}                                                     # French pairs
    | (?<=0)[1-9][ -][0-9]{4}[ -][0-9]{4}                                                 # an area code of two digits
    | (?:(?<=[(])0[1-9][0-9]{0,4}\)[ ]?|(?<=0)[1-9][0-9]{1,3}(?:[ ]?[/-][ ]?|[ ]))
      (?:[0-9]{3,4}[ -][0-9]{3,4}(?:[ -][0-9]{2,4})?|[0-9]{6,8})
    )(?![0-9A-Za-z]|[.,][0-9])""",
    re.VERBOSE,
)


def find(folded: Folded, since: int = 0) -> list[Span]:
    """Where the text has telephone numbers. None begins before `since`, where the one before ended: they do not overlap."""
    numbers = folded.numbers
    if len(numbers.digits) < _FEWEST_WITH_PLUS:
        return []
    begins, pieces = _cut_out(folded.text, numbers)
    if not pieces:
        return []
    spans = []
    if since:
        first = 0
        while first < len(begins) and begins[first] < since:
            end = begins[first] + len(pieces[first])
            spans += [match.span() for match in _FORMS.finditer(folded.text, since, end)]
            first += 1
        begins, pieces = begins[first:], pieces[first:]
    joined = END.encode().join(pieces)
    starts = np.cumsum([0, *(len(piece) + 1 for piece in pieces[:-1])]).tolist()
    for match in _FORMS.finditer(joined):
        piece = bisect_right(starts, match.start()) - 1
        shift = begins[piece] - starts[piece]
        spans.append((match.start() + shift, match.end() + shift))
    return spans


def _cut_out(text: bytes, numbers: Numbers) -> tuple[list[int], list[bytes]]:
    """The places where linked runs have digits enough, with what stands around them; all the rest is never looked at."""
    chains = numbers.chains(numbers.linked(_SEPARATORS))
    digits = chains.end - chains.begin
    with_plus = (numbers.before(chains.left) == ord("+")) | (numbers.before(chains.left, 2) == ord("+"))
    prefixed = (numbers.digits[chains.begin] == 0) & (
        numbers.digits[np.minimum(chains.begin + 1, len(numbers.digits) - 1)] == 0
    )
    bare = (chains.left == chains.right) & ~prefixed & (digits != _BARE) & (digits != _BARE_WITH_86)
    chains = chains.where(((digits >= _FEWEST) & ~bare) | ((digits >= _FEWEST_WITH_PLUS) & with_plus))
    begins: list[int] = np.maximum(numbers.starts[chains.left] - 4, 0).tolist()
    ends: list[int] = (numbers.ends[chains.right] + 2).tolist()
    return begins, [text[begin:end] for begin, end in zip(begins, ends, strict=True)]
