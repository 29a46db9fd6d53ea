"""What stands in the place of personal data: a label, or a label with a keyed token that is the same for the same data.

Called by `privacy/input.py`. A replacement holds no digit, `@` or `:` that something around it could make a finding of. Text is searched
again after it was changed, until nothing is found: what took something's place could otherwise uncover something else. An element that
does not come to rest is replaced as a whole.

A token is 64 bits of HMAC-SHA256 (RFC 2104) of kind and data, as sixteen letters from a to p. Who has the key can try all cards or
telephone numbers; who has not learns only which are equal.
"""

import hmac
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from operator import attrgetter

from modelward_runtime.privacy.pii import scan
from modelward_runtime.privacy.pii.fold import fold
from modelward_runtime.privacy.pii.scan import Kind, Match

LABELS: dict[Kind, str] = {
    "Credential": "CREDENTIAL",
    "PaymentCard": "PAYMENT_CARD",
    "CNResidentID": "CN_RESIDENT_ID",
    "IBAN": "IBAN",
    "Email": "EMAIL",
    "Phone": "PHONE",
    "IPAddress": "IP_ADDRESS",
}
WHOLE = "[REDACTED]"

_ROUNDS = 4
_LONGEST = 1 << 16  # characters of one thing: more is an element that is full of them
_LETTERS = bytes.maketrans(b"0123456789abcdef", b"abcdefghijklmnop")
Replacement = Callable[[Kind, str], str]


def mask(kind: Kind, _found: str) -> str:
    """`[EMAIL]`."""
    return f"[{LABELS[kind]}]"


def hasher(key: bytes) -> Replacement:
    """`[EMAIL:kfbmohjdaeclpgni]`: the same for the same data under the same key, however it is written."""

    def replacement(kind: Kind, found: str) -> str:
        same = canonical(kind, found) if len(found) <= _LONGEST else found
        digest = hmac.digest(key, f"{kind}\0{same}".encode("utf-8", "surrogatepass"), "sha256")
        return f"[{LABELS[kind]}:{digest[:8].hex().encode().translate(_LETTERS).decode()}]"

    return replacement


def canonical(kind: Kind, found: str) -> str:
    """What different spellings of the same data have in common: groups, look-alikes and, where it means nothing, case."""
    if kind == "Email":
        visible = [char for char in found if fold(char).text]
        return unicodedata.normalize("NFKC", "".join(visible)).casefold()
    text = fold(found).text
    if kind == "Credential":
        return text.decode("latin-1")
    kept = (
        text.lower()
        if kind == "IPAddress"
        else bytes(byte for byte in text.upper() if chr(byte).isalnum() and byte < 0x80)
    )
    return kept.decode("latin-1")


def replace(
    elements: Sequence[str], matches: Iterable[Match], kinds: Iterable[Kind], put: Callable[[Match, str], str]
) -> list[str]:
    """The elements with everything of these kinds replaced; `matches` is what a first search found, `put` says by what."""
    texts, wanted = list(elements), list(kinds)
    found = scan.resolve(matches)
    for _ in range(_ROUNDS):
        changed = _put(texts, found, put)
        again = scan.find([texts[number] for number in changed], wanted)
        if not again:
            return texts
        found = scan.resolve(Match(one.kind, changed[one.element], one.start, one.end) for one in again)
    for number in {one.element for one in found}:
        texts[number] = WHOLE
    return texts


def _put(texts: list[str], found: Sequence[Match], put: Callable[[Match, str], str]) -> list[int]:
    """Replace in place, each element once; the numbers of the elements that were changed. `found` is in order."""
    changed = []
    for number, matches in groupby(found, attrgetter("element")):
        parts: list[str] = []
        text, at = texts[number], 0
        for match in matches:
            parts += (text[at : match.start], put(match, text[match.start : match.end]))
            at = match.end
        texts[number] = "".join([*parts, text[at:]])
        changed.append(number)
    return changed
