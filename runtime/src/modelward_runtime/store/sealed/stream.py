"""Tink's streaming AEAD AES256-GCM-HKDF-1MB, on `cryptography`: the form of every file below `data/`.

`decrypt.py` opens streams, `writing.py` makes them. It must not know about folders, manifests or keys that wrap keys. The wire
format is Tink's ("AES-GCM-HKDF streaming AEAD", CiphertextSegmentSize 1 MiB, DerivedKeySize 32, HKDF with SHA-256):

    header    40 (1 byte) | salt (32 bytes) | nonce prefix (7 bytes)
    segments  the header and the first one fill 1 MiB, so does each further one; the last is shorter or as long, never absent
    a segment AES-256-GCM, no associated data, 16-byte tag behind, nonce = prefix | number (4 bytes, big-endian) | 1 if last, else 0
    its key   HKDF-SHA256(data key, salt, info = the stream's associated data), 32 bytes
"""

import os
from collections.abc import Callable
from typing import Final

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SEGMENT: Final = 1 << 20  # bytes of ciphertext
TAG: Final = 16
HEADER: Final = 40
PLAIN_SEGMENT: Final = SEGMENT - TAG  # bytes of plaintext in any but the first
FIRST_PLAIN_SEGMENT: Final = PLAIN_SEGMENT - HEADER
_SALT, _PREFIX = 32, 7


def segments(plaintext_size: int) -> int:
    """How many segments a plaintext makes; an empty one makes one."""
    return 1 + max(0, -(-(plaintext_size - FIRST_PLAIN_SEGMENT) // PLAIN_SEGMENT))


def ciphertext_size(plaintext_size: int) -> int:
    """How many bytes the stream has, header included."""
    return HEADER + plaintext_size + TAG * segments(plaintext_size)


class Segment(msgspec.Struct, frozen=True):
    """Where one segment lies in the ciphertext, and where its plaintext goes."""

    number: int
    is_last: bool
    start: int
    end: int
    plain_start: int
    plain_end: int


def segment(number: int, plaintext_size: int) -> Segment:
    """The place of one segment of a stream that holds so much plaintext."""
    count, size = segments(plaintext_size), ciphertext_size(plaintext_size)
    start = number * SEGMENT if number else HEADER
    end = min((number + 1) * SEGMENT, size)
    plain_start = number * PLAIN_SEGMENT - HEADER if number else 0
    return Segment(number, number == count - 1, start, end, plain_start, plain_start + end - start - TAG)


class StreamCipher:
    """The key of one stream. Safe for several threads."""

    def __init__(self, data_key: bytes, associated_data: bytes, header: bytes) -> None:
        """ValueError when the header is none."""
        if len(header) != HEADER or header[0] != HEADER:
            raise ValueError("the stream does not begin with a header of Tink's AES256-GCM-HKDF-1MB")
        salt, self._prefix = header[1 : 1 + _SALT], header[1 + _SALT :]
        key = HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=associated_data).derive(data_key)
        self._aead = AESGCM(key)

    def decrypt_into(self, place: Segment, ciphertext: memoryview, plaintext: memoryview) -> None:
        """Decrypt one segment into a buffer of its plaintext's length; InvalidTag when it is not what was encrypted."""
        self._aead.decrypt_into(self._nonce(place.number, is_last=place.is_last), ciphertext, None, plaintext)

    def encrypt(self, number: int, plaintext: bytes, *, is_last: bool) -> bytes:
        """The ciphertext of one segment."""
        return self._aead.encrypt(self._nonce(number, is_last=is_last), plaintext, None)

    def _nonce(self, number: int, *, is_last: bool) -> bytes:
        return self._prefix + number.to_bytes(4, "big") + (b"\1" if is_last else b"\0")


class Encryptor:
    """Encrypts one stream as it comes: whatever is written to it goes, in whole segments, to `sink`."""

    def __init__(
        self,
        data_key: bytes,
        associated_data: bytes,
        sink: Callable[[bytes], object],
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        header = bytes([HEADER]) + random(_SALT) + random(_PREFIX)
        self._cipher = StreamCipher(data_key, associated_data, header)
        self._sink = sink
        self._pending = bytearray()
        self._number = 0
        sink(header)

    def write(self, plaintext: bytes | memoryview) -> None:
        """Take more plaintext."""
        view = memoryview(plaintext)
        while view:
            if len(self._pending) == self._room():  # more follows, so this one is not the last
                self._emit(is_last=False)
            taken = min(len(view), self._room() - len(self._pending))
            self._pending += view[:taken]
            view = view[taken:]

    def finish(self) -> None:
        """Write the last segment; nothing may follow."""
        self._emit(is_last=True)

    def _room(self) -> int:
        return PLAIN_SEGMENT if self._number else FIRST_PLAIN_SEGMENT

    def _emit(self, *, is_last: bool) -> None:
        self._sink(self._cipher.encrypt(self._number, bytes(self._pending), is_last=is_last))
        self._number += 1
        self._pending.clear()
