"""IP addresses: four numbers of at most 255 with dots, and the forms of IPv6 that inet_pton(3) takes.

Sources: RFC 4291 section 2.2 and RFC 5952 (IPv6); RFC 6943 section 3.1.1 (the strict form of IPv4; leading zeros are found as well). A
version number of four small parts (1.2.3.4) is an address as far as anybody can tell; one of five parts is not. `::1` counts; `a::b` of
program text does not: it has neither a digit nor three colons.
"""

import re
import socket

import numpy as np

from modelward_runtime.privacy.pii.digits import Bools, Numbers, is_digit, is_letter
from modelward_runtime.privacy.pii.fold import Folded, Span

_HEX = b"0123456789abcdefABCDEF"
_GROUPS = re.compile(rb"(?=[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]{0,4}:)[0-9A-Fa-f:]++(?:\.[0-9]{1,3}){0,3}+")
_LONGEST = 45  # characters, with an IPv4 tail


def find(folded: Folded) -> list[Span]:
    """Where the text has IP addresses."""
    return [*_find_four(folded.numbers), *_find_six(folded.text)]


def _find_four(numbers: Numbers) -> list[Span]:
    if len(numbers) < 4:
        return []
    dotted = numbers.linked(b".", 1)
    small = np.diff(numbers.first) <= 3
    left = np.flatnonzero(dotted[:-2] & dotted[1:-1] & dotted[2:])
    left = left[small[left] & small[left + 1] & small[left + 2] & small[left + 3]]
    if not len(left):
        return []
    for place in range(4):
        left = left[_values(numbers, left + place) <= 255]
    right = left + 3
    longer = np.concatenate([[False], dotted, [False]])  # longer[i]: a dot links run i with the one before it
    whole = ~(longer[left] | longer[right + 1] | is_letter(numbers.before(left)) | is_letter(numbers.after(right)))
    starts, ends = numbers.starts[left[whole]].tolist(), numbers.ends[right[whole]].tolist()
    return list(zip(starts, ends, strict=True))


def _values(numbers: Numbers, runs: "np.typing.NDArray[np.int64]") -> "np.typing.NDArray[np.int64]":
    """What runs of at most three digits are worth."""
    begin, end = numbers.first[runs], numbers.first[runs + 1]
    values = np.zeros(len(runs), np.int64)
    for place in range(3):
        inside = begin + place < end
        digits = numbers.digits[np.minimum(begin + place, len(numbers.digits) - 1)]
        values = np.where(inside, values * 10 + digits, values)
    return values


def _find_six(text: bytes) -> list[Span]:
    """Around each chain of colons that is dense enough for an address: two together, or seven with at most four characters between."""
    characters = np.frombuffer(text, np.uint8)
    colons = np.flatnonzero(characters == ord(":"))
    if len(colons) < 2:
        return []
    gaps = np.diff(colons)
    breaks = np.flatnonzero(gaps > 5) + 1
    first = np.concatenate([[0], breaks])
    last = np.concatenate([breaks, [len(colons)]]) - 1
    doubled = np.concatenate([[0], np.cumsum(gaps == 1)])
    dense: Bools = (last - first >= 6) | (doubled[last] > doubled[first])
    first, last = first[dense], last[dense]
    alone = last - first == 1  # two colons and no more make an address only with a digit beside them
    beside = np.clip(colons[first][:, None] + np.array([-4, -3, -2, -1, 2, 3, 4, 5]), 0, len(text) - 1)
    likely = ~alone | is_digit(characters[beside]).any(axis=1)
    spans = []
    for begin, end in zip(colons[first[likely]].tolist(), colons[last[likely]].tolist(), strict=True):
        spans += _parse_six(text, begin, end)
    return spans


def _parse_six(text: bytes, begin: int, end: int) -> list[Span]:
    """The addresses in a chain of colons, from the first to the last of them."""
    head = text[max(begin - 5, 0) : begin]
    start = begin - (len(head) - len(head.rstrip(_HEX)))
    spans = []
    for match in _GROUPS.finditer(text, start, min(end + 17, len(text))):
        if match.start() > end:
            break
        if match.end() - match.start() > _LONGEST:
            continue
        for candidate in (match.group(), match.group().rstrip(b":"), match.group().partition(b".")[0]):
            stop = match.start() + len(candidate)
            if _is_six(candidate) and not _in_word(text, match.start(), stop):
                spans.append((match.start(), stop))
                break
    return spans


def _is_six(candidate: bytes) -> bool:
    if candidate.count(b":") < 2:
        return False
    if candidate.count(b":") < 3 and not any(digit in b"0123456789" for digit in candidate):
        return False
    try:
        socket.inet_pton(socket.AF_INET6, candidate.decode())
    except OSError:
        return False
    return True


def _in_word(text: bytes, start: int, end: int) -> bool:
    around = text[max(start - 1, 0) : start] + text[end : end + 1]
    return any(chr(byte).isalnum() or byte == ord("_") for byte in around if byte < 0x80)
