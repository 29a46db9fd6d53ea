"""Reads the keys of HMACs from mounted Secrets, by one rule: the file's bytes are the key, a last newline too.

Used by `privacy/compile.py` (hashes of personal data), `audit/keys.py` (hashes of inputs) and `epsilon/subjects.py` (names in the
ledger), so that one Secret means the same key to all of them. It must not know policies or requests.
"""

from pathlib import Path
from typing import Final

from modelward_runtime.errors import RuntimeFault

SHORTEST: Final = 16  # bytes: less can be guessed
LONGEST: Final = 4096  # bytes: more is some other file


class KeyUnusable(RuntimeFault):
    """The key cannot be read, is too short to hide anything, or is no key."""


def read_key(file: str | Path) -> bytes:
    """The key in a file. Raises `KeyUnusable`, which names the file and never what is in it."""
    try:
        with Path(file).open("rb") as opened:
            key = opened.read(LONGEST + 1)
    except OSError as error:
        raise KeyUnusable(f"{file}: {error.strerror}") from None
    if len(key) < SHORTEST:
        raise KeyUnusable(f"{file} holds {len(key)} bytes, a key for hashes needs {SHORTEST} or more")
    if len(key) > LONGEST:
        raise KeyUnusable(f"{file} holds more than {LONGEST} bytes, which is too much for a key for hashes")
    return key
