"""HPACK (RFC 7541): blocks of header fields, read with the peer's table and written with a small one of ours.

Used by `connection.py` and `outbox.py`, one `Decoder` and one `Encoder` a connection. A client's calls differ in little, so their blocks
are mostly the same bytes: what was read is remembered as long as the table has not changed.
"""

from collections import deque
from typing import Final

from modelward_runtime.http2.faults import Code, ConnectionFault
from modelward_runtime.http2.huffman import BadHuffman
from modelward_runtime.http2.huffman import decode as decode_huffman

Field = tuple[bytes, bytes]
Fields = tuple[Field, ...]

TABLE: Final = 4096  # bytes that a table has, until a peer says otherwise; as long as we say nothing
_OVERHEAD: Final = 32  # of an entry, section 4.1
_MOST_REMEMBERED: Final = 32
_LONGEST_REMEMBERED: Final = 512
_STATIC: Final[Fields] = (
    (b":authority", b""), (b":method", b"GET"), (b":method", b"POST"), (b":path", b"/"), (b":path", b"/index.html"),
    (b":scheme", b"http"), (b":scheme", b"https"), (b":status", b"200"), (b":status", b"204"), (b":status", b"206"),
    (b":status", b"304"), (b":status", b"400"), (b":status", b"404"), (b":status", b"500"), (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"), (b"accept-language", b""), (b"accept-ranges", b""), (b"accept", b""),
    (b"access-control-allow-origin", b""), (b"age", b""), (b"allow", b""), (b"authorization", b""), (b"cache-control", b""),
    (b"content-disposition", b""), (b"content-encoding", b""), (b"content-language", b""), (b"content-length", b""),
    (b"content-location", b""), (b"content-range", b""), (b"content-type", b""), (b"cookie", b""), (b"date", b""), (b"etag", b""),
    (b"expect", b""), (b"expires", b""), (b"from", b""), (b"host", b""), (b"if-match", b""), (b"if-modified-since", b""),
    (b"if-none-match", b""), (b"if-range", b""), (b"if-unmodified-since", b""), (b"last-modified", b""), (b"link", b""),
    (b"location", b""), (b"max-forwards", b""), (b"proxy-authenticate", b""), (b"proxy-authorization", b""), (b"range", b""),
    (b"referer", b""), (b"refresh", b""), (b"retry-after", b""), (b"server", b""), (b"set-cookie", b""),
    (b"strict-transport-security", b""), (b"transfer-encoding", b""), (b"user-agent", b""), (b"vary", b""), (b"via", b""),
    (b"www-authenticate", b""),
)  # fmt: skip

_WHOLE: Final = {field: bytes((0x80 | index,)) for index, field in enumerate(_STATIC, 1) if field[1]}


class FieldsTooLarge(Exception):
    """More than may be sent. The table is as the peer believes it to be, so that the connection goes on."""


class Decoder:
    """The peer's fields. `most` bounds the size of a list as section 6.5.2 of RFC 9113 counts it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._table: deque[Field] = deque()
        self._size = 0
        self._limit = TABLE
        self._remembered: dict[bytes, Fields] = {}

    def decode(self, block: bytes) -> Fields:
        """The fields of a whole block. Raises `ConnectionFault`, for nothing after it can be read, or `FieldsTooLarge`."""
        found = self._remembered.get(block)
        if found is not None:
            return found
        fields, untouched = self._read(block)
        if untouched and len(block) <= _LONGEST_REMEMBERED:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[block] = fields
        return fields

    def _read(self, block: bytes) -> tuple[Fields, bool]:
        """The fields, and whether the table is as it was before."""
        fields: list[Field] = []
        size = position = 0
        untouched = may_resize = True
        while position < len(block):
            first = block[position]
            if first & 0xE0 == 0x20:
                limit, position = _integer(block, position, 0x1F)
                if not may_resize or limit > TABLE:
                    raise _unreadable()
                self._resize(limit)
                untouched = False
                continue
            may_resize = False
            if first & 0x80:
                index, position = _integer(block, position, 0x7F)
                field = self._entry(index)
            else:
                insert = bool(first & 0x40)
                field, position = self._literal(block, position, 0x3F if insert else 0x0F)
                if insert:
                    self._insert(field)
                    untouched = False
            size += len(field[0]) + len(field[1]) + _OVERHEAD
            if size <= self._most:
                fields.append(field)
        if size > self._most:
            raise FieldsTooLarge
        return tuple(fields), untouched

    def _literal(self, block: bytes, position: int, mask: int) -> tuple[Field, int]:
        index, position = _integer(block, position, mask)
        if index:
            name = self._entry(index)[0]
        else:
            name, position = _string(block, position)
        value, position = _string(block, position)
        return (name, value), position

    def _entry(self, index: int) -> Field:
        if 0 < index <= len(_STATIC):
            return _STATIC[index - 1]
        if index and index - len(_STATIC) <= len(self._table):
            return self._table[index - len(_STATIC) - 1]
        raise _unreadable()

    def _insert(self, field: Field) -> None:
        self._remembered.clear()
        self._table.appendleft(field)
        self._size += len(field[0]) + len(field[1]) + _OVERHEAD
        self._evict()

    def _resize(self, limit: int) -> None:
        self._remembered.clear()
        self._limit = limit
        self._evict()

    def _evict(self) -> None:
        while self._size > self._limit:
            name, value = self._table.pop()
            self._size -= len(name) + len(value) + _OVERHEAD


class Encoder:
    """Our fields. Those that come again and again go into the peer's table, until it says that it has none."""

    def __init__(self) -> None:
        self._places: dict[Field, int] = {}
        self._blocks: dict[Fields, bytes] = {}  # of fields that are all in the table, until more come into it
        self._size = 0
        self._room = TABLE
        self._notice = b""

    def limit(self, size: int) -> None:
        """The peer's table has so many bytes: a smaller one than usual is not used, which has to be said once."""
        if size < TABLE and self._room:
            self._places.clear()
            self._blocks.clear()
            self._room = 0
            self._notice = b"\x20"

    def encode(self, repeated: Fields, others: Fields = ()) -> bytes:
        """A block. `repeated` fields are few, the same in all connections, and of ours."""
        if not others and repeated in self._blocks:
            return self._blocks[repeated]
        parts, self._notice, places = [self._notice], b"", len(self._places)
        parts += [self._repeat(field) for field in repeated]
        parts += [_write_literal(name, value) for name, value in others]
        block = b"".join(parts)
        if len(self._places) > places:
            self._blocks.clear()
        elif not others and not parts[0]:
            self._blocks[repeated] = block
        return block

    def _repeat(self, field: Field) -> bytes:
        if field in _WHOLE:
            return _WHOLE[field]
        place = self._places.get(field)
        if place is not None:
            return bytes((0x80 | (len(_STATIC) + len(self._places) - place),))
        size = len(field[0]) + len(field[1]) + _OVERHEAD
        if self._size + size > self._room:
            return _write_literal(*field)
        self._places[field] = len(self._places)
        self._size += size
        return b"\x40" + _write_literal(*field)[1:]


def _write_literal(name: bytes, value: bytes) -> bytes:
    return b"".join((b"\x00", _write_length(len(name)), name, _write_length(len(value)), value))


def _write_length(number: int) -> bytes:
    if number < 0x7F:
        return bytes((number,))
    written = bytearray((0x7F,))
    number -= 0x7F
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


def _integer(block: bytes, position: int, mask: int) -> tuple[int, int]:
    """A number that begins in the bits of `mask`, and where it ends. Section 5.1."""
    number = block[position] & mask
    position += 1
    if number < mask:
        return number, position
    for shift in range(0, 28, 7):
        if position >= len(block):
            raise _unreadable()
        byte = block[position]
        position += 1
        number += (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
    raise _unreadable()


def _string(block: bytes, position: int) -> tuple[bytes, int]:
    if position >= len(block):
        raise _unreadable()
    packed = block[position] & 0x80
    length, position = _integer(block, position, 0x7F)
    end = position + length
    if end > len(block):
        raise _unreadable()
    text = block[position:end]
    if not packed:
        return text, end
    try:
        return decode_huffman(text), end
    except BadHuffman:
        raise _unreadable() from None


def _unreadable() -> ConnectionFault:
    return ConnectionFault(Code.COMPRESSION_ERROR, "a block of header fields cannot be read")
