"""What holds for every text and every array: nothing is left under a mask, nothing else is touched, and time is linear."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelward_runtime.privacy.pii import fold as folding
from modelward_runtime.privacy.pii import scan
from modelward_runtime.privacy.pii.fold import fold
from modelward_runtime.privacy.pii.replace import Replacement, hasher, mask, replace
from modelward_runtime.privacy.pii.scan import RECOGNISERS, Kind, Match
from tests.brief import Work
from tests.privacy_policies import rules

ALL: tuple[Kind, ...] = tuple(RECOGNISERS)
PIECES = st.sampled_from(
    ["jo@example.com", "@", ".", ".com", "4242424242424242", "4242", "-", " ", "+1", "(415)", "555-2671", "DE89", "370400440532013000", "X",
     "11010519491231002", "203.0.113.77", "::1", ":", "2001:db8", "password", "=", "token: ", "eyJ", "AKIAIOSFODNN7EXAMPLE", "ghp_", "sk-",
     "-----BEGIN PRIVATE KEY-----", "\u200b", "４", "é", "①", "\0", "\n", "://a:b@", "[EMAIL]", "0", "1", "a"]
)  # fmt: skip
TEXTS = st.lists(PIECES | st.text(max_size=3), max_size=14).map("".join) | st.text(max_size=40)


def putting(replacement: Replacement) -> Callable[[Match, str], str]:
    def put(match: Match, found: str) -> str:
        return replacement(match.kind, found)

    return put


@given(st.lists(TEXTS, max_size=4))
@settings(max_examples=600, deadline=None)
@example(["jo@example.com@example.org", "4242424242424242 4242424242424242"])
def test_what_is_masked_holds_nothing_that_can_be_found(elements: list[str]) -> None:
    for replacement in (mask, hasher(b"k" * 32)):
        replaced = replace(elements, scan.find(elements, ALL), ALL, putting(replacement))
        assert [] == scan.find(replaced, ALL)
        assert len(elements) == len(replaced)


@given(st.lists(TEXTS, max_size=4))
@settings(max_examples=300, deadline=None)
def test_what_is_found_lies_in_its_element_and_the_rest_stays(elements: list[str]) -> None:
    found = scan.find(elements, ALL)
    for match in found:
        assert 0 <= match.start < match.end <= len(elements[match.element])
    replaced = replace(elements, found, ALL, putting(mask))
    touched = {match.element for match in found}
    assert all(replaced[number] == text for number, text in enumerate(elements) if number not in touched)


@given(TEXTS, st.lists(TEXTS, max_size=3))
@settings(max_examples=300, deadline=None)
def test_neighbours_change_nothing(text: str, others: list[str]) -> None:
    alone = {(one.kind, one.start, one.end) for one in scan.find([text], ALL)}
    within = {
        (one.kind, one.start, one.end) for one in scan.find([*others, text, *others], ALL) if one.element == len(others)
    }
    assert alone == within


@given(TEXTS)
@settings(max_examples=600, deadline=None)
def test_what_short_texts_are_asked_first_hides_nothing(text: str) -> None:
    folded = fold(text)
    for kind, find in RECOGNISERS.items():
        assert sorted(find(folded)) == sorted(scan._find_kind(kind, folded))


LONG_PIECES = PIECES | st.sampled_from(
    ["1 ", "1", "12-", "+1 415 555 2671 ", "020 7946 0958 ", "0 ", "00 ", "13812345678", "378282246310005", "1:2:", "fe80::1.2", "1.2.3.4.",
     "1.1231:", "a.", "x" * 70, "GB82 WEST 1234 5698 7654 32 ", "11010519491231002X", "½", "ﷺ", "/", "01 23 45 67 89 ", "::1 "]
) | st.text("0123456789 -./+()", max_size=30)  # fmt: skip
LONG_TEXTS = st.lists(
    st.tuples(
        st.lists(LONG_PIECES, min_size=1, max_size=4).map("".join), st.sampled_from([1, 2, 5, 40, 300, 1500])
    ).map(lambda drawn: (drawn[0] * drawn[1])[:6000]),
    max_size=6,
).map("".join)


@given(LONG_TEXTS, st.sampled_from([1024, 1500, 2048]), st.sampled_from([64, 1000, 4096]))
@settings(max_examples=40, deadline=None)
def test_a_long_text_is_searched_in_pieces_as_it_would_be_in_one(text: str, window: int, piece: int) -> None:
    def found(window: int, piece: int) -> list[tuple[Kind, tuple[int, int]]]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scan, "_WINDOW", window)
            patch.setattr(folding, "_PIECE", piece)
            folded = fold(text)
            return sorted((kind, folded.original(span)) for kind, span in scan._spans(folded, ALL))

    assert found(1 << 40, 1 << 40) == found(window, piece)


@given(st.text(max_size=60))
@settings(max_examples=500, deadline=None)
def test_every_byte_of_the_folded_form_knows_its_character(text: str) -> None:
    folded = fold(text)
    if folded.offsets is None:
        assert len(text) == len(folded.text)
    else:
        assert len(folded.offsets) == len(folded.text)
        assert (np.diff(folded.offsets) >= 0).all()
        assert all(0 <= offset < len(text) for offset in folded.offsets)


@given(st.integers(0, 10**19 - 1), st.integers(12, 18))
@settings(max_examples=300, deadline=None)
def test_the_check_digit_is_luhns(number: int, length: int) -> None:
    """Against the text-book form of ISO/IEC 7812-1, for numbers of a brand with all lengths."""
    digits = "50" + str(number).zfill(19)[: length - 2]
    total = sum(
        int(digit) if place % 2 else sum(divmod(2 * int(digit), 10)) for place, digit in enumerate(reversed(digits))
    )
    valid = digits + str(-total % 10)
    assert [("PaymentCard", 0, len(valid))] == [
        (one.kind, one.start, one.end) for one in scan.find([valid], ["PaymentCard"])
    ]
    wrong = digits + str((-total + 1) % 10)
    assert [] == scan.find([wrong], ["PaymentCard"])


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_clear_never_changes_what_no_rule_names(data: st.DataObject) -> None:
    columns = data.draw(st.sets(st.integers(0, 3), min_size=1, max_size=3))
    made = rules(input={"tensors": [{"name": "x", "columns": [{"indices": sorted(columns), "action": "Zero"}]}],
                        "pii": [{"kinds": ["Email"], "action": "Mask"}]})  # fmt: skip
    rows = data.draw(st.integers(0, 5))
    sent: dict[str, Any] = {
        "x": np.frombuffer(data.draw(st.binary(min_size=16 * rows, max_size=16 * rows)), np.float32).reshape(rows, 4),
        "n": np.arange(2 * rows).reshape(rows, 2),
    }
    cleared = made.clear(sent)
    others = sorted({0, 1, 2, 3} - columns)
    assert sent["x"][:, others].tobytes() == cleared["x"][:, others].tobytes()
    assert not cleared["x"][:, sorted(columns)].any()
    assert cleared["n"] is sent["n"]


HOSTILE = [
    "a", "@", "a@", "a@a.", "@a.a", "1", "1 ", "4-", ":", "1:", "1::", "1.", "1.1.1.", "eyJa", "eyJaaaaaaaa.",
    "-----BEGIN PRIVATE KEY-----", "password", "password=", "://a", "://a:b", "bearer ", "basic a", "sk-", "sk-a", "xoxb-",
    "DE89", "DE89 ", "+1 ", "(1)", "0 1 ",
    "\u200b1", "11010519491231002X", "-", "ghp_", "⑩", "\0", "\1", "x@y-", "api_key_", "token:", "4242424242424242 ", "jo@example.com ",
]  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_text_takes_linear_time(unit: str) -> None:
    """Ten times the text, at most 25 times the time: 10 is linear, 100 would be quadratic. Processor time, the least of several tries."""

    def seconds(size: int) -> float:
        work, text = Work(), unit * (size // len(unit))
        with work.measured():
            scan.find([text], ALL)
        return work.seconds

    long, short = list[float](), list[float]()
    for tries in range(1, 11):
        long.append(seconds(200_000))
        short += [seconds(20_000) for _ in range(3)]
        if tries >= 3 and min(long) < 25 * min(short) + 0.005:
            return
    raise AssertionError(f"{min(long):.3f} s for ten times what takes {min(short):.3f} s")
