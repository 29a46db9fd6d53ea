"""International bank account numbers: a country's letters, its length, and the remainder 1 of ISO 7064 MOD 97-10.

Source: ISO 13616-1; lengths from SWIFT's IBAN Registry. Groups may be parted by single spaces or hyphens; letters may be small, in groups
all of them. Two letters that end a longer word are no country.
"""

import re

import numpy as np

from modelward_runtime.privacy.pii.digits import is_digit, is_letter
from modelward_runtime.privacy.pii.fold import Folded, Span

LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29, "BY": 28, "CH": 21,
    "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FK": 18, "FO": 18,
    "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23,
    "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27,
    "MD": 24, "ME": 22, "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28,
    "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27,
    "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}  # fmt: skip
_COUNTRIES = np.zeros((256, 256), np.bool_)
for _country in LENGTHS:
    for _first in (_country[0], _country[0].lower()):
        for _second in (_country[1], _country[1].lower()):
            _COUNTRIES[ord(_first), ord(_second)] = True
_GROUPED = re.compile(rb"[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]){11,29}+|[a-z]{2}[0-9]{2}(?:[ -]?[a-z0-9]){11,29}+")
_WORTH = {byte: str(int(chr(byte), 36)) for byte in b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
_COUNTRY_WORTH = {country.encode(): (_WORTH[ord(country[0])] + _WORTH[ord(country[1])]).encode() for country in LENGTHS}


def find(folded: Folded) -> list[Span]:
    """Where the text has bank account numbers."""
    numbers, text = folded.numbers, folded.text
    runs = np.flatnonzero(np.diff(numbers.first) >= 2)
    runs = runs[numbers.starts[runs] >= 2]
    runs = runs[_COUNTRIES[numbers.before(runs, 2), numbers.before(runs, 1)]]
    if not len(runs):
        return []
    before = numbers.before(runs, 3)
    runs = runs[~(is_letter(before) | is_digit(before))]
    spans = []
    for start in (numbers.starts[runs] - 2).tolist():
        end = _end(text, start)
        if end:
            spans.append((start, end))
    return spans


def _end(text: bytes, start: int) -> int:
    """Where the account number that may begin here ends, 0 if it is none."""
    length = LENGTHS[text[start : start + 2].decode().upper()]
    end = start + length
    compact = text[start:end]
    if not compact.isalnum():
        match = _GROUPED.match(text, start)
        if not match:
            return 0
        compact = match.group().translate(None, b" -")[:length]
        end = start + _written_length(match.group(), len(compact))
    if len(compact) < length or text[end : end + 1].isalnum():
        return 0
    return end if _remainder(compact.upper()) == 1 else 0


def _written_length(written: bytes, length: int) -> int:
    """How many characters hold so many letters and digits."""
    places = [place for place, byte in enumerate(written) if byte not in b" -"]
    return places[length - 1] + 1


def _remainder(compact: bytes) -> int:
    """Of the number that ISO 7064 reads in it, country and check digits last."""
    body = compact[4:]
    if body.isdigit():
        return int(body + _COUNTRY_WORTH[compact[:2]] + compact[2:4]) % 97
    return int("".join([_WORTH[byte] for byte in body + compact[:4]])) % 97
