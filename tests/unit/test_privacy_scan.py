"""Joining, overlaps, rows and replacements: what happens around the recognisers."""

import pytest

from modelward_runtime.privacy.pii import scan
from modelward_runtime.privacy.pii.fold import fold
from modelward_runtime.privacy.pii.replace import LABELS, WHOLE, canonical, hasher, mask, replace
from modelward_runtime.privacy.pii.scan import RECOGNISERS, Kind, Match

ALL: tuple[Kind, ...] = tuple(RECOGNISERS)
CARD = "4242424242424242"


def masked(*elements: str) -> list[str]:
    return replace(elements, scan.find(elements, ALL), ALL, lambda match, found: mask(match.kind, found))


def test_matches_are_of_their_element() -> None:
    elements = ["a", "", "x jo@example.com", "\0", f"é {CARD}"]
    assert [Match("PaymentCard", 4, 2, 18), Match("Email", 2, 2, 16)] == scan.find(elements, ALL)


def test_nothing_is_read_across_elements() -> None:
    assert [] == scan.find(["jo", "@example.com", "4242 4242", " 4242 4242", "password:", "hunter2222"], ALL)


def test_blocks_hold_every_element_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_BLOCK", 50)
    elements = ["x" * 120, CARD, "", "y" * 49, "jo@example.com", "z" * 200]
    assert {("PaymentCard", 1), ("Email", 4)} == {(one.kind, one.element) for one in scan.find(elements, ALL)}


OVERLAPS = [
    ("the longer wins", [("Phone", 0, 8), ("PaymentCard", 2, 18)], [("PaymentCard", 0, 18)]),
    ("of equals the more severe", [("Phone", 0, 8), ("PaymentCard", 0, 8)], [("PaymentCard", 0, 8)]),
    ("a chain is one stretch", [("Email", 0, 4), ("Phone", 3, 9), ("Email", 8, 10)], [("Phone", 0, 10)]),
    ("neighbours stay apart", [("Email", 0, 4), ("Phone", 4, 9)], [("Email", 0, 4), ("Phone", 4, 9)]),
]


@pytest.mark.parametrize(("reason", "found", "expected"), OVERLAPS, ids=[row[0] for row in OVERLAPS])
def test_overlaps(reason: str, found: list[tuple[Kind, int, int]], expected: list[tuple[Kind, int, int]]) -> None:
    matches = [Match(kind, 0, start, end) for kind, start, end in found]
    assert [Match(kind, 0, start, end) for kind, start, end in expected] == scan.resolve(matches), reason


ACROSS = [
    ("an address in two rows", ["mail jo@exam", "ple.com now"], "Email"),
    ("a card in the middle of text", ["my card 4242 4242", " 4242 4242 is"], "PaymentCard"),
    ("a card in its groups", ["4242", "4242", "4242", "4242"], "PaymentCard"),
    ("a card over three rows with text", ["it is 4242 42", "42 4242", " 4242 ok"], "PaymentCard"),
    ("an account number", ["to DE89 3704 0044", " 0532 0130 00 please"], "IBAN"),
    ("an identity number", ["id 110105194", "91231002X"], "CNResidentID"),
    ("a token", ["ghp_aB3aB3aB3aB3aB3aB3", "aB3aB3aB3aB3aB3aB3aB3"], "Credential"),
    ("invisible characters at the edge", ["mail jo@exam\u200b", "\u200bple.com now"], "Email"),
    ("a long row", ["x" * 5000 + " jo@exam", "ple.com " + "y" * 5000], "Email"),
    ("two columns of numbers that make a card by chance", ["42424242", "42424242"], None),
    ("one row", ["jo@example.com"], None),
    ("a telephone number is not looked for", ["call +1415", "5552671"], None),
]


@pytest.mark.parametrize(("reason", "rows", "expected"), ACROSS, ids=[row[0] for row in ACROSS])
def test_what_is_split_over_rows(reason: str, rows: list[str], expected: Kind | None) -> None:
    found = scan.find_across(rows, ALL)
    assert expected == (found and found[0]), reason


MASKED = [
    ("several", f"jo@example.com pays {CARD}", "[EMAIL] pays [PAYMENT_CARD]"),
    ("the original characters are replaced", "ｊｏ＠ｅｘ.com\u200b!", "[EMAIL]\u200b!"),
    ("two that share characters", "a@b.com@c.org", "[EMAIL]"),
    (
        "parted by what is not seen",
        "jo\U000e0100@exam\U000e0020ple.com 4242\u28004242\u3164424242\u116042",
        "[EMAIL] [PAYMENT_CARD]",
    ),
    ("glued together", "_jo@example.com4111111111111111_", "_[EMAIL][PAYMENT_CARD]_"),
    ("nothing", "nothing at all", "nothing at all"),
]


@pytest.mark.parametrize(("reason", "text", "expected"), MASKED, ids=[row[0] for row in MASKED])
def test_masks(reason: str, text: str, expected: str) -> None:
    assert [expected] == masked(text), reason


def test_an_element_that_does_not_come_to_rest_is_replaced_whole() -> None:
    """A replacement that is itself a finding stands for whatever a mask could uncover."""
    found = scan.find([f"a {CARD}", "b"], ALL)
    assert [WHOLE, "b"] == replace([f"a {CARD}", "b"], found, ALL, lambda *_: CARD)


def test_hashes_are_stable_over_spellings_and_differ_by_key_kind_and_data() -> None:
    first, second = hasher(b"k" * 32), hasher(b"l" * 32)
    assert first("PaymentCard", CARD) == first("PaymentCard", "4242-4242 ４２４２\u200b4242")
    assert first("Email", "Jo@Example.com") == first("Email", "ｊｏ@example.com")
    assert first("IBAN", "DE89 3704") == first("IBAN", "de893704")
    different = {
        first("Email", "jo@example.com"), second("Email", "jo@example.com"), first("Credential", "jo@example.com"),
        first("Email", "jö@example.com"), first("Email", "jä@example.com"),
    }  # fmt: skip
    assert 5 == len(different)
    assert "[EMAIL:" == first("Email", "x")[:7]
    assert "abc" != canonical("Credential", "ABC")


def test_no_label_is_a_finding() -> None:
    hashed = hasher(b"k" * 16)
    for kind in LABELS:
        for text in (mask(kind, "x"), *(hashed(kind, str(number)) for number in range(200))):
            assert [] == scan.find([text, text * 3, f"1{text}2", f"password: {text}"], ALL), text


FOLDED = [
    ("plain text", "a1 B", b"a1 B", None),
    ("full width", "Ａ１", b"A1", None),
    ("zero width", "1\u200b2", b"12", [0, 2]),
    ("several for one", "a⑩b", b"a10b", [0, 1, 1, 2]),
    ("letters and others", "é→", b"\x80\x81", None),
    ("above the table", "\U00020000x", b"\x81x", None),
    ("above the table, next to what is not seen", "\U000dffff\U000e1000", b"\x81\x81", None),
    ("tags", "\U000e0001j\U000e0020o\U000e007f", b"jo", [1, 3]),
    ("a variation selector of the supplement", "1\U000e01002⑩", b"1210", [0, 2, 3, 3]),
    ("the last that is not seen", "\U000e0fff1", b"1", [1]),
    ("fillers", "1\u28002\u31643\u115f4\u11605\uffa06", b"123456", [0, 2, 4, 6, 8, 10]),
    ("a lone surrogate", "\ud800x", b"\x81x", None),
    ("a control", "1\x072", b"12", [0, 2]),
]


@pytest.mark.parametrize(("reason", "text", "expected", "offsets"), FOLDED, ids=[row[0] for row in FOLDED])
def test_folding(reason: str, text: str, expected: bytes, offsets: list[int] | None) -> None:
    folded = fold(text)
    assert expected == folded.text, reason
    assert offsets == (None if folded.offsets is None else folded.offsets.tolist())
