"""Finds every kind of personal data in the elements of a tensor, and says where: the one entrance to the recognisers.

Called by `privacy/input.py`. Elements are joined into blocks, so that thousands of short ones cost one search per kind; the joint
is a character that no recogniser reads across. `find_across` is the other view: rows laid end to end, for what was split over them.

A long block is read through a window that moves over its folded form, because recognisers of numbers take a hundred times the memory of
what they read. What begins in the window's middle is found there as it would be in the whole: the margins are longer than anything that is
found, and than what decides about it. Only a credential may be of any length, and to look for those takes no memory.

    folded   ──────┬────────┬─────────────────────────────┬────────┬──────
                   │ margin │ what begins here is found   │ margin │
                   └────────┴─────────────────────────────┴────────┘
                            │ a telephone number not before the one that ended last
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import itemgetter
from typing import Literal

import numpy as np

from modelward_runtime.privacy.pii import card, credential, email, iban, ip, phone, resident
from modelward_runtime.privacy.pii.fold import END, Folded, Span, fold

Kind = Literal["Email", "Phone", "PaymentCard", "IBAN", "CNResidentID", "IPAddress", "Credential"]

# What can be found, the most severe first: it names a stretch of text in which several were found.
RECOGNISERS: dict[Kind, Callable[[Folded], list[Span]]] = {
    "Credential": credential.find,
    "PaymentCard": card.find,
    "CNResidentID": resident.find,
    "IBAN": iban.find,
    "Email": email.find,
    "Phone": phone.find,
    "IPAddress": ip.find,
}
SEVERITY: dict[Kind, int] = {kind: -place for place, kind in enumerate(RECOGNISERS)}
# What is also looked for across rows: kinds with a checksum or a form that rows of other things do not make by chance.
ACROSS: frozenset[Kind] = frozenset({"Credential", "PaymentCard", "CNResidentID", "IBAN", "Email"})

# What a text must have at least for a kind to be in it. A short text is asked this first: numpy has its price for each call, however
# little there is to do, and most short texts hold nothing.
_SHORT = 4096  # bytes
_LEAST: dict[Kind, re.Pattern[bytes]] = {
    "PaymentCard": re.compile(rb"[0-9](?:[ \t./_-]{0,3}[0-9]){12}"),
    "CNResidentID": re.compile(rb"[0-9](?:[ \t-]?[0-9]){16}"),
    "IBAN": re.compile(rb"[A-Za-z]{2}[0-9]{2}"),
    "Phone": re.compile(rb"[0-9](?:[ \t./()-]{0,3}[0-9]){8}|\+[ (]{0,2}[0-9](?:[ \t./()-]{0,3}[0-9]){7}"),
    "IPAddress": re.compile(rb"[0-9]\.[0-9]{1,3}\.[0-9]|::|:(?:[0-9A-Fa-f]{0,4}:){6}"),
}
_BLOCK = 1 << 20  # characters
_WINDOW = 1 << 17  # bytes of the folded form
_MARGIN = 1 << 10  # an e-mail address has 64 characters before its `@` and 577 from there on; numbers have less
MOST_FOUND = _BLOCK // 4
"""Findings in an element: of more, which only a very long one has room for, the element as a whole is the finding."""
_REACH = 320  # characters of a row's end and beginning that can belong to something split: a longest e-mail address
_BARE: frozenset[Kind] = frozenset({"PaymentCard", "CNResidentID"})  # of digits alone
_GROUPINGS = ([4, 4, 4, 4], [4, 6, 5], [6, 8, 4])  # as cards and identity documents are printed


@dataclass(frozen=True, slots=True)
class Match:
    """Something found: in which element, and which characters of it."""

    kind: Kind
    element: int
    start: int
    end: int


def find(elements: Sequence[str], kinds: Iterable[Kind]) -> list[Match]:
    """Everything of these kinds, in no particular order; matches may overlap."""
    wanted = list(kinds)
    return [match for first, last in blocks(elements) for match in _find_in_block(first, elements[first:last], wanted)]


def find_across(rows: Sequence[str], kinds: Iterable[Kind]) -> tuple[Kind, int] | None:
    """The first thing found that begins in one row and ends in a later one: its kind, and the row in which it begins."""
    wanted = [kind for kind in kinds if kind in ACROSS]
    if len(rows) < 2 or not wanted:
        return None
    pieces = [_ends(row.replace(END, "\1")) for row in rows]
    edges = list(accumulate(map(len, pieces), initial=0))
    folded = fold("".join(pieces))
    for kind in wanted:
        for _, span in _spans(folded, [kind]):
            start, end = folded.original(span)
            first, last = bisect_right(edges, start) - 1, bisect_left(edges, end) - 1
            if last > first and not (kind in _BARE and _by_chance(edges[first : last + 2], start, end)):
                return kind, first
    return None


def resolve(matches: Iterable[Match]) -> list[Match]:
    """Stretches that do not overlap, in order. Each covers all that overlapped in it and is called after the longest, of equals
    the most severe: nothing that was found shows from under what is put there.
    """
    resolved: list[Match] = []
    longest = 0
    for match in sorted(matches, key=lambda one: (one.element, one.start, -one.end, -SEVERITY[one.kind])):
        last = resolved[-1] if resolved else None
        length = match.end - match.start
        if last is None or last.element != match.element or last.end <= match.start:
            resolved.append(match)
            longest = length
            continue
        stronger = (length, SEVERITY[match.kind]) > (longest, SEVERITY[last.kind])
        kind, longest = (match.kind, length) if stronger else (last.kind, longest)
        resolved[-1] = Match(kind, last.element, last.start, max(last.end, match.end))
    return resolved


def blocks(elements: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Neighbouring elements, from and to, so many that a search of them does not hold up other threads for long."""
    lengths = np.fromiter(map(len, elements), np.int64, len(elements))
    ends = np.cumsum(lengths + 1)
    first = 0
    while first < len(elements):
        before = int(ends[first - 1]) if first else 0
        last = max(int(np.searchsorted(ends, before + _BLOCK, "right")), first + 1)
        yield first, last
        first = last


def _find_in_block(first: int, block: Sequence[str], kinds: Sequence[Kind]) -> Iterator[Match]:
    joined = END.join(block)
    if (
        joined.count(END) != len(block) - 1
    ):  # the joint itself in some element: there it is one more invisible character
        block = [element.replace(END, "\1") for element in block]
        joined = END.join(block)
    folded = fold(joined)
    spans: list[tuple[Kind, Span]] = []
    crowd: set[Kind] = set()
    for found in _spans(folded, kinds):
        if len(spans) < MOST_FOUND or len(block) > 1:
            spans.append(found)
        else:
            crowd.add(found[0])
    if crowd:
        for kind in crowd.union(kind for kind, _ in spans):
            yield Match(kind, first, 0, len(joined))
        return
    if not spans:
        return
    if folded.pieces is not None:
        spans.sort(key=itemgetter(1))
    begins = list(accumulate((len(element) + 1 for element in block), initial=0))
    for kind, span in spans:
        start, end = folded.original(span)
        number = bisect_right(begins, start) - 1
        yield Match(kind, first + number, start - begins[number], end - begins[number])


def _spans(folded: Folded, kinds: Sequence[Kind]) -> Iterator[tuple[Kind, Span]]:
    """What is found in a folded text, through the window where it is long."""
    if len(folded.text) <= _WINDOW:
        for kind in kinds:
            for span in _find_kind(kind, folded):
                yield kind, span
        return
    if "Credential" in kinds:
        for span in credential.search(folded):
            yield "Credential", span
    others = [kind for kind in kinds if kind != "Credential"]
    called = 0  # where the last telephone number ended
    for start in range(0, len(folded.text), _WINDOW):
        shift = max(start - _MARGIN, 0)
        window = Folded(folded.text[shift : start + _WINDOW + _MARGIN], None)
        for kind in others:
            found = phone.find(window, max(start, called) - shift) if kind == "Phone" else RECOGNISERS[kind](window)
            mine = [(begin + shift, end + shift) for begin, end in found if 0 <= begin + shift - start < _WINDOW]
            if kind == "Phone":
                called = max(called, *(end for _, end in mine), 0)
            for span in mine:
                yield kind, span


def _find_kind(kind: Kind, folded: Folded) -> list[Span]:
    least = _LEAST.get(kind)
    if least and len(folded.text) <= _SHORT and not least.search(folded.text):
        return []
    return RECOGNISERS[kind](folded)


def _ends(row: str) -> str:
    """The two ends of a row, for what reaches into its neighbours."""
    return row if len(row) <= 2 * _REACH else row[:_REACH] + END + row[-_REACH:]


def _by_chance(edges: Sequence[int], start: int, end: int) -> bool:
    """Whole rows that only make something when they are taken together, as rows of other numbers may; not so if they are the groups
    in which it is printed."""
    whole = start == edges[0] and end == edges[-1]
    return whole and [end - start for start, end in pairwise(edges)] not in _GROUPINGS
