"""Turns a list of texts into 32 bytes that no other list has: what ciphertexts and wrapped keys are bound to.

`stream.py` authenticates a file's place (tenant, model, version, path) with it, `keys.py` a wrapped key's manifest and id.
Each text is preceded by its length, so that ("ab", "c") and ("a", "bc") differ; the first text names the purpose.
"""

import hashlib


def bind(purpose: str, *texts: str) -> bytes:
    """SHA-256 over, for each text in turn, its UTF-8 length as 4 bytes big-endian and its UTF-8 bytes."""
    digest = hashlib.sha256()
    for text in (purpose, *texts):
        content = text.encode()
        digest.update(len(content).to_bytes(4, "big") + content)
    return digest.digest()
