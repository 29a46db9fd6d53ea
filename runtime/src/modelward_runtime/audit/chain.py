"""The chain: what a record looks like, byte for byte, and how it hangs on the one before. AUDIT.md specifies it.

    {"specversion":"1.0","id":"17","source":…,"type":…,"time":…,"previous":"<hash of 16>","data":{…},"hash":"<of all before>"}

Used by `journal.py` on the event loop's thread: the order of records is the order of answers. It must not do I/O.
"""

import hashlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from modelward_runtime.sinks.sink import Writer

if TYPE_CHECKING:
    from modelward_runtime.audit.keys import SigningKey

FORMAT: Final = "modelward.audit/v1"
TYPE: Final = "dev.modelward.audit."
FIRST: Final = "0" * 64  # what hangs on nothing


class _Event(msgspec.Struct, gc=False):
    """A record but for its hash, in the order of its bytes: a CloudEvent 1.0 in JSON; `previous` is an extension attribute."""

    specversion: str
    id: str
    source: str
    type: str
    time: str
    previous: str
    data: object


_ENCODER = msgspec.json.Encoder()


class Stamps:
    """RFC 3339 in UTC with microseconds; the second is spelled out once."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._second = -1
        self._spelled = ""

    def now(self) -> str:
        """The time now."""
        micros = int(self._wall() * 1_000_000)
        second, rest = divmod(micros, 1_000_000)
        if second != self._second:
            self._second = second
            self._spelled = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._spelled}.{rest:06}Z"


class Chain:
    """The records of one writer, from its genesis on."""

    def __init__(self, writer: Writer, wall: Callable[[], float] = time.time) -> None:
        self.source = source_of(writer.series)
        self.records = 0
        self.head = FIRST
        self._stamps = Stamps(wall)

    def add(self, kind: str, data: object) -> bytes:
        """The next record, as a line."""
        body = self._body(kind, data)
        self._advance(body)
        return b'%b,"hash":"%b"}\n' % (body, self.head.encode())

    def sign(self, key: "SigningKey", data: object) -> bytes:
        """The next record, a checkpoint: its signature vouches for everything up to here."""
        body = self._body("checkpoint", data)
        self._advance(body)
        signature = key.sign(bytes.fromhex(self.head))
        return b'%b,"hash":"%b","signature":"%b"}\n' % (body, self.head.encode(), signature.encode())

    def _body(self, kind: str, data: object) -> bytes:
        """Everything that is hashed: the line without its end."""
        record = _Event("1.0", str(self.records), self.source, TYPE + kind, self._stamps.now(), self.head, data)
        return _ENCODER.encode(record)[:-1]

    def _advance(self, body: bytes) -> None:
        self.records += 1
        self.head = hashlib.sha256(body).hexdigest()


def source_of(series: str) -> str:
    """What names a chain: POD.BOOT as a URI reference."""
    pod, _, boot = series.partition(".")
    return f"/pods/{pod}/boots/{boot}"
