"""How the store keeps the bodies of objects of which there is one for each model: by what tells them from another one of their kind.

Eight children of ten thousand models say nearly the same, ten thousand times. zlib takes a dictionary (RFC 1950, FDICT): the first body
of a kind that is worth it is the dictionary of all that come after, for as long as the process lives. A Deployment of 5 KB takes some
300 bytes then, 15 us to pack and 8 to unpack. What does not get smaller is kept as it is, as is what is longer than MOST: the first byte
tells which.

Called by store.py; pure but for the dictionaries.
"""

import zlib
from typing import Final

WINDOW: Final = 13
"""Binary logarithm of how far back zlib looks: 8 KiB, which reaches through a dictionary of LONGEST bytes."""
MEMORY: Final = 6
"""zlib's memLevel: its usual 8 clears 256 KiB for each body, six times as slow as the packing itself."""
SHORTEST: Final = 400
"""Bytes of a body that may be a dictionary: an outline says too little."""
LONGEST: Final = 2**WINDOW - 512
MOST: Final = 32 * 1024
"""Bytes of a body that is packed: what is longer is rare, and would keep the event loop."""

_PLAIN: Final = b"{"
"""How JSON objects begin, and no zlib stream: there this byte would name a window that does not exist."""


class Packer:
    """Packs JSON objects, each kind with a dictionary of its own. What one packed only the same one unpacks."""

    def __init__(self) -> None:
        self._dictionaries: dict[str, bytes] = {}

    def pack(self, kind: str, body: bytes) -> bytes:
        """Return what `unpack` makes the body of again: never longer than it."""
        dictionary = self._dictionaries.get(kind)
        if dictionary is None:
            if SHORTEST <= len(body) <= LONGEST:
                self._dictionaries[kind] = body
            return body
        if len(body) > MOST:
            return body
        packing = zlib.compressobj(1, zlib.DEFLATED, WINDOW, MEMORY, zlib.Z_DEFAULT_STRATEGY, dictionary)
        packed = packing.compress(body) + packing.flush()
        return packed if len(packed) < len(body) else body

    def unpack(self, kind: str, packed: bytes) -> bytes:
        """Return the body."""
        if packed.startswith(_PLAIN):
            return packed
        return zlib.decompressobj(WINDOW, self._dictionaries[kind]).decompress(packed)
